"""``profile/``: a profile of a few steps by operator, for ``mmgan run --profile``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from torch.profiler import ProfilerActivity, profile, record_function, schedule

from mmgan import hookimpl
from mmgan.listeners.common import writing
from mmgan.storage import files

if TYPE_CHECKING:
    from mmgan.run import Run

#: Operators that the summary lists.
_ROWS = 40


class Profiler:
    """Records some steps, and writes ``profile/trace.json`` and ``profile/summary.txt``.

    The parts of a step are named ranges: ``data``, ``forward``, and for each phase ``phase D``, in which are
    ``loss D``, ``backward D`` and ``average D``. A run that is too short skips fewer steps first, and then
    records fewer.

    Args:
        skip: Steps before the profiler starts: the first ones are slower.
        warm: Steps of warm-up, whose recording is discarded.
        record: Steps that are recorded.
    """

    def __init__(self, skip: int = 10, warm: int = 2, record: int = 5) -> None:
        self.skip, self.warm, self.record = skip, warm, record
        self._first = self._last = self._start = 0
        self._profile: profile | None = None
        self._before: Any = None

    # After all others, so that nothing before the steps is recorded.
    @hookimpl(trylast=True)
    def before_run(self, run: Run) -> None:
        """Find out which steps to record."""
        left = run.config.steps - run.step
        self.record = min(self.record, left)
        self.warm = min(self.warm, left - self.record)
        self._start = run.step + min(self.skip, left - self.record - self.warm)
        self._first = self._start + self.warm + 1
        self._last = self._first + self.record - 1
        self._turn_on(run)

    @hookimpl(trylast=True)
    def after_step(self, run: Run) -> None:
        """Advance the profiler, and begin or end the recording if it is due."""
        if self._profile is None:
            self._turn_on(run)
        elif run.step < self._last:
            self._profile.step()
        else:
            self._write(run, self._profile)

    @hookimpl(tryfirst=True)
    def after_run(self, run: Run) -> None:
        """Write what was recorded of a run that ended early."""
        if self._profile is not None and run.step >= self._first:
            self._write(run, self._profile)
        elif run.step < self._first:
            self._turn_off(run)
            print(f"no profile: the run ended before step {self._first}", file=sys.stderr)

    @hookimpl(tryfirst=True)
    def on_run_error(self, run: Run) -> None:
        """Stop the profiler."""
        self._turn_off(run)

    def _turn_on(self, run: Run) -> None:
        if run.step != self._start:
            return
        # Its library would print to stderr, even errors if a CUDA build finds no GPU.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        activities = [ProfilerActivity.CPU]
        if run.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        plan = schedule(wait=0, warmup=self.warm, active=self.record, repeat=1) if self.warm else None
        self._profile = profile(activities=activities, schedule=plan)
        self._profile.start()
        self._before, run.part = run.part, lambda part, phase: record_function(_range(part, phase))

    def _turn_off(self, run: Run) -> None:
        if self._profile is not None:
            run.part = self._before
            self._profile.stop()
            self._profile = None

    def _write(self, run: Run, done: profile) -> None:
        self._turn_off(run)
        with writing(run) as folder:
            place = files.make_folder(folder / "profile")
            with files.fresh(place / "trace.json") as trace:
                done.export_chrome_trace(str(trace))
            by = "self_device_time_total" if run.device.type == "cuda" else "self_cpu_time_total"
            table = done.key_averages().table(sort_by=by, row_limit=_ROWS, max_name_column_width=60)
            steps = f"steps {self._first} to {min(run.step, self._last)}"
            files.write_text(place / "summary.txt", f"{steps}\n\n{table}", durable=False)
        print(f"profile of {steps}: {place}", file=sys.stderr)


def _range(part: str, phase: str) -> str:
    """Return the name of a part's range."""
    return f"{'phase' if part == 'update' else part} {phase}".rstrip()
