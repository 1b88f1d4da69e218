"""The steps to measure: those of one stage, grouped by the work they do."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from mmgan.errors import UsageError, did_you_mean
from mmgan.run import Run
from mmgan.task import Stage, Task

#: How many steps are searched for kinds at most; only a stage with huge, coprime ``every`` has more.
_LONGEST = 100_000


@dataclass(frozen=True)
class Kind:
    """The steps of a stage in which the same phases are due.

    With ``Phase("G", "G", every=4680)`` beside ``Phase("D", "D")`` hours may lie between two updates of G. So
    each kind is measured by itself, as a stage in which all its phases are due in every step, and is weighted
    by its share.

    Args:
        stage: Those phases, without an end.
        count: How many steps of a period are of this kind.
        share: The same, as a fraction of all steps.
    """

    stage: Stage
    count: int
    share: float


def choose(run: Run, name: str = "") -> tuple[Stage, int]:
    """Return the stage of this name, by default the last, and the step of the run that it begins with.

    Raises:
        UsageError: The run has no such stage.
    """
    starts: dict[str, tuple[Stage, int]] = {}
    start = 0
    for stage in run.stages:
        if stage.steps != 0:
            starts.setdefault(stage.name, (stage, start))
        start += stage.steps or 0
    if name and name not in starts:
        raise UsageError(
            f"{run.config.plugin} has no stage {name!r}. {did_you_mean(name, starts)}".rstrip(),
            hint=f"Stages: {', '.join(starts)}.",
        )
    return starts[name or list(starts)[-1]]


def kinds(run: Run, stage: Stage) -> list[Kind]:
    """Return the kinds of a stage's steps, in the order in which they first come."""
    if type(run.task).step is not Task.step:
        # Such a task need not go by phases at all.
        return [Kind(replace(stage, steps=None), 1, 1.0)]
    period = math.lcm(*(phase.every for phase in stage.phases))
    length = min(period, stage.steps or period, _LONGEST)
    counts = Counter(
        tuple(phase for phase in stage.phases if index % phase.every == 0) for index in range(length)
    )
    return [
        Kind(
            replace(stage, phases=tuple(replace(phase, every=1) for phase in due), steps=None),
            count,
            count / length,
        )
        for due, count in counts.items()
    ]
