"""What moves in training beside the weights: kept in every checkpoint, and the same on all ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from mmgan.storage import rank_state

if TYPE_CHECKING:
    from mmgan.run import Run


class Kept(Protocol):
    """Something with a state: tensors, numbers, text, lists and dicts of them."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state: Any, /) -> None:
        """Restore it; a ValueError says what is wrong with it. It comes from a file."""
        ...


def keep(run: Run, name: str, thing: Kept) -> None:
    """Keep a thing's state in every checkpoint; call it in ``Task.build``.

    Its tensors must be the same on all ranks: a checkpoint compares them. Where a checkpoint has none of it,
    it stays as it was built.

    Args:
        run: The run.
        name: Of the state in the checkpoint.
        thing: Has ``state_dict()`` and ``load_state_dict(state)``.
    """
    run.kept[name] = thing


def states(run: Run) -> dict[str, dict[str, Any]]:
    """Return the states of all things that are kept, by name."""
    return {name: thing.state_dict() for name, thing in run.kept.items()}


def digests(run: Run) -> dict[str, str]:
    """Return a digest of the tensors of each, to be compared between ranks."""
    return {name: rank_state.digest(tensors_in(state)) for name, state in states(run).items()}


def restore(run: Run, saved: Mapping[str, Mapping[str, Any]]) -> None:
    """Restore the states that a checkpoint holds."""
    for name, thing in run.kept.items():
        if name in saved:
            thing.load_state_dict(saved[name])


def tensors_in(state: Any) -> Iterator[Tensor]:
    """Yield the tensors of a state, those in lists and dicts too."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping | list | tuple):
        for value in state.values() if isinstance(state, Mapping) else state:
            yield from tensors_in(value)
