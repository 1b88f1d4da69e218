"""What a task remembers and does not save is named; what is not a memory is not."""

from __future__ import annotations

import itertools
import random
import time
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from toys import Toy, toy_run

from mmgan import Player
from mmgan.testing import ConformanceError, check_task
from mmgan.testing.memory import memory


@dataclass
class Pool:
    fakes: list[torch.Tensor] = field(default_factory=list)


class Remembering(Toy):
    """Keeps something that no weight depends on, and in ``kept`` modes saves it."""

    begin: Any = staticmethod(lambda: None)
    go_on: Any = staticmethod(lambda task, batch: None)

    def build(self) -> dict[str, Player]:
        self.memo = self.begin()
        return super().build()

    def forward(self, batch: torch.Tensor) -> Any:
        self.scratch = self.run.step * batch
        self.go_on(batch)
        return super().forward(batch)


def task(begin: Any, go_on: Any, **attributes: Any) -> Any:
    return type("Remembering", (Remembering,), {"begin": staticmethod(begin), "go_on": go_on, **attributes})


def count(self: Any, batch: torch.Tensor) -> None:
    self.memo += 1


def append(self: Any, batch: torch.Tensor) -> None:
    self.memo.append(batch.mean())


def draw(self: Any, batch: torch.Tensor) -> None:
    self.memo.random()


def nothing(self: Any, batch: torch.Tensor) -> None:
    pass


FORGOTTEN = {
    "number": (lambda: 0, count),
    "tensor": (lambda: torch.zeros(2), lambda self, batch: self.memo.add_(batch.mean(0))),
    "array": (lambda: np.zeros(2), count),
    "list": (list, append),
    "deque": (lambda: deque(maxlen=10), append),
    "dict": (lambda: {"seen": 0}, lambda self, batch: self.memo.update(seen=self.memo["seen"] + 1)),
    "set": (set, lambda self, batch: self.memo.add(self.run.step)),
    "object": (Pool, lambda self, batch: self.memo.fakes.append(batch)),
    "python's generator": (lambda: random.Random(0), draw),
    "numpy's generator": (lambda: np.random.default_rng(0), draw),
    "torch's generator": (
        lambda: torch.Generator().manual_seed(0),
        lambda self, batch: torch.rand((), generator=self.memo),
    ),
    "network": (
        lambda: torch.nn.BatchNorm1d(2),
        lambda self, batch: self.memo(batch.detach()),
    ),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_what_changes_and_is_not_saved_is_named(name: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_task(task(*FORGOTTEN[name]))
    (failure,) = caught.value.failures
    assert failure.rule == "resume"
    assert failure.what.startswith("The task's 'memo' changes in training, and is different after a resume")


def test_what_is_saved_is_not_forgotten() -> None:
    def load(self: Any, state: dict[str, Any]) -> None:
        self.memo = deque(state["memo"], 3)

    check_task(
        task(
            lambda: deque(maxlen=3),
            append,
            state_dict=lambda self: {"memo": [*self.memo]},
            load_state_dict=load,
        )
    )


class Endless:
    """Can't be looked into."""

    def __init__(self) -> None:
        self.itself = self
        self.number = 0

    def state_dict(self) -> dict[str, Any]:
        raise RuntimeError("closed")


def cache(self: Any, batch: torch.Tensor) -> None:
    if self.memo is None:
        self.memo = torch.ones(3)
    _ = self.table
    self.by_step = {**getattr(self, "by_step", {}), self.run.step: batch}


NOT_A_MEMORY = {
    "caches": (lambda: None, cache, {"table": cached_property(lambda self: torch.ones(2))}),
    "times": (lambda: 0.0, lambda self, batch: setattr(self, "memo", time.perf_counter()), {}),
    "iterators and functions": (lambda: [itertools.count(), lambda: 0, Toy], nothing, {}),
    "what can't be looked into": (Endless, nothing, {}),
    "its own players": (
        lambda: None,
        lambda self, batch: setattr(self, "memo", [*self.g.parameters(), self.run, self.config]),
        {},
    ),
}


@pytest.mark.parametrize("name", NOT_A_MEMORY)
def test_no_false_alarm(name: str) -> None:
    begin, go_on, attributes = NOT_A_MEMORY[name]
    check_task(task(begin, go_on, **attributes))


def test_values_are_the_same_whatever_holds_them() -> None:
    one, other = toy_run(), toy_run()
    one.task.own = {"a": [1, 2.5], "b": torch.tensor(3), "c": np.float32(0.5), "d": float("nan")}
    other.task.own = {"a": deque([1, 2.5]), "b": 3, "c": 0.5, "d": torch.tensor(float("nan"))}
    assert memory(one) == memory(other)
    assert memory(one) == {
        "own.a.length": 2, "own.a.0": 1, "own.a.1": 2.5, "own.b": 3, "own.c": 0.5, "own.d": "nan"
    }  # fmt: skip
