"""How long steps take."""

from __future__ import annotations

import math
import time

from mmgan.engine import play
from mmgan.errors import MmganError
from mmgan.run import Run

#: Least seconds of a round: long enough that neither the clock's resolution nor a short pause matters.
SECONDS = 1.0


def timed(run: Run, steps: int) -> float:
    """Play steps, and return the mean seconds of one; synchronises with the device only before and after."""
    run.device.synchronize()
    start = time.perf_counter()
    if signal := play(run, run.step + steps):
        raise MmganError(f"The run was stopped while it was measured (signal {signal}).")
    run.device.synchronize()
    return (time.perf_counter() - start) / steps


def warm_up(run: Run, warmup: int) -> int:
    """Play steps that don't count, and return how many make a round."""
    play(run, run.step + warmup)
    steps = 1
    while (seconds := timed(run, steps)) * steps < SECONDS / 8:
        steps *= 2
    return math.ceil(SECONDS / seconds)
