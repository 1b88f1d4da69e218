"""What a task remembers of its own, apart from its players: attributes that change while it trains."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Iterator, Mapping, Set
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgan.config import Config
from mmgan.data.dataset import Dataset
from mmgan.data.loader import Loader
from mmgan.run import Run
from mmgan.storage.rank_state import digest
from mmgan.task import Player, Task

#: What a task has at hand and does not remember by itself, or what is looked at elsewhere.
_OTHERS = (Run, Config, Dataset, Loader, Player, Task, ModuleType, FunctionType, MethodType, type)
#: How deep objects are looked into.
_DEPTH = 5

#: Values by their places. None has no value: an attribute that is not set yet is like one that is not there.
Memory = dict[str, Any]


def memory(run: Run) -> Memory:
    """Return the values of a task's attributes and of what is in them, by places such as ``pool.images.3``.

    Tensors and arrays are digests. What has a ``state_dict`` (a network, an optimizer) is that.
    """
    known = {id(part) for player in run.players.values() for part in _parts(player)}
    found: Memory = {}
    for name, attribute in vars(run.task).items():
        # A stranger's object may raise anything where it is looked into.
        with contextlib.suppress(Exception):
            found.update(dict(_leaves(attribute, name, known, 0)))
    return found


def _parts(player: Player) -> Iterator[Any]:
    """Yield what a checkpoint holds of a player anyway."""
    yield player.optimizer
    for network in filter(None, (player.module, player.average)):
        yield from (*network.modules(), *network.parameters(), *network.buffers())


def _leaves(value: Any, place: str, known: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    """Yield the plain values in a thing, with their places."""
    if depth > _DEPTH or id(value) in known or isinstance(value, _OTHERS):
        return
    if isinstance(value, Tensor | np.ndarray | np.generic | int | float | complex | str | bytes):
        yield place, _plain(value)
        return
    below: Any = _inside(value)
    if isinstance(below, list):
        yield f"{place}.length", len(below)
        below = dict(enumerate(below))
    for key, item in below.items():
        yield from _leaves(item, f"{place}.{key}", known, depth + 1)


def _plain(value: Any) -> Any:
    """Return a value that can be compared by ``==``, whatever it is held in."""
    if isinstance(value, np.ndarray | np.generic):
        value = np.asarray(value)
        value = torch.from_numpy(value.copy()) if value.dtype.kind in "biufc" else repr(value.tolist())
    if isinstance(value, Tensor):
        tensor = value.detach()
        tensor = tensor.to_dense() if tensor.layout != torch.strided else tensor
        value = tensor.item() if not tensor.ndim else (tuple(tensor.shape), digest([tensor]))
    # NaN is not equal to itself.
    return repr(value) if value != value else value


def _inside(value: Any) -> list[Any] | Mapping[Any, Any]:
    """Return what is in a container, a generator of random numbers, or an object."""
    match value:
        case list() | tuple() | deque():
            return list(value)
        case Set():
            return sorted(map(repr, value))
        case Mapping():
            return value
        case random.Random():
            return list(value.getstate()[1])
        case np.random.Generator():
            return value.bit_generator.state
        case np.random.RandomState():
            return value.get_state(legacy=False)
        case torch.Generator():
            return [value.get_state()]
    if callable(getattr(value, "state_dict", None)):
        return {"state": value.state_dict()}
    return dict(getattr(value, "__dict__", {}))


class History:
    """What a run that never stops remembers as it goes, to hold one that was resumed against it."""

    def __init__(self) -> None:
        self.seen: list[Memory] = []
        #: Places that differ between two runs that were not resumed: times, and what else is not a state.
        self.restless: set[str] = set()

    def note(self, straight: Run) -> None:
        """Note what the run that never stops remembers at present."""
        self.seen.append(memory(straight))

    def note_restless(self, straight: Run, other: Run) -> None:
        """Note what differs in a run that has played the same steps and is to be resumed next."""
        self.restless |= _different(memory(straight), memory(other))

    def forgotten(self, resumed: Run) -> set[str]:
        """Return the attributes that changed in training, and are other ones in a run that was resumed.

        What the resumed run does not have, or has as None, and was one thing only in the other, is a cache
        that is not filled yet.
        """
        last, own = self.seen[-1], memory(resumed)
        found = set()
        for place in _different(last, own) - self.restless:
            values = {memory.get(place) for memory in self.seen}
            if len(values if place in own else values - {None}) > 1:
                found.add(place.partition(".")[0])
        return found


def _different(one: Memory, other: Memory) -> set[str]:
    return {place for place in one.keys() | other.keys() if one.get(place) != other.get(place)}
