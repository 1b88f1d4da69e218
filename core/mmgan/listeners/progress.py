"""Progress of a run: a bar in a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from mmgan import hookimpl
from mmgan.listeners.common import losses_of
from mmgan.listeners.sample_writer import sample_path
from mmgan.storage.changing import describe

if TYPE_CHECKING:
    from mmgan.run import Run
    from mmgan.samples import Samples
    from mmgan.storage.records import RollBack
    from mmgan.task import Stage

#: Seconds between two updates of the bar. Drawing it takes 0.6 ms, which is then about 0.1% of the time.
_REDRAW = 0.5
#: Scores that are shown.
SCORES = 10


class Progress:
    """Shows the step, the speed, the losses and the time that is left.

    Args:
        stream: By default stderr. A terminal gets a bar, unless ``NO_COLOR`` or ``TERM=dumb`` is set.
        interval: Seconds between two plain lines; the first and the last log get one in any case.
    """

    def __init__(self, stream: TextIO | None = None, interval: float = 5.0) -> None:
        self._stream = stream or sys.stderr
        self._draws = _can_draw(self._stream)
        self._interval = _REDRAW if self._draws else interval
        self._bar: _Bar | None = None
        self._metrics: Mapping[str, Any] = {}
        self._stage = ""
        self._start: tuple[int, float] | None = None
        self._next = 0.0
        self._sampled = False

    @hookimpl
    def before_run(self, run: Run) -> None:
        """Draw the bar."""
        self._next = time.monotonic() + self._interval
        if self._draws:
            self._bar = _Bar(self._stream, run.step, run.config.steps)
            self._bar.start()

    @hookimpl
    def before_stage(self, stage: Stage) -> None:
        """Measure the speed anew, since it differs between stages."""
        self._stage = stage.name
        self._start = None

    @hookimpl
    def after_roll_back(self, run: Run, roll_back: RollBack) -> None:
        """Report the roll-back, and measure the speed anew."""
        changed = describe({key: (before, now) for key, (before, now) in roll_back.changes.items()})
        why = "; ".join(filter(None, [roll_back.reason, changed]))
        said = f"rolled back from step {roll_back.from_step} to step {roll_back.to_step}"
        self._say(f"{said}: {why}" if why else said)
        self._start = None

    @hookimpl
    def after_step(self, run: Run, step: int) -> None:
        """Show the position if it is due, with the last log's losses: reading others would synchronise."""
        now = time.monotonic()
        if self._start is None:
            # From the end of the first step, which takes longer than others (compilation, warm-up).
            self._start = (step, now)
        if now >= self._next:
            self._show(run, now)

    @hookimpl
    def after_log(self, run: Run, step: int, metrics: Mapping[str, Any]) -> None:
        """Store the losses' values and the speed."""
        first, self._metrics = not self._metrics, metrics
        if first or step == run.config.steps:
            self._show(run, time.monotonic())

    # Last of all listeners: by then the file exists.
    @hookimpl(trylast=True)
    def after_sample(self, run: Run, step: int, samples: Samples) -> None:
        """Print the folder of the samples, once."""
        if run.folder is not None and not self._sampled:
            self._say(f"first samples: {sample_path(run.folder, step, samples)}")
        self._sampled = True

    @hookimpl
    def after_evaluate(self, step: int, scores: Mapping[str, float]) -> None:
        """Show the scores; of many only the first, since each class may have one."""
        named = _named(scores)
        more = [f"and {len(named) - SCORES} more"] if len(named) > SCORES else []
        self._say("  ".join([f"step {step}", "scores", *named[:SCORES], *more]))

    @hookimpl
    def after_run(self) -> None:
        """Leave the terminal as it was."""
        self._stop()

    @hookimpl(tryfirst=True)
    def on_run_error(self) -> None:
        """Leave the terminal as it was."""
        self._stop()

    def _show(self, run: Run, now: float) -> None:
        self._next = now + self._interval
        rate = self._rate(run.step, now)
        left = run.config.steps - run.step
        speed = self._metrics.get("steps_per_s", rate)
        steps = [f"{_short(speed)} steps/s"] if speed else []
        eta = [f"ETA {_duration(left / rate)}"] if rate and left else []
        details = []
        if self._metrics:
            details.append(f"{_short(self._metrics['samples_per_s'])} samples/s")
            details.append(f"data wait {self._metrics['data_wait']:.1%}")
            details += _named(losses_of(self._metrics))
        if self._bar is not None:
            self._bar.show(run.step, self._stage, "  ".join(steps + eta), "  ".join(details))
        else:
            position = f"step {run.step}/{run.config.steps}"
            self._say("  ".join([position, self._stage, *steps, *details, *eta]))

    def _rate(self, step: int, now: float) -> float:
        """Return steps a second by the wall clock (samples and checkpoints take time too), or 0 at first."""
        first, since = self._start or (step, now)
        return (step - first) / (now - since) if step > first and now > since else 0.0

    def _say(self, line: str) -> None:
        # The reader may be gone (`mmgan run 2>&1 | head`), which must not stop training.
        with contextlib.suppress(OSError):
            if self._bar is not None:
                self._bar.console.print(Text(line), soft_wrap=True)
            else:
                print(line, file=self._stream, flush=True)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _Bar(RichProgress):
    """A line with the bar, and one below it with the losses.

    It is drawn on request and not by a thread, which would take time from training.
    """

    def __init__(self, stream: TextIO, step: int, steps: int) -> None:
        self.details = ""
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            console=Console(file=stream, force_terminal=True),
            auto_refresh=False,
            expand=True,
            # stdout is for data, and is not redirected: it may be a file. Other output on stderr appears
            # above the bar.
            redirect_stdout=False,
        )
        self.line = self.add_task("", total=steps, completed=step, speed="")

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the two lines."""
        yield self.make_tasks_table(self.tasks)
        yield Text(self.details, style="dim", no_wrap=True, overflow="ellipsis")

    def show(self, step: int, stage: str, speed: str, details: str) -> None:
        """Draw anew."""
        self.details = details
        self.update(self.line, completed=step, description=stage, speed=speed, refresh=True)


def _can_draw(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _named(values: Mapping[str, float]) -> list[str]:
    return [f"{name} {_short(value)}" for name, value in values.items()]


def _short(value: float) -> str:
    """Format a number with three digits, or all before the point: 0.693, 31.2, 1998, 1.2e-05."""
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    """Format seconds with two units: 45s, 1m20s, 2h05m, 3d04h."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days}d{h:02d}h"
    if hours:
        return f"{h}h{m:02d}m"
    return f"{m}m{s:02d}s" if minutes else f"{s}s"
