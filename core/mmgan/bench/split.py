"""The time of a step, split into its parts."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmgan.run import Run

#: A part and its phase, "" outside of phases.
Part = tuple[str, str]
REST: Part = ("rest", "")


class Split:
    """A timer for each part; exactly one runs at any time, so that they add up to the whole time.

    Args:
        synchronize: Waits for the device at each boundary, so that each part is charged with its own work.
        now: The time in seconds.
    """

    def __init__(self, synchronize: Callable[[], None], now: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[Part, float] = defaultdict(float)
        self._synchronize, self._now = synchronize, now
        self._inside: list[Part] = []
        self._since = now()

    def start(self) -> None:
        """Reset all timers."""
        self._turn()
        self.seconds.clear()

    def stop(self) -> dict[Part, float]:
        """Return the seconds of each part since the start."""
        self._turn()
        return dict(self.seconds)

    def enter(self, part: str, phase: str = "") -> None:
        """Start this part's timer, and pause those of the parts around it."""
        self._turn()
        # What an update does outside of its parts: gradients set to None and clipped, the optimizer's step.
        self._inside.append(("optimizer" if part == "update" else part, phase))

    def leave(self) -> None:
        """End the part that was entered last."""
        self._turn()
        self._inside.pop()

    @contextmanager
    def within(self, part: str, phase: str) -> Iterator[None]:
        """Time this context as a part."""
        self.enter(part, phase)
        try:
            yield
        finally:
            self.leave()

    def _turn(self) -> None:
        self._synchronize()
        now = self._now()
        self.seconds[self._inside[-1] if self._inside else REST] += now - self._since
        self._since = now


@contextmanager
def splitting(run: Run) -> Iterator[Split]:
    """Yield timers for the parts of a step; calls of hooks are the part ``hooks``."""
    split = Split(run.device.synchronize)
    undo = run.plugins.manager.add_hookcall_monitoring(
        lambda *_: split.enter("hooks"), lambda *_: split.leave()
    )
    before, run.part = run.part, split.within
    try:
        yield split
    finally:
        run.part = before
        undo()


def order(part: Part, phases: list[str]) -> tuple[int, int]:
    """Return a part's sort key: what a step begins with, then the phases in their order, then the rest."""
    name, phase = part
    names = ["data", "forward", "loss", "backward", "optimizer", "average", "hooks", "rest"]
    outside = -1 if names.index(name) < 2 else len(phases) + 1
    return (phases.index(phase) if phase in phases else outside, names.index(name))
