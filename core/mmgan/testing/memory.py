"""A task's own state, apart from its players: attributes that change while it trains."""

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

#: Attributes that are not the task's own state, or are checked elsewhere.
_OTHERS = (Run, Config, Dataset, Loader, Player, Task, ModuleType, FunctionType, MethodType, type)
#: How deeply objects are inspected.
_DEPTH = 5

#: Values by place. None is left out: an attribute that is not set yet counts as missing.
Memory = dict[str, Any]


def memory(run: Run) -> Memory:
    """Return the values of a task's attributes and of their contents, by places such as ``pool.images.3``.

    Tensors and arrays become digests; an object with a ``state_dict`` (a network, an optimizer) becomes that.
    """
    known = {id(part) for player in run.players.values() for part in _parts(player)}
    found: Memory = {}
    for name, attribute in vars(run.task).items():
        # A third-party object may raise anything when it is inspected.
        with contextlib.suppress(Exception):
            found.update(dict(_leaves(attribute, name, known, 0)))
    return found


def _parts(player: Player) -> Iterator[Any]:
    """Yield the parts of a player that a checkpoint holds anyway."""
    yield player.optimizer
    for network in filter(None, (player.module, player.average)):
        yield from (*network.modules(), *network.parameters(), *network.buffers())


def _leaves(value: Any, place: str, known: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    """Yield the plain values in an object, with their places."""
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
    """Return an equivalent value that can be compared by ``==``."""
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
    """Return the contents of a container, a random generator, or an object."""
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
    """The states of a run that never stops, with which a resumed run is compared."""

    def __init__(self) -> None:
        self.seen: list[Memory] = []
        #: Places that differ even between two runs without a resume: times, and others that are not state.
        self.restless: set[str] = set()

    def note(self, straight: Run) -> None:
        """Record the current state of the run that never stops."""
        self.seen.append(memory(straight))

    def note_restless(self, straight: Run, other: Run) -> None:
        """Record what differs in a run that has played the same steps and will be resumed next."""
        self.restless |= _different(memory(straight), memory(other))

    def forgotten(self, resumed: Run) -> set[str]:
        """Return the attributes that changed in training and differ in a resumed run.

        An attribute that is missing or None in the resumed run, and had a single value in the other, is a
        cache that is not filled yet.
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
