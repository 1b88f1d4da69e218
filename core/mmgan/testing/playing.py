"""The rules for losses, gradients and updates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from mmgan.counting import some
from mmgan.testing.bench import Bench, play, spans
from mmgan.testing.rules import Skip, rule, told

#: The rules whose own findings say why a step could not be played.
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
        raise Skip(f"a step ended early, for which see {' and '.join(explained)}")
    if bench.error is not None:
        yield told(bench.error, *bench.authors)


@rule(
    "losses",
    why="The engine minimises the sum of the terms, and writes each under its name.",
    mend="Return a dict of names and finite scalars that were computed with gradients: no `detach`, `item` "
    "or `no_grad` around anything that needs a gradient.",
)
def losses(bench: Bench) -> Iterable[str]:
    """Losses are finite scalars, named, with a graph."""
    return noted(bench, "losses")


@rule(
    "gradients",
    why="A parameter that never gets a gradient, or has no optimizer, stays at its initial value; NaN or "
    "infinity ends the run.",
    mend="Look for a `detach`, a layer that `forward` leaves out, or a root or logarithm of 0. Name the ones "
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
    why="A phase that also changes its opponents plays another game than declared, unseen by any optimizer.",
    mend="Change weights by losses only; give each player a phase of its own, and shared weights to both.",
)
def own_weights(bench: Bench) -> Iterable[str]:
    """A phase changes the weights of its player only. (Batch statistics move wherever a module runs.)"""
    return noted(bench, "own-weights")


@rule(
    "hands-off",
    why="Backward passes, optimizers and scalers belong to the engine: it scales, clips, averages over "
    "processes and checks for NaN, and a task that does them itself bypasses that. A mode or flag that stays "
    "changed is not in a checkpoint.",
    mend="Return the loss and let the engine minimise it; for a penalty use self.run.grad, for clipping "
    "Player(clip_weights=…). Restore modes and flags.",
)
def hands_off(bench: Bench) -> Iterable[str]:
    """A loss only computes: it changes no gradient, weight, optimizer, scaler, mode or flag."""
    return noted(bench, "hands-off")


@rule(
    "bf16",
    why="On GPUs bf16 is the default, so a task that only runs in float32 fails there.",
    mend="Convert what must be exact with `.float()`, and make tensors with the dtype of their partners.",
)
def bf16(bench: Bench) -> Iterator[str]:
    """The first step of each stage is played in bf16 too, and stays finite."""
    _ = bench.run
    run = bench.new(precision="bf16")
    for span in spans(run):
        play(run, span.start, span.start + 1)
    yield from ()


def noted(bench: Bench, name: str) -> list[str]:
    """Return the watcher's findings for a rule.

    Raises:
        Skip: There are none: no step was played to its end, or the task plays its own steps.
    """
    found = bench.found[name]
    if not found and bench.run and name not in bench.looked:
        raise Skip("the task plays its own steps")
    return found
