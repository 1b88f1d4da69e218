"""Numbers that change from step to step, and the settings that say how far."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi

from pydantic import Field

from mmgan.config import Config

#: From a step of the run, 0 for the first, to a number.
Schedule = Callable[[int], float]


def cosine(start: float, end: float, steps: int) -> Schedule:
    """Return half a cosine from ``start`` at step 0 to ``end`` at step ``steps``, and ``end`` from there on.

    start + (1 - (1 + cos(pi n / steps)) / 2) (end - start): slow at both ends (Loshchilov and Hutter 2017).

    Args:
        start: The number at step 0.
        end: The last one.
        steps: How many steps it takes, 1 or more.
    """

    def at(step: int) -> float:
        return start + (1 - cos(pi * min(step, steps) / steps)) / 2 * (end - start)

    return at


class ScheduleConfig(Config):
    """How long the schedules of a game's settings take."""

    decay_steps: int = Field(
        0, ge=0, description="steps after which what is named ..._end has its last value; 0: the whole run"
    )

    def cosine(self, start: float, end: float) -> Schedule:
        """Return half a cosine from ``start`` to ``end`` over the steps that the settings say."""
        return cosine(start, end, self.decay_steps or self.steps)
