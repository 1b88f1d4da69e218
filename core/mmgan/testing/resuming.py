"""The rule of resuming."""

from __future__ import annotations

from collections.abc import Iterator

from mmgan.task import stage_at
from mmgan.testing.bench import Bench, play, starts
from mmgan.testing.compare import differences, some, state
from mmgan.testing.rules import rule

#: Steps before a checkpoint, and after it.
BEFORE, AFTER = 2, 2


@rule(
    "resume",
    why="A run that is stopped and resumed must end with the same bytes as one that never stopped.",
    mend="Give what the task remembers (a pool, a counter, a network that is no player) by `state_dict` and "
    "take it back in `load_state_dict`; draw from torch's default generator, in a data set from `draw`.",
)
def resume(bench: Bench) -> Iterator[str]:
    """In each stage: some steps straight on, against a checkpoint and a new run in between."""
    _ = bench.run
    straight, stopped = bench.new(), bench.new("resumed")
    for start in starts(straight):
        play(straight, BEFORE, start)
        play(stopped, BEFORE, start)
        stopped = bench.again(stopped)
        for run in (straight, stopped):
            play(run, AFTER)
            # The stage's first step is played once more, since a rare phase may be due in no other.
            play(run, 1, start)
        if different := list(differences(state(straight), state(stopped))):
            stage, _ = stage_at(straight.stages, start)
            yield f"After a resume in stage {stage.name!r} other than without: {some(different)}."
            return
    if different := list(differences(vars(straight.sample(3)), vars(stopped.sample(3)))):
        yield f"All that is saved is the same after a resume, but samples differ: {some(different)}."
