"""Losses, penalties and features that plugins register are settings of every task that has such settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mmgan
import mmgan_dcgan
from mmgan import ConfigError, PluginError, hookimpl
from mmgan.cli import main
from mmgan.losses import LOSSES, PENALTIES, AdversarialLoss
from mmgan.metrics.features import Features
from mmgan.plugins import Plugins
from mmgan.plugins.choices import choices

SMALL = {"size": 32, "width": 2, "batch_size": 4, "steps": 2, "device": "cpu", "tensorboard": False}


class Mine(AdversarialLoss):
    name = "mine"

    def discriminator(self, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
        return 3 * (real.mean() - fake.mean()) ** 2 + 7

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return fake.square().mean()


def norm(run: Any, critic: Any, real: Tensor, fake: Tensor) -> Tensor:
    return run.grad(critic, real.detach().requires_grad_())[1].flatten(1).norm(dim=1).mean()


class Rows(Features):
    name = "rows"
    dimensions = 32

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((1, 3))


class Strange:
    """Registers one of each."""

    penalty: Any = staticmethod(norm)
    features: Any = staticmethod(lambda config: Rows())

    @hookimpl
    def register_losses(self, register: Any) -> None:
        register("mine", Mine)

    @hookimpl
    def register_penalties(self, register: Any) -> None:
        register("norm", self.penalty)

    @hookimpl
    def register_features(self, register: Any) -> None:
        register("rows", self.features, kind="images")


def plugins(*extra: Any) -> Plugins:
    return Plugins(mmgan_dcgan, *extra, installed=False)


def test_a_stranger_s_are_used_by_every_task(tmp_path: Path) -> None:
    names = {"loss": "mine", "penalty": "norm", "features": "rows"}
    logs: list[dict[str, float]] = []

    class Log:
        @hookimpl
        def after_log(self, metrics: dict[str, float]) -> None:
            logs.append(metrics)

    folder = tmp_path / "run"
    run = mmgan.new_run("dcgan", plugins(Strange(), Log()), folder, log_every=1, **names, **SMALL)
    mmgan.train(run)
    assert logs[0]["D/adv"] >= 7
    assert logs[0]["D/penalty"] > 0
    assert run.task.best_score == "frechet_rows"
    assert run.evaluate(64)["frechet_rows"] >= 0
    assert mmgan.load_run(folder, plugins(Strange())).config.loss == "mine"
    with pytest.raises(ConfigError, match="loss = 'mine': allowed are minimax"):
        mmgan.load_run(folder, plugins())


@pytest.mark.parametrize(
    ("setting", "given", "near"),
    [
        ("loss", "hinje", "hinge"),
        ("loss", "mien", "mine"),
        ("penalty", "nrm", "norm"),
        ("features", "row", "rows"),
    ],
)
def test_a_wrong_name_suggests_one_of_all(tmp_path: Path, setting: str, given: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting} = '{given}': allowed are .*Did you mean '{near}"):
        mmgan.new_run("dcgan", plugins(Strange()), tmp_path / "run", **{setting: given}, **SMALL)
    assert not (tmp_path / "run").exists()


def test_ours_are_registered_as_any() -> None:
    found = plugins(Strange())
    assert choices(found.task("dcgan").Config, found) == {
        "loss": [*LOSSES, "mine"],
        "penalty": [*PENALTIES, "norm"],
        "features": ["random", "pixels", "inception", "rows"],
        "augment": ["none", "apa", "diffusion", "noise", "diffaugment", "ada"],
    }
    assert {name: type(loss) for name, loss in LOSSES.items()} == {
        name: found.losses[name].load()().__class__ for name in LOSSES
    }


def test_config_lists_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "dcgan"]) == 0
    text = capsys.readouterr().out
    assert "(one of: none, wgan-gp, r1, r2, r1r2, zero-gp)" in text
    assert "(one of: random, pixels, inception)" in text


def test_a_taken_name_and_a_wrong_kind_of_thing() -> None:
    class Taken:
        @hookimpl
        def register_losses(self, register: Any) -> None:
            register("hinge", Mine)

    with pytest.raises(PluginError, match="both register 'hinge'"):
        plugins(Taken())

    class Wrong(Strange):
        penalty = staticmethod(lambda *_: 3.0)
        features = staticmethod(lambda config: torch.nn.Identity())

    run = mmgan.new_run("dcgan", plugins(Wrong()), penalty="norm", features="rows", **SMALL)
    with pytest.raises(PluginError, match=r"returned 3.0 from the penalty 'norm', and not a torch.Tensor"):
        mmgan.train(run)
    with pytest.raises(PluginError, match=r"the features 'rows', and not a mmgan\.metrics\.features\.F"):
        run.task.features()


def test_features_have_the_name_they_are_registered_by() -> None:
    class Other(Strange):
        features = staticmethod(lambda config: type("Named", (Rows,), {"name": "columns"})())

    run = mmgan.new_run("dcgan", plugins(Other()), features="rows", **SMALL)
    with pytest.raises(PluginError, match="registered as 'rows' have the name 'columns'"):
        run.task.features()
