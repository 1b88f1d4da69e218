"""Phases with losses of their own, gains, and gradients that are accumulated over several batches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import Toy, assert_same, mlp, reload, toy_run

import mmgan
from mmgan import Phase, Player, PluginError, Stage, Task, train
from mmgan.engine import play_step, update
from mmgan.losses import adversarial_loss
from mmgan.testing import ConformanceError, check_task


class Table(Toy):
    """The toy whose phases read as a table, and which has no method ``loss``."""

    loss = Task.loss

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("train", (Phase("critic", "D", loss=self.d_loss), Phase("maker", "G", loss=self.g_loss))),
        )

    def d_loss(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        return {"D/adv": adversarial_loss("nonsaturating").discriminator(self.d(real), self.d(fake.detach()))}

    def g_loss(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        return {"G/adv": adversarial_loss("nonsaturating").generator(self.d(fake))}


class Given(Toy):
    """A game in which nothing is drawn, and no sample sees another."""

    def build(self) -> dict[str, Player]:
        self.g, self.d = mlp(2, 2), mlp(2, 1)
        sgd = {name: torch.optim.SGD(net.parameters(), 0.05, momentum=0.5) for name, net in self.networks()}
        return {name: Player(net, sgd[name], clip_norm=1.0) for name, net in self.networks()}

    def networks(self) -> list[tuple[str, torch.nn.Module]]:
        return [("G", self.g), ("D", self.d)]

    def forward(self, batch: Tensor) -> Any:
        return self.g(torch.sin(40 * batch))

    def latents(self, n: int) -> Tensor:
        return torch.randn(n, 2)


def test_phases_with_losses_of_their_own_are_the_same_game() -> None:
    named, table = toy_run(steps=10), toy_run(task=Table, steps=10)
    for run in (named, table):
        train(run)
    assert_same(named, table)


def test_a_task_of_such_phases_keeps_the_rules() -> None:
    check_task(Table)


def test_the_rules_look_at_a_phase_s_own_loss() -> None:
    class Bad(Table):
        def d_loss(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
            return {"D/adv": super().d_loss(real, fake)["D/adv"].detach()}

    with pytest.raises(ConformanceError, match=r"Phase 'critic' of stage 'train': 'D/adv' has no graph"):
        check_task(Bad)


def test_a_phase_without_a_loss_fails_at_the_start() -> None:
    class Forgotten(Table):
        @property
        def stages(self) -> tuple[Stage, ...]:
            return (Stage("train", (Phase("critic", "D", loss=self.d_loss), Phase("maker", "G"))),)

    with pytest.raises(PluginError, match="Phase 'maker' of stage 'train' of toy has no loss") as caught:
        toy_run(task=Forgotten)
    assert "loss=self.d_loss" in caught.value.hint


@pytest.mark.parametrize("gain", [float("nan"), float("inf")])
def test_a_gain_is_finite(gain: float) -> None:
    class Loud(Toy):
        @property
        def stages(self) -> tuple[Stage, ...]:
            return (Stage("train", (Phase("D", "D", gain=gain),)),)

    with pytest.raises(PluginError, match="gain = .* is not finite"):
        toy_run(task=Loud)


def gradients(run: mmgan.Run, player: str) -> dict[str, Tensor]:
    named = run.players[player].module.named_parameters()
    return {name: parameter.grad.clone() for name, parameter in named if parameter.grad is not None}


def test_a_gain_multiplies_the_gradient_and_not_what_is_logged() -> None:
    found = []
    for gain in (1.0, 16.0):
        run = toy_run(task=Given)
        run.players["D"].clip_norm = None
        batch = run.next_batch()
        losses = update(run, Phase("D", "D", gain=gain), batch, run.task.forward(batch))
        found.append((losses["D/adv"], gradients(run, "D")))
    (plain_loss, plain), (loud_loss, loud) = found
    assert torch.equal(plain_loss, loud_loss)
    for name, gradient in plain.items():
        torch.testing.assert_close(loud[name], 16 * gradient)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_accumulated_gradients_are_those_of_a_larger_batch(precision: str) -> None:
    whole = toy_run(task=Given, steps=6, batch_size=8, precision=precision)
    parts = toy_run(task=Given, steps=6, batch_size=2, accumulate=4, precision=precision)
    logs: list[Mapping[str, Any]] = []
    for run in (whole, parts):
        run.plugins.attach([Log(logs)])
        train(run)
    tolerance = {"rtol": 1e-4, "atol": 1e-6} if precision == "fp32" else {"rtol": 2e-2, "atol": 2e-3}
    for name, weights in whole.weights().items():
        for key, value in weights.items():
            torch.testing.assert_close(parts.weights()[name][key], value, **tolerance)
    assert parts.loader.position == 4 * whole.loader.position == 24
    for name in ("D/adv", "G/adv"):
        assert logs[1][name] == pytest.approx(logs[0][name], rel=1e-2)


class Log:
    """Keeps what is logged last."""

    def __init__(self, logs: list[Mapping[str, Any]]) -> None:
        self.logs = logs

    @mmgan.hookimpl
    def after_log(self, metrics: Mapping[str, Any]) -> None:
        self.logs.append(metrics)


def test_a_resume_with_accumulation_is_exact(tmp_path: Path) -> None:
    straight = toy_run(folder=tmp_path / "straight", steps=8, accumulate=3)
    train(straight)
    stopped = toy_run(folder=tmp_path / "stopped", steps=4, accumulate=3)
    train(stopped)
    resumed = reload(tmp_path / "stopped", steps=8)
    train(resumed)
    assert_same(straight, resumed)


def test_further_batches_are_shared_by_the_phases_of_a_step() -> None:
    seen: list[tuple[str, Tensor]] = []

    class Seen(Given):
        def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
            seen.append((phase, batch))
            return super().loss(phase, batch, shared)

    run = toy_run(task=Seen, accumulate=3)
    play_step(run, Stage("train", (Phase("D", "D", repeat=2), Phase("G", "G"))), 0)
    assert [phase for phase, _ in seen] == ["D"] * 6 + ["G"] * 3
    assert [batch is other for (_, batch), (_, other) in zip(seen[3:6], seen[6:], strict=True)] == [True] * 3
    assert len({id(batch) for _, batch in seen}) == 6 == run.loader.position
