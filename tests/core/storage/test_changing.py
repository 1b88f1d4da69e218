"""Settings that change between a stop and a resume: said, taken and recorded, or refused by their names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import Toy, assert_same, reload, toy_run

import mmgan
from mmgan import ConfigError, train
from mmgan.storage import changing, fitting


def edit(folder: Path, before: str, after: str) -> None:
    text = (folder / "config.toml").read_text()
    assert before in text
    (folder / "config.toml").write_text(text.replace(before, after))


def rates(run: mmgan.Run, name: str = "lr") -> list[float]:
    return [group[name] for player in run.players.values() for group in player.optimizer.param_groups]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    train(toy_run(folder=tmp_path / "run", steps=4))
    return tmp_path / "run"


def test_a_learning_rate_edited_in_the_config_is_taken(folder: Path) -> None:
    before = reload(folder)
    edit(folder, "lr = 0.01", "lr = 0.5")
    after = reload(folder)
    assert after.changed == {"lr": (0.01, 0.5)}
    assert rates(after) == [0.5 * rate / 0.01 for rate in rates(before)]
    state = [player.optimizer.state_dict()["state"] for player in after.players.values()]
    assert all(group for group in state), "what the optimizer remembers stays"


def test_a_change_is_recorded_at_its_step_and_kept(folder: Path) -> None:
    train(reload(folder, steps=8, lr=0.5))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["settings"]) for line in lines if "settings" in line] == [
        (4, {"lr": {"from": 0.01, "to": 0.5}})
    ]
    assert "lr = 0.5" in (folder / "config.toml").read_text()
    assert reload(folder).changed == {}, "the newest checkpoint was made with it"


def test_nothing_changes_where_no_setting_does(folder: Path) -> None:
    assert reload(folder).changed == {}
    assert reload(folder, steps=9, log_every=3, keep=1, sample_every=2).changed == {}


def test_what_a_schedule_or_a_task_has_moved_stays_where_it_was(tmp_path: Path) -> None:
    class Falling(Toy):
        def build(self) -> Any:
            players = super().build()
            for player in players.values():
                player.schedule = lambda step: 1 / (1 + step)
            return players

        def loss(self, phase: str, *rest: Any) -> Any:
            group = self.run.players["D"].optimizer.param_groups[0]
            group["weight_decay"] = 0.125  # moved by the task itself
            return super().loss(phase, *rest)

    run = toy_run(folder=tmp_path / "run", steps=4, task=Falling)
    train(run)
    from toys import Games

    plugins = mmgan.Plugins(Games(), installed=False)
    plugins.tasks["toy"].thing = Falling
    again = mmgan.load_run(tmp_path / "run", plugins, changes={"lr": 1.0, "steps": 5})
    assert again.players["D"].optimizer.param_groups[0]["weight_decay"] == 0.125
    first = [group["initial_lr"] for p in again.players.values() for group in p.optimizer.param_groups]
    assert first == [
        100 * (group["initial_lr"]) for p in run.players.values() for group in p.optimizer.param_groups
    ]
    train(again)
    assert rates(again) == [rate / 5 for rate in first]


def test_a_seed_can_t_change(folder: Path) -> None:
    edit(folder, "seed = 0", "seed = 1")
    with pytest.raises(
        ConfigError, match="seed can't change from 0 to 1 in a run that has done 4 steps"
    ) as caught:
        reload(folder)
    assert "Set seed = 0 again" in caught.value.hint


def test_a_setting_that_the_task_fixes_can_t_change(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "fixed_settings", frozenset({"critic_steps"}))
    with pytest.raises(ConfigError, match="critic_steps can't change from 1 to 2"):
        reload(folder, critic_steps=2)


def test_a_size_that_no_longer_fits_is_refused_by_its_name_alone(tmp_path: Path) -> None:
    config = mmgan.resolve(
        mmgan.Plugins().task("dcgan").Config,
        "dcgan",
        flags={"data": "digits", "size": 32, "width": 4, "batch_size": 4, "steps": 1, "tensorboard": False},
    )
    train(mmgan.new_run(config, folder=tmp_path / "run"))
    edit(tmp_path / "run", "lr = 0.002", "lr = 0.001")
    edit(tmp_path / "run", "width = 4", "width = 8")
    with pytest.raises(
        ConfigError, match=r"^width can't change in a run that has begun \(width 4 -> 8\)"
    ) as caught:
        mmgan.load_run(tmp_path / "run")
    assert "\n" not in caught.value.message


def test_a_batch_of_another_size_goes_on_where_the_data_was(folder: Path) -> None:
    run = reload(folder, batch_size=4)
    assert run.loader.position == 2 * reload(folder).loader.position
    assert run.changed == {"batch_size": (8, 4)}


def test_options_of_several_groups_change_one_by_one() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.Adam([{"params": weights[:1], "lr": 1.0}, {"params": weights[1:]}], 0.1)
    before = changing.options_of(optimizer)
    now = [{**before[0], "betas": [0.5, 0.9]}, {**before[1], "lr": 0.2}]
    changing.apply_options(optimizer, before, now)
    assert [group["betas"] for group in optimizer.param_groups] == [(0.5, 0.9), (0.9, 0.999)]
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 0.2]


@pytest.mark.slow
def test_an_unchanged_resume_is_exact_still(tmp_path: Path) -> None:
    straight = toy_run(folder=tmp_path / "straight", steps=8)
    train(straight)
    train(toy_run(folder=tmp_path / "run", steps=4))
    resumed = reload(tmp_path / "run", steps=8)
    train(resumed)
    assert_same(straight, resumed)


class Odd(torch.optim.Optimizer):
    """A plugin's own optimizer, which keeps what torch's do not."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1, "clip": float("inf"), "distance": None, "mode": [1]})

    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            group["distance"], group["mode"], group["seen"] = 0.5, [1, 2], "often"
            for weight in group["params"]:
                self.state[weight] = {"best": float("inf"), "extra": torch.zeros(7)}
        self.state["all"] = {"steps": 1}


def test_a_plugin_s_own_optimizer_may_keep_anything(tmp_path: Path) -> None:
    class Own(Toy):
        def build(self) -> Any:
            players = super().build()
            for player in players.values():
                player.optimizer = Odd(player.module.parameters())
            return players

    train(toy_run(folder=tmp_path / "run", steps=3, task=Own))
    from toys import Games

    plugins = mmgan.Plugins(Games(), installed=False)
    plugins.tasks["toy"].thing = Own
    again = mmgan.load_run(tmp_path / "run", plugins, changes={"steps": 5})
    assert again.players["G"].optimizer.param_groups[0]["mode"] == [1, 2]
    assert train(again).step == 5


def test_an_option_that_needs_more_than_was_kept_is_refused() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.RMSprop([weight], 0.1)
    weight.grad = torch.ones(2)
    optimizer.step()
    before = changing.options_of(optimizer)
    changing.apply_options(optimizer, before, [{**before[0], "momentum": 0.9}])
    with pytest.raises(ValueError, match="needs momentum_buffer"):
        fitting.check_state("G", optimizer)


def test_the_settings_of_a_resume_that_came_to_nothing_are_forgotten(folder: Path) -> None:
    with (folder / "metrics.jsonl").open("a") as file:  # what a resume writes before it is killed
        file.write('{"step": 4, "seconds": 1.0, "settings": {"lr": {"from": 0.01, "to": 0.3}}}\n')
    train(reload(folder, steps=8))
    assert "settings" not in (folder / "metrics.jsonl").read_text()
