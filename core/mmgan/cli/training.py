"""Shared by ``mmgan run`` and ``mmgan resume``: announce a run, train it, and report the result."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgan import hookimpl
from mmgan.cli.memory import keep_freed_memory
from mmgan.cli.output import emit_json, emit_paths, say
from mmgan.cli.signals import stopping
from mmgan.errors import MmganError

if TYPE_CHECKING:
    from mmgan.engine import Report
    from mmgan.run import Run


class LastMetrics:
    """A listener that keeps the newest metrics."""

    def __init__(self) -> None:
        self.metrics: dict[str, Any] = {}

    @hookimpl
    def after_log(self, metrics: Mapping[str, float]) -> None:
        """Store the newest metrics."""
        self.metrics = dict(metrics)


def is_first() -> bool:
    """Whether this process prints: rank 0, where `torchrun` started several."""
    # From the environment, since this is called where torch may not be imported yet.
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def preparing(what: str = "preparing data") -> Iterator[Callable[[int, int], None]]:
    """Yield a progress callback (done, total): a bar on a terminal, else nothing.

    Args:
        what: The bar's name.
    """
    if not (sys.stderr.isatty() and is_first()):
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    # The bar appears only when there is something to prepare, and vanishes afterwards.
    with Progress(console=Console(stderr=True), transient=True) as bar:

        def show(done: int, total: int) -> None:
            task = bar.task_ids[0] if bar.task_ids else bar.add_task(what)
            bar.update(task, completed=done, total=total)

        yield show


def play(run: Run, folder: Path, as_json: bool, *listeners: object) -> int:
    """Train a run, report on it, and return the exit code.

    Args:
        run: The run, its data open.
        folder: Its folder.
        as_json: Print one JSON document instead of the folder.
        listeners: Listeners to attach beside the run's own.
    """
    last = LastMetrics()
    # First of all: from here on the folder holds a run, and a signal must leave it resumable.
    with stopping(run):
        from mmgan.engine import train
        from mmgan.listeners.progress import Progress

        run.plugins.attach([Progress(stream=sys.stderr), last, *listeners])
        if is_first():
            introduce(run, folder)
        if run.device.type == "cpu":
            keep_freed_memory()
        report = train(run)
    return tell(run, folder, report, as_json, last.metrics)


def tell(run: Run, folder: Path, report: Report, as_json: bool, metrics: dict[str, Any]) -> int:
    """Print on rank 0 how a run has ended, and return the exit code.

    Args:
        run: The run.
        folder: Its folder.
        report: How it ended.
        as_json: Print one JSON document instead of the folder.
        metrics: The newest metrics, for the document.
    """
    if not is_first():
        return exit_code_of(report)
    conclude(run, folder, report)
    # The reader of stdout may have been stopped by the same signal.
    with contextlib.suppress(BrokenPipeError, MmganError) if report.signal else contextlib.nullcontext():
        if as_json:
            emit_json(summary(run, folder, report, metrics))
        else:
            emit_paths([folder])
    return exit_code_of(report)


def profilers(wanted: bool) -> list[object]:
    """Return the listeners that ``--profile`` adds."""
    if not wanted:
        return []
    from mmgan.listeners.profiler import Profiler

    return [Profiler()]


def exit_code_of(report: Report) -> int:
    """Return 0, or a shell's code for the signal that stopped the run: 130 for Ctrl-C, 143 for ``kill``, 129
    for a closed terminal.
    """
    return 128 + report.signal if report.signal else 0


def introduce(run: Run, folder: Path) -> None:
    """Print what is trained, on which device and data."""
    say(
        f"{run.config.plugin} on {run.device.torch} ({run.device.reason}) "
        f"in {run.precision.name} ({run.precision.reason})"
    )
    for name, player in run.players.items():
        say(f"{name}: {sum(p.numel() for p in player.module.parameters()):,} parameters")
    say(f"data: {run.loader.dataset.description}")
    if run.ranks.world > 1:
        say(f"processes: {run.ranks.world}, each with batches of {run.batch_size}")
    say(f"folder: {folder}")


def conclude(run: Run, folder: Path, report: Report) -> None:
    """Print how it ended, where the samples are, and the commands to try next."""
    why = f": {report.reason}" if report.reason else ""
    say(f"{report.state} at step {report.step} of {run.config.steps}{why}")
    newest = newest_sample(folder)
    if newest:
        say(f"samples: {newest}")
    quoted = shlex.quote(str(folder))
    if report.state == "interrupted":
        say(f"next: mmgan resume {quoted}")
    else:
        say(f"next: mmgan sample {quoted}")
        say(f"      mmgan resume {quoted} --steps {2 * run.config.steps}")


def summary(run: Run, folder: Path, report: Report, metrics: dict[str, Any]) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    from mmgan.storage import checkpoint

    steps = checkpoint.steps(run.checkpoints)
    newest = newest_sample(folder)
    return {
        "folder": str(folder),
        "state": report.state,
        "step": report.step,
        "seconds": report.seconds,
        "device": str(run.device.torch),
        "precision": run.precision.name,
        "exit_code": exit_code_of(report),
        "samples": str(newest) if newest else None,
        "checkpoint": str(checkpoint.path_of(run.checkpoints, steps[-1])) if steps else None,
        "metrics": metrics,
    }


def newest_sample(folder: Path) -> Path | None:
    """Return the sample file of the latest step, not the picture beside it; None if there are no samples."""
    matches = {path: re.fullmatch(r"step-([0-9]{6,16})", path.stem) for path in folder.glob("samples/step-*")}
    steps = {path: int(match[1]) for path, match in matches.items() if match}
    return max(steps, key=lambda path: (steps[path], path.suffix != ".png"), default=None)
