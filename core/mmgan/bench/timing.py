"""How long steps take."""

from __future__ import annotations

import math
import time

from mmgan.engine import play
from mmgan.errors import MmganError
from mmgan.run import Run

#: Seconds that a round takes at least: long enough that neither a clock nor a pause of the machine shows.
SECONDS = 1.0


def timed(run: Run, steps: int) -> float:
    """Play steps, and return the seconds that one took. The device is waited for at both ends only."""
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
