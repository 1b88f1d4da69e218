"""Networks that a task uses and never trains."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from toys import Toy, again, assert_same, mlp, toy_run

from mmgan import CheckpointError, Player, PluginError, Run, hookimpl, train


class Judged(Toy):
    """G learns from a judge, too."""

    loads = 0

    def build(self) -> dict[str, Player]:
        self.judge = self.run.helper("judge", nn.Sequential(mlp(2, 1), nn.BatchNorm1d(1)), self.fill)
        return super().build()

    def fill(self, module: nn.Module) -> None:
        type(self).loads += 1
        with torch.no_grad():
            module[0][0].weight.fill_(0.5)

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        losses = super().loss(phase, batch, shared)
        return losses | ({"G/judge": self.judge(shared).mean()} if phase == "G" else {})


class Seen:
    def __init__(self) -> None:
        self.names: list[str] = []

    @hookimpl
    def configure_module(self, run: Run, name: str, module: nn.Module) -> None:
        self.names.append(name)
        assert module is (run.helpers[name] if name in run.helpers else run.players[name].module)


def test_a_helper_is_frozen_configured_and_never_trained(tmp_path: Path) -> None:
    seen = Seen()
    run = toy_run("toy", None, seen, task=Judged, steps=6)
    judge = run.helpers["judge"]
    assert sorted(seen.names) == ["D", "G", "judge"]
    assert judge is run.task.judge
    before = {key: value.clone() for key, value in judge.state_dict().items()}
    assert before["0.0.weight"].eq(0.5).all()
    train(run)
    assert not judge.training
    assert not any(p.requires_grad or p.grad is not None for p in judge.parameters())
    assert all(torch.equal(value, before[key]) for key, value in judge.state_dict().items())
    plain = toy_run(steps=6)
    train(plain)
    assert not torch.equal(run.weights()["G"]["0.weight"], plain.weights()["G"]["0.weight"]), "it is used"


def test_it_is_kept_once_and_read_again(tmp_path: Path) -> None:
    straight = toy_run("toy", tmp_path / "straight", task=Judged, steps=12)
    train(straight)
    train(toy_run("toy", tmp_path / "run", task=Judged, steps=6, checkpoint_every=3))
    files = sorted(path.name for path in (tmp_path / "run").rglob("*judge*"))
    assert files == ["judge.safetensors"], "and not in each checkpoint"
    before = Judged.loads
    resumed = again(tmp_path / "run", task=Judged, steps=12)
    assert Judged.loads == before, "what it was loaded from is not needed again"
    train(resumed)
    assert_same(straight, resumed)
    assert torch.equal(straight.helpers["judge"][0][0].weight, resumed.helpers["judge"][0][0].weight)
    assert torch.equal(straight.sample(3).points, again(tmp_path / "run", task=Judged).sample(3).points)


def wrong_shape(path: Path) -> None:
    path.write_bytes(safetensors.torch.save({"0.0.weight": torch.zeros(3)}))


def other_weights(path: Path) -> None:
    weights = safetensors.torch.load(path.read_bytes())
    weights["0.0.weight"] += 1
    path.write_bytes(safetensors.torch.save(weights))


def a_link(path: Path) -> None:
    path.rename(path.parents[2] / "elsewhere")
    path.symlink_to(path.parents[2] / "elsewhere")


def a_linked_folder(path: Path) -> None:
    path.parent.rename(path.parents[2] / "elsewhere")
    path.parent.symlink_to(path.parents[2] / "elsewhere")


def too_large(path: Path) -> None:
    os.truncate(path, 1 << 33)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (wrong_shape, "can't be used: judge lacks"),
        (lambda path: path.write_bytes(b"\x00" * 64), "can't be used"),
        (other_weights, "has other weights than those that the run was trained with"),
        (a_link, "elsewhere|link|ordinary"),
        (a_linked_folder, "is a link"),
        (too_large, "[Tt]oo large"),
        (lambda path: path.unlink(), None),
    ],
)
def test_what_a_stranger_may_have_put_there(tmp_path: Path, spoil: Any, said: str | None) -> None:
    train(toy_run("toy", tmp_path / "run", task=Judged, steps=2))
    spoil(tmp_path / "run/helpers/judge.safetensors")
    if said is None:
        assert again(tmp_path / "run", task=Judged).step == 2, "made again, and the same by its digest"
        return
    with pytest.raises(CheckpointError, match=said):
        again(tmp_path / "run", task=Judged)


@pytest.mark.parametrize(
    ("name", "said"), [("../x", "is not a name"), ("", "is not a name"), ("G", "the name of a player")]
)
def test_names(name: str, said: str) -> None:
    class Wrong(Toy):
        def build(self) -> dict[str, Player]:
            self.run.helper(name, mlp(2, 1))
            return super().build()

    with pytest.raises(PluginError, match=said):
        toy_run(task=Wrong)


def test_a_part_of_a_player_is_not_a_helper() -> None:
    class Wrong(Toy):
        def build(self) -> dict[str, Player]:
            players = super().build()
            self.run.helper("judge", self.d[0])
            return players

    with pytest.raises(PluginError, match="shares weights with the player 'D'"):
        toy_run(task=Wrong)


def test_one_that_comes_with_a_stage_is_prepared_at_once() -> None:
    class Later(Toy):
        def begin_stage(self, stage: Any) -> None:
            self.late = self.run.helper("late", mlp(2, 1))

    run = toy_run(task=Later, steps=2)
    train(run)
    assert not run.helpers["late"].training
    assert run.helper_digests.keys() == {"late"}
