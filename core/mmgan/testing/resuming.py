"""The rule of resuming."""

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
    mend="Give what the task remembers (a pool, a counter, a network that is no player) by `state_dict` and "
    "take it back in `load_state_dict`; draw from torch's default generator, in a data set from `draw`.",
)
def resume(bench: Bench) -> Iterator[str]:
    """In each stage: some steps straight on, against a checkpoint and a new run in between.

    So it goes over each boundary between two stages: one checkpoint is of just before it, another of after.
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
            # What only an earlier stage changed is a thing of the past.
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
            yield f"After a resume in stage {span.stage.name!r} other than without: {some(different)}."
        for name in sorted(forgotten):
            yield (
                f"The task's {name!r} changes in training, and is another one after a resume in stage "
                f"{span.stage.name!r}: `state_dict` does not give it, or `load_state_dict` does not take it."
            )
        if different:
            return
    if different := list(differences(vars(straight.sample(3)), vars(stopped.sample(3)))):
        yield f"All that is saved is the same after a resume, but samples differ: {some(different)}."


def together(straight: Run, resumed: Run, history: History, span: Span) -> set[str]:
    """Play on with both runs, and return the attributes that the resumed one has forgotten all the while."""
    forgotten = []
    # The stage's first step is played once more, since a rare phase may be due in no other.
    for step in (*range(straight.step, min(straight.step + AFTER, span.end)), span.start):
        for run in (straight, resumed):
            play(run, step, step + 1)
        history.note(straight)
        forgotten.append(history.forgotten(resumed))
    # What is made anew in each step, from other weights maybe, is not a memory.
    return set.intersection(*forgotten)
