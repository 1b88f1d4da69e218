"""The rule for resuming."""

from __future__ import annotations

from collections.abc import Iterator

from mmgan.counting import some
from mmgan.run import Run
from mmgan.testing.bench import Bench, Span, play, spans
from mmgan.testing.compare import differences, state
from mmgan.testing.memory import History
from mmgan.testing.rules import rule

#: Steps of the first stage before its checkpoint, and of each after one.
BEFORE, AFTER = 2, 2


@rule(
    "resume",
    why="A run that is stopped and resumed must end with the same bytes as one that never stopped.",
    mend="Return the task's own state (a pool, a counter, a network that is not a player) from `state_dict` "
    "and restore it in `load_state_dict`; draw from torch's default generator, in a data set from `draw`.",
)
def resume(bench: Bench) -> Iterator[str]:
    """In each stage, some steps without a stop end as with a checkpoint and a resume in between.

    This covers each boundary between two stages: one checkpoint is from just before it, another from after.
    """
    _ = bench.run
    straight, stopped = bench.new(), bench.new("resumed")
    history = History()
    history.note(straight)
    for span in spans(straight):
        # A stage begins with the last step of the one before it.
        first = max(span.start - 1, 0)
        for run in (straight, stopped):
            play(run, first, min(first + (1 if span.start else BEFORE), span.end))
        if span.start:
            # Attributes that only an earlier stage changed don't count.
            history.seen.clear()
        history.note(straight)
        history.note_restless(straight, stopped)
        stopped = bench.again(stopped)
        forgotten = together(straight, stopped, history, span)
        if span.start:
            stopped = bench.again(stopped)
            forgotten |= together(straight, stopped, history, span)
        different = list(differences(state(straight), state(stopped)))
        if different:
            yield f"Different after a resume in stage {span.stage.name!r}: {some(different)}."
        for name in sorted(forgotten):
            yield (
                f"The task's {name!r} changes in training, and is different after a resume in stage "
                f"{span.stage.name!r}: `state_dict` lacks it, or `load_state_dict` does not restore it."
            )
        if different:
            return
    if different := list(differences(vars(straight.sample(3)), vars(stopped.sample(3)))):
        yield f"The saved state is the same after a resume, but samples differ: {some(different)}."


def together(straight: Run, resumed: Run, history: History, span: Span) -> set[str]:
    """Play on with both runs, and return the attributes that stay different in the resumed one."""
    forgotten = []
    # The stage's first step is played once more, since a rare phase may be due in no other.
    for step in (*range(straight.step, min(straight.step + AFTER, span.end)), span.start):
        for run in (straight, resumed):
            play(run, step, step + 1)
        history.note(straight)
        forgotten.append(history.forgotten(resumed))
    # Values that each step makes anew, maybe from other weights, are not state.
    return set.intersection(*forgotten)
