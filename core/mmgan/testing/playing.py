"""The rules of losses, gradients and updates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from mmgan.counting import some
from mmgan.testing.bench import Bench, play, spans
from mmgan.testing.rules import Skip, rule, told

#: The rules that say themselves why a step could not be played.
EXPLAINING = ("losses", "gradients", "own-weights", "hands-off")


@rule(
    "plays",
    why="A stage that can't be played ends a run with an error, maybe after hours in the stages before it.",
    mend="Run `mmgan -v run` on small settings for the whole traceback.",
)
def plays(bench: Bench) -> Iterator[str]:
    """The run is made, and the first step of each stage is played."""
    explained = [name for name in EXPLAINING if bench.found[name]]
    if bench.error is not None and explained:
        raise Skip(f"a step ended early by what {' and '.join(explained)} says")
    if bench.error is not None:
        yield told(bench.error, *bench.authors)


@rule(
    "losses",
    why="The engine minimises the sum of the terms, and writes each under its name.",
    mend="Return a dict of names and finite scalars that were computed with gradients: no `detach`, `item` "
    "or `no_grad` around what shall be learned from.",
)
def losses(bench: Bench) -> Iterable[str]:
    """Losses are finite scalars, named, with a graph."""
    return noted(bench, "losses")


@rule(
    "gradients",
    why="A parameter that never gets a gradient, or has no optimizer, stays as it was made; NaN or infinity "
    "ends the run.",
    mend="Look for a `detach`, a layer that `forward` leaves out, or a root or logarithm of 0. Name those "
    "that rightly get none: unused=['G.head.*'], or --unused 'G.head.*'. Give the optimizer all parameters.",
)
def gradients(bench: Bench) -> Iterator[str]:
    """Gradients are finite, and each parameter of a player gets one in some phase of that player."""
    yield from noted(bench, "gradients")
    for seen, what in (
        ("unreached", "No phase gives a gradient to"),
        ("unmoved", "Their player's optimizer does not have"),
    ):
        names = [name for name in bench.found[seen] if not any(fnmatchcase(name, p) for p in bench.unused)]
        if names:
            yield f"{what} {some(names)}."


@rule(
    "own-weights",
    why="A phase that moves its opponents too plays another game than it says, and no optimizer knows of it.",
    mend="Change weights by losses only; give each player a phase of its own, and shared weights to both.",
)
def own_weights(bench: Bench) -> Iterable[str]:
    """A phase changes the weights of its player only. (Batch statistics move wherever a module runs.)"""
    return noted(bench, "own-weights")


@rule(
    "hands-off",
    why="Backward passes, optimizers and scalers are the engine's: it scales, clips, averages over processes "
    "and watches for NaN, which a task that does it itself escapes. A mode or flag that is left changed is "
    "not in a checkpoint.",
    mend="Return the loss and let the engine minimise it; for a penalty use self.run.grad, for clipping "
    "Player(clip_weights=…). Put modes and flags back.",
)
def hands_off(bench: Bench) -> Iterable[str]:
    """A loss computes, and changes no gradient, weight, optimizer, scaler, mode or flag."""
    return noted(bench, "hands-off")


@rule(
    "bf16",
    why="On GPUs bf16 is the default, so a task that only runs in float32 fails there.",
    mend="Convert what must be exact with `.float()`, and make tensors with the dtype of what they meet.",
)
def bf16(bench: Bench) -> Iterator[str]:
    """The first step of each stage is played in bf16 too, and stays finite."""
    _ = bench.run
    run = bench.new(precision="bf16")
    for span in spans(run):
        play(run, span.start, span.start + 1)
    yield from ()


def noted(bench: Bench, name: str) -> list[str]:
    """Return what the watcher saw of a rule.

    Raises:
        Skip: It saw nothing, since no step was played to its end, or since the task plays its own steps.
    """
    found = bench.found[name]
    if not found and bench.run and name not in bench.looked:
        raise Skip("the task plays its own steps")
    return found
