"""Networks that grow when a stage begins: exact resume across it, and equal weights on two ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from growing import growing
from safetensors.torch import load_file
from torch import Tensor, nn
from toys import Toy, assert_same, mlp, reload, toy_run
from two_ranks import two_ranks

import mmgan
from mmgan import CheckpointError, Phase, Player, Stage, train
from mmgan.plugins import Plugins

PHASES = (Phase("D", "D"), Phase("G", "G"))


class Growing(Toy):
    """G has one more layer in the second stage, and another in the third."""

    stages = (Stage("small", PHASES, 6), Stage("larger", PHASES, 6), Stage("largest", PHASES))
    heard: list[str]

    def build(self) -> dict[str, Player]:
        self.g, self.d = nn.Sequential(nn.Linear(4, 2)), mlp(2, 1)
        self.heard = []
        return {"G": self.player(self.g), "D": self.player(self.d)}

    def player(self, network: nn.Module) -> Player:
        return Player(network, torch.optim.Adam(network.parameters(), 1e-2), ema=0.9)

    def begin_stage(self, stage: Stage) -> None:
        self.heard.append(f"begin {stage.name}")
        if stage.name != "small":
            self.g = nn.Sequential(*self.g, nn.Linear(2, 2))
            self.run.rebuild("G", self.player(self.g))

    def end_stage(self, stage: Stage) -> None:
        self.heard.append(f"end {stage.name}")


class Games:
    """The toy that grows, under the toy's name, for runs that are opened again."""

    @mmgan.hookimpl
    def register_tasks(self, register: Any) -> None:
        register("toy", Growing)


def again(folder: Path, steps: int) -> mmgan.Run:
    return mmgan.load_run(folder, Plugins(Games(), installed=False), changes={"steps": steps})


def test_each_stage_is_entered_once_and_the_network_grows() -> None:
    run = toy_run(task=Growing, steps=15)
    first = run.players["G"].module[0].weight.clone()
    train(run)
    assert run.task.heard == ["begin small", "end small", "begin larger", "end larger", "begin largest"]
    assert (run.stage.name, run.stage_step) == ("largest", 2)
    g = run.players["G"]
    assert len(g.module) == len(g.average) == 3
    assert g.module is run.task.g
    assert not torch.equal(g.module[0].weight, first), "trained"
    assert (
        {id(p) for p in run.trained["G"]}
        == {id(p) for p in g.module.parameters()}
        == {id(p) for p in run.opponents["D"]}
    )
    assert g.updates == 15
    # Adam knows the new layer for as long as it is there, and the old one no longer than that.
    assert {int(state["step"]) for state in g.optimizer.state.values()} == {3}


def test_a_moving_average_goes_on_where_weights_are_the_same() -> None:
    run = toy_run(task=Growing, steps=6)
    train(run)
    before = run.players["G"].average[0].weight.clone()
    run.task.begin_stage(run.stages[1])
    average = run.players["G"].average
    assert torch.equal(average[0].weight, before)
    assert not torch.equal(average[0].weight, run.players["G"].module[0].weight)
    assert torch.equal(average[1].weight, run.players["G"].module[1].weight)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 6, 7, 12, 13])
def test_a_resume_across_growth_is_exact(tmp_path: Path, stop: int) -> None:
    straight = toy_run(folder=tmp_path / "straight", task=Growing, steps=15)
    train(straight)
    train(toy_run(folder=tmp_path / "stopped", task=Growing, steps=stop))
    resumed = again(tmp_path / "stopped", 15)
    assert resumed.step == stop
    train(resumed)
    assert_same(straight, resumed)
    assert torch.equal(straight.sample(5).points, resumed.sample(5).points)
    assert "begin largest" in resumed.task.heard


def test_sampling_a_run_that_has_grown_needs_no_training(tmp_path: Path) -> None:
    run = toy_run(folder=tmp_path / "run", task=Growing, steps=8)
    train(run)
    opened = again(tmp_path / "run", 8)
    assert torch.equal(opened.sample(7).points, run.sample(7).points)


def test_a_task_that_no_longer_grows_does_not_fit(tmp_path: Path) -> None:
    train(toy_run(folder=tmp_path / "run", task=Growing, steps=8))
    with pytest.raises(CheckpointError, match="does not fit"):
        reload(tmp_path / "run")


# On two ranks.


def grown(folder: Path, plugin: str) -> list[tuple[int, str]]:
    """Let two processes train the plugin, and return how each ended and what it said."""
    (folder / "plugins").mkdir()
    (folder / "plugins/growth.py").write_text(growing(4, "grows", "wrongly"))
    words: list[str | Path] = ["run", "--plugin", plugin, "--data", "ring", "--steps", "8"]
    words += ["--batch-size", "4", "--out", folder / "run"]
    for setting in ("device=cpu", "checkpoint_every=5", "tensorboard=false", "precision=fp32", "keep=10"):
        words += ["--set", setting]
    return two_ranks(folder, *words)


@pytest.mark.process
@pytest.mark.slow
def test_two_ranks_grow_alike(tmp_path: Path) -> None:
    ends = grown(tmp_path, "grows")
    assert [code for code, _ in ends] == [0, 0], ends
    weights: dict[str, Tensor] = load_file(tmp_path / "run/checkpoints/step-000008/G.safetensors")
    assert weights.keys() == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "finished"


@pytest.mark.process
@pytest.mark.slow
def test_ranks_that_grow_apart_end_with_an_error_at_the_next_checkpoint(tmp_path: Path) -> None:
    (first, said), (second, _) = grown(tmp_path, "wrongly")
    assert first == 3, said
    assert "different weights: those of G on rank 1 are not those on rank 0" in said
    assert second not in (0, 70)
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["state"], status["step"]) == ("failed", 5)
