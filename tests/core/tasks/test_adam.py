"""Rates, decay rates and averages that follow settings and schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from toys import Stopper, Toy, again, assert_same, toy_run

from mmgan import Player, PluginError, train
from mmgan.players import average_images, follow_schedules
from mmgan.tasks.adam import AdamConfig


def config(**settings: Any) -> AdamConfig:
    return AdamConfig(**{"plugin": "toy", "steps": 100, "lr": 1e-3, "betas": (0.0, 0.9), **settings})


def player(c: AdamConfig, rate: float, **options: Any) -> Player:
    network = torch.nn.Linear(2, 2)
    return c.player(network, torch.optim.Adam(network.parameters(), rate, c.betas), **options)


def test_rates_fall_by_one_factor() -> None:
    c = config(d_lr=4e-3, lr_end=1e-4, beta2_end=0.99)
    g, d = player(c, c.lr), player(c, c.d_lr or 0)
    for step, factor, beta in ((0, 1.0, 0.9), (50, 0.55, 0.945), (100, 0.1, 0.99), (500, 0.1, 0.99)):
        for one, rate in ((g, 1e-3), (d, 4e-3)):
            follow_schedules(one, step)
            (group,) = one.optimizer.param_groups
            assert group["lr"] == pytest.approx(rate * factor)
            assert group["betas"] == pytest.approx((0.0, beta))


def test_without_ends_nothing_moves() -> None:
    one = player(config(), 1e-3)
    assert one.schedule is None
    assert one.betas_schedule is None


def test_only_adam_has_betas() -> None:
    class Rms(AdamConfig):
        optimizer: str = "rmsprop"

    with pytest.raises(ValidationError, match=r"beta2_end = 0\.99: only Adam has betas"):
        Rms(plugin="toy", beta2_end=0.99)
    network = torch.nn.Linear(2, 2)
    with pytest.raises(PluginError, match="RMSprop has none"):
        Player(network, torch.optim.RMSprop(network.parameters()), betas_schedule=lambda step: (0.0, 0.9))


def test_ways_to_average() -> None:
    assert config(ema=0.9).averaging == {"ema": 0.9}
    assert config(ema_half_life=500.0).averaging == {"ema_half_life": 500.0}
    grown = config(ema_half_life=500.0, ema_growth="cosine").averaging
    assert grown["half_life_schedule"](50) == pytest.approx(0.5)
    assert grown["ema_ramp_up"] is None


class Scheduled(Toy):
    """The toy whose rates, decay rates and average move."""

    def build(self) -> dict[str, Player]:
        players = super().build()
        c = config(
            steps=self.config.steps, lr_end=1e-4, beta2_end=0.99, ema_half_life=64.0, ema_growth="cosine"
        )
        return {
            name: c.player(p.module, torch.optim.Adam(p.module.parameters(), 1e-2), **c.averaging)
            for name, p in players.items()
        }


def test_the_average_s_half_life_grows() -> None:
    run = toy_run("toy", None, task=Scheduled, steps=40)
    g = run.players["G"]
    assert g.average is not None
    average, now = (next(module.parameters()) for module in (g.average, g.module))
    with torch.no_grad():
        now.fill_(1.0)
    for step, half_life in ((0, 0.0), (20, 32.0), (40, 64.0)):
        run.step = step
        average.zero_()
        average_images(run, g)
        # The decay is 0.5 ** (batch / half-life).
        decay = 0.5 ** (8 / half_life) if half_life else 0.0
        assert average.flatten()[0].item() == pytest.approx(1 - decay, rel=1e-5)


def test_a_resume_in_the_middle_is_exact(tmp_path: Path) -> None:
    straight = toy_run("toy", tmp_path / "straight", task=Scheduled, steps=20)
    train(straight)
    stopped = toy_run("toy", tmp_path / "run", Stopper(7), task=Scheduled, steps=20)
    train(stopped)
    resumed = again(tmp_path / "run", task=Scheduled)
    assert resumed.step == 7
    train(resumed)
    assert_same(straight, resumed)
