"""``status.json``: whether a run is going on, its step, and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

import torch

from mmgan import __version__, hookimpl
from mmgan.errors import MmganError, exit_code, foreseen
from mmgan.listeners.common import writing
from mmgan.storage import files
from mmgan.storage.files import write_text
from mmgan.storage.lock import FolderLock

if TYPE_CHECKING:
    from mmgan.engine import Report
    from mmgan.run import Run

_SCHEMA = 1

Wrapper = Generator[None, object, object]


class StatusFile:
    """Keeps the status, and holds the folder's lock while the run goes on.

    Its hooks wrap those of the other listeners. So the folder is locked before any of them writes, a run is
    called finished only when all are done, and a failure is recorded even if another listener's hook fails.
    """

    #: Seconds between two updates during training: each is flushed to disk, which may take 10 ms.
    interval = 5.0

    def __init__(self) -> None:
        self._next = 0.0

    @hookimpl(wrapper=True)
    def before_run(self, run: Run) -> Wrapper:
        """Lock the folder, and write that the run goes on."""
        with writing(run) as folder:
            run.lock = run.lock or FolderLock(folder)
            files.sweep(folder)
        result = yield
        self._write(run, "running")
        return result

    @hookimpl
    def after_step(self, run: Run) -> None:
        """Write the step every few seconds."""
        if time.monotonic() >= self._next:
            self._write(run, "running")

    @hookimpl
    def after_roll_back(self, run: Run) -> None:
        """Write the roll-back."""
        self._write(run, "running")

    @hookimpl(wrapper=True)
    def after_run(self, run: Run, report: Report) -> Wrapper:
        """Write how the run ended, once everything is saved."""
        result = yield
        exit_code = 128 + report.signal if report.signal else 0
        self._write(run, report.state, exit_code, reason=report.reason)
        self._release(run)
        return result

    @hookimpl(wrapper=True)
    def on_run_error(self, run: Run, error: BaseException) -> Wrapper:
        """Write the error, unless another run holds the folder."""
        try:
            return (yield)
        finally:
            if run.lock is not None:
                # Suppressed: the disk may have failed, and the original error must be the one reported.
                with contextlib.suppress(MmganError):
                    self._write_error(run, error)
                self._release(run)

    def _write_error(self, run: Run, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._write(run, "interrupted", exit_code(error))
            return
        known = foreseen(error)
        code = known.code if known else "internal"
        message = known.message if known else f"{type(error).__name__}: {error}".rstrip(": ")
        described = {"code": code, "message": message}
        self._write(run, "failed", exit_code(error), described)

    def _write(
        self,
        run: Run,
        state: str,
        exit_code: int | None = None,
        error: dict[str, str] | None = None,
        reason: str = "",
    ) -> None:
        status = {
            "schema": _SCHEMA,
            "state": state,
            "step": run.step,
            "steps": run.config.steps,
            "exit_code": exit_code,
            "error": error,
            "reason": reason or None,
            "roll_backs": [done.model_dump() for done in run.roll_backs],
            "seconds": run.seconds,
            "plugin": run.config.plugin,
            "device": str(run.device.torch),
            "precision": run.precision.name,
            "pid": os.getpid(),
            "versions": {
                "mmgan": __version__,
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
        }
        with writing(run) as folder:
            write_text(folder / "status.json", json.dumps(status, indent=1) + "\n")
        self._next = time.monotonic() + self.interval

    def _release(self, run: Run) -> None:
        if run.lock is not None:
            run.lock.release()
            run.lock = None
