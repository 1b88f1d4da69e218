"""What moves in training beside the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import Toy, again, assert_same, toy_run

from mmgan import CheckpointError, Player, PluginError, train
from mmgan.keeping import digests, tensors_in
from mmgan.storage.rank_state import check_weights


class Counter:
    """Counts, on the device and in Python, and refuses what it did not write."""

    def __init__(self) -> None:
        self.total, self.times = torch.zeros(2), 0

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total.clone(), "more": [{"times": self.times}]}

    def load_state_dict(self, state: Any) -> None:
        if state["total"].shape != (2,):
            raise ValueError("a total has 2 numbers")
        self.total.copy_(state["total"])
        self.times = int(state["more"][0]["times"])


class Moving(Toy):
    """G's loss follows a number that moves with every step."""

    def build(self) -> dict[str, Player]:
        self.counter = Counter()
        self.run.keep("counter", self.counter)
        return super().build()

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        losses = super().loss(phase, batch, shared)
        if phase == "D":
            self.counter.total += losses["D/adv"].detach()
            self.counter.times += 1
        return {name: loss * (1 + self.counter.total[0] / 100) for name, loss in losses.items()}


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    straight = toy_run("toy", tmp_path / "straight", task=Moving, steps=12)
    train(straight)
    train(toy_run("toy", tmp_path / "run", task=Moving, steps=5))
    resumed = again(tmp_path / "run", task=Moving, steps=12)
    assert resumed.task.counter.times == 5
    assert resumed.task.counter.total[0] > 0
    train(resumed)
    assert_same(straight, resumed)
    assert resumed.task.counter.times == 12


def test_a_roll_back_takes_it_back(tmp_path: Path) -> None:
    run = toy_run("toy", tmp_path / "run", task=Moving, steps=6, checkpoint_every=2)
    train(run)
    run.load(run.checkpoints / "step-000004")
    assert run.task.counter.times == 4


def test_a_checkpoint_without_it_leaves_it_as_it_was_built(tmp_path: Path) -> None:
    train(toy_run("toy", tmp_path / "run", task=Toy, steps=4))
    assert again(tmp_path / "run", task=Moving).task.counter.times == 0


def test_what_a_stranger_put_there_is_refused(tmp_path: Path) -> None:
    class Larger(Moving):
        def build(self) -> dict[str, Player]:
            players = super().build()
            self.counter.total = torch.zeros(3)
            return players

    train(toy_run("toy", tmp_path / "run", task=Larger, steps=2))
    with pytest.raises(CheckpointError, match="a total has 2 numbers"):
        again(tmp_path / "run", task=Moving)


def test_ranks_compare_it() -> None:
    one, other = (toy_run("toy", None, task=Moving, steps=2) for _ in range(2))
    check_weights(digests(one), [digests(other)])
    other.task.counter.total += 1
    with pytest.raises(PluginError, match="those of counter on rank 1 are not those on rank 0"):
        check_weights(digests(one), [digests(other)])


def test_tensors_are_found_wherever_they_are() -> None:
    a, b = torch.zeros(1), torch.ones(1)
    assert list(tensors_in({"x": a, "y": [1, {"z": (b, "text")}]})) == [a, b]
