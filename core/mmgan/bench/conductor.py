"""Leading the engine's own loop, so that what is measured is what trains, and no copy of it."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Generator

from mmgan import hookimpl
from mmgan.engine import train
from mmgan.run import Run

#: Says how many steps are to be played next; goes on when they are done.
Program = Generator[int, None, None]

#: Seconds that a round takes at least: long enough that neither a clock nor a pause of the machine shows.
SECONDS = 1.0


class Conductor:
    """A listener that lets a program lead the run, and stops it when the program ends."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._left = 0

    # The last of all in both: what the others do in a step is part of the step.
    @hookimpl(trylast=True)
    def before_run(self, run: Run) -> None:
        """Begin."""
        self._go_on(run)

    @hookimpl(trylast=True)
    def after_step(self, run: Run) -> None:
        """Count, and go on with the program where its steps are done."""
        self._left -= 1
        if self._left == 0:
            self._go_on(run)

    def _go_on(self, run: Run) -> None:
        self._left = next(self.program, 0)
        if not self._left:
            run.stop_signal = signal.SIGINT


def conduct(run: Run, program: Program) -> None:
    """Train as the program says, until it ends."""
    conductor = Conductor(program)
    run.plugins.manager.register(conductor)
    try:
        train(run)
    finally:
        run.plugins.manager.unregister(conductor)
        # After an error or Ctrl-C it is in the middle, with contexts open.
        program.close()
        run.stop_signal = 0


def timed(run: Run, steps: int) -> Generator[int, None, float]:
    """Play steps, and return the seconds that one took. The device is waited for at both ends only."""
    run.device.synchronize()
    start = time.perf_counter()
    yield steps
    run.device.synchronize()
    return (time.perf_counter() - start) / steps


def warmed_up(run: Run, warmup: int) -> Generator[int, None, int]:
    """Play steps that don't count, and return how many make a round."""
    if warmup:
        yield warmup
    steps = 1
    while (seconds := (yield from timed(run, steps))) * steps < SECONDS / 8:
        steps *= 2
    return math.ceil(SECONDS / seconds)
