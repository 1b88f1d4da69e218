"""The settings and the rules of the game."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

import mmgan
from mmgan import ConfigError, DataError, ImageSamples, PointSamples
from mmgan.losses import LOSSES, PENALTIES
from mmgan.plugins.choices import choices
from mmgan_gan.config import GANConfig
from mmgan_gan.task import GAN

Play = Callable[..., mmgan.Run]


def settings(**flags: Any) -> GANConfig:
    return mmgan.resolve(GANConfig, "gan", flags=flags, environment={})


# Settings.


def test_defaults_for_pictures() -> None:
    c = settings()
    assert (c.data, c.size, c.channels, c.latent, c.width, c.dropout) == ("digits", 28, 1, 100, 256, 0.25)
    assert (c.batch_size, c.optimizer, c.lr, c.betas) == (64, "adam", 2e-4, (0.5, 0.999))
    assert (c.steps, c.precision) == (3000, "fp32")
    assert not c.on_points


@pytest.mark.parametrize("data", ["ring", "grid", "ring:12"])
def test_defaults_for_points(data: str) -> None:
    c = settings(data=data)
    assert (c.latent, c.width, c.dropout) == (2, 400, 0.0)
    assert (c.batch_size, c.lr, c.betas, c.penalty_weight) == (100, 1e-4, (0.8, 0.999), 0.1)
    assert c.on_points


def test_what_is_set_stands_whatever_the_data() -> None:
    c = settings(data="ring", latent="100", width="64", batch_size="64", lr="2e-4", betas="[0.5, 0.9]")
    assert (c.latent, c.width, c.batch_size, c.lr, c.betas) == (100, 64, 64, 2e-4, (0.5, 0.9))


def test_a_resolved_config_stays_as_it_is(tmp_path: Path) -> None:
    c = settings(data="grid", width=32)
    file = tmp_path / "config.toml"
    file.write_text(mmgan.config.to_toml(c))
    assert mmgan.resolve(GANConfig, "gan", file=file, environment={}) == c


def test_a_folder_called_ring_holds_pictures() -> None:
    assert not settings(data="./ring").on_points


def test_every_loss_and_penalty_of_the_house_can_be_chosen() -> None:
    found = choices(GANConfig, mmgan.Plugins(installed=False))
    assert (found["loss"], found["penalty"]) == (list(LOSSES), list(PENALTIES))


def test_no_points_are_held_out() -> None:
    with pytest.raises(ConfigError, match=r"holdout = 0\.2: points are scored by their modes"):
        settings(data="ring", holdout="0.2")
    assert settings(holdout="0.2").holdout == 0.2


def test_packs_must_fill_a_batch() -> None:
    with pytest.raises(ConfigError, match=r"packing = .*3.* does not divide batch_size = 64"):
        settings(packing="3")


def test_batch_norm_needs_a_batch() -> None:
    with pytest.raises(ValidationError, match=r"batch_size = 1: batch norm in G needs batches of at least 2"):
        GANConfig(plugin="gan", batch_size=1)
    assert GANConfig(plugin="gan", batch_size=1, batch_norm=False).batch_size == 1


def test_smoothing_is_refused_by_a_loss_without_targets(play: Play) -> None:
    with pytest.raises(ConfigError, match="no targets to smooth"):
        play(data="ring", loss="hinge", smoothing=0.1)


# The game.


def test_players(play: Play) -> None:
    run = play(data="ring", ema=0.9, clip_weights=0.01, optimizer="rmsprop", width=8)
    g, d = run.players["G"], run.players["D"]
    assert (g.ema, g.clip_weights) == (0.9, None)
    assert (d.ema, d.clip_weights) == (0.0, 0.01)
    assert all(isinstance(p.optimizer, torch.optim.RMSprop) for p in (g, d))
    assert run.players["D"].compile


def test_adam_has_the_settings(play: Play) -> None:
    for player in play(data="ring", lr=1e-3, betas=(0.3, 0.9), width=8).players.values():
        assert isinstance(player.optimizer, torch.optim.Adam)
        assert (player.optimizer.defaults["lr"], player.optimizer.defaults["betas"]) == (1e-3, (0.3, 0.9))


def test_a_critic_that_is_differentiated_twice_is_not_compiled(play: Play) -> None:
    assert not play(data="ring", penalty="r1", width=8).players["D"].compile


def test_critic_steps(play: Play) -> None:
    run = play(data="ring", critic_steps=3, width=8, steps=2)
    assert (run.players["D"].updates, run.players["G"].updates) == (6, 2)


def test_weights_are_clipped(play: Play) -> None:
    run = play(data="ring", loss="wgan", clip_weights=0.01, width=8, steps=2)
    assert all(p.abs().max() <= 0.01 for p in run.players["D"].module.parameters())
    assert any(p.abs().max() > 0.01 for p in run.players["G"].module.parameters())


def test_a_pack_holds_consecutive_examples(play: Play) -> None:
    task = play(data="ring", packing=2, width=8).task
    points = torch.arange(8.0).reshape(4, 2)
    assert task.pack(points).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    task = play(data="digits", packing=4, width=8, size=8).task
    assert task.pack(torch.zeros(8, 1, 8, 8)).shape == (2, 4 * 64)


def test_d_sees_as_many_packs_of_real_as_of_fake(play: Play) -> None:
    run = play(data="ring", packing=4, width=8)
    seen: list[tuple[int, ...]] = []
    run.players["D"].module.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    batch = run.next_batch()
    run.task.loss("D", batch, run.task.forward(batch))
    assert seen == [(25, 8), (25, 8)]


def test_smoothing_lowers_the_target_of_real_points(play: Play) -> None:
    losses = []
    for smoothing in (0.0, 0.3):
        run = play(data="ring", smoothing=smoothing, width=8)
        batch = run.next_batch()
        with torch.no_grad():
            real = run.players["D"].module(batch).mean()
            fake = run.task.forward(batch)
            losses.append(run.task.loss("D", batch, fake)["D/adv"])
    assert losses[1] - losses[0] == pytest.approx(0.3 * float(real), abs=1e-6)


def test_the_penalty_is_weighted(play: Play) -> None:
    penalties = []
    for weight in (1.0, 7.0):
        run = play(data="ring", penalty="r1", penalty_weight=weight, width=8)
        batch = run.next_batch()
        penalties.append(run.task.loss("D", batch, run.task.forward(batch))["D/penalty"].item())
    assert penalties[1] == pytest.approx(7 * penalties[0])
    assert penalties[0] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:loss = wgan. nothing holds the critic back")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_with_every_penalty(play: Play, loss: str, penalty: str, precision: str) -> None:
    for data, packing in (("ring", 2), ("digits", 1)):
        run = play(
            data=data, loss=loss, penalty=penalty, precision=precision, width=8, size=8, packing=packing
        )
        before = {name: next(player.module.parameters()).clone() for name, player in run.players.items()}
        for _ in range(5):
            losses = run.task.step(run, run.task.stages[0], 0)
        assert all(loss.isfinite() for loss in losses.values())
        assert set(losses) == {"D/adv", "G/adv"} | ({"D/penalty"} if penalty != "none" else set())
        run.check_finite()
        for name, player in run.players.items():
            assert not torch.equal(next(player.module.parameters()), before[name])


def test_a_subclass_is_at_home_on_points_and_pictures(play: Play) -> None:
    """What the docstring promises to those who want to try a loss of their own."""

    class Mine(GAN):
        def loss(self, phase: str, real: torch.Tensor, fake: torch.Tensor) -> dict[str, torch.Tensor]:
            return {f"{phase}/mine": self.d(self.pack(fake)).mean()}

    for data in ("ring", "digits"):
        run = play(data=data, width=8, size=8)
        task = Mine(run.config)
        task.run = run
        task.build()
        batch = run.next_batch()
        assert set(task.loss("G", batch, task.forward(batch))) == {"G/mine"}


# What comes out.


def test_point_samples(play: Play) -> None:
    run = play(data="ring", width=8)
    samples = run.sample(100)
    assert isinstance(samples, PointSamples)
    assert samples.points.shape == (100, 2)
    assert run.task.mixture().scores(samples.real)["high_quality"] > 0.9
    assert torch.equal(run.sample(100).points, samples.points)
    assert not torch.equal(run.sample(100, seed=1).points, samples.points)
    assert run.sample_count == 1000


def test_a_walk_on_points_is_closed_and_its_steps_are_small(play: Play) -> None:
    walk = play(data="ring", width=8).interpolate(200)
    assert isinstance(walk, PointSamples)
    assert torch.allclose(walk.points[0], walk.points[-1], atol=1e-5)
    steps = walk.points.diff(dim=0).norm(dim=1)
    assert steps.max() < 0.1 * steps.sum()


def test_image_samples(play: Play) -> None:
    run = play(width=8, size=8)
    assert isinstance(run.sample(4), ImageSamples)
    assert run.sample(4).images.shape == (4, 1, 8, 8)
    assert isinstance(run.interpolate(9), ImageSamples)
    assert run.sample_count == 64


def test_samples_come_from_the_moving_average(play: Play) -> None:
    run = play(data="ring", width=8, ema=0.9)
    before = run.sample(10).points
    with torch.no_grad():
        for p in run.players["G"].module.parameters():
            p.zero_()
    assert torch.equal(run.sample(10).points, before)


def test_scores(play: Play) -> None:
    run = play(data="ring", width=8)
    assert list(run.evaluate()) == ["missing", "modes", "high_quality", "reverse_kl"]
    assert run.task.best_score in run.evaluate()
    run = play(width=8, size=8, features="pixels")
    assert run.task.best_score in run.evaluate(100)


def test_a_folder_of_colour_pictures(play: Play, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(8):
        pixels = random.integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    run = play(data=str(folder), channels=3, size=16, width=8, batch_size=4, steps=2)
    assert run.sample(3).images.shape == (3, 3, 16, 16)


def test_data_that_is_none_is_an_error(play: Play) -> None:
    with pytest.raises(DataError, match="'rings'"):
        play(data="rings")


@pytest.mark.parametrize("data", ["ring", "digits"])
def test_a_run_can_be_taken_up_again(play: Play, tmp_path: Path, data: str) -> None:
    flags = {"data": data, "width": 8, "size": 8, "device": "cpu", "steps": 6, "tensorboard": False}
    run = mmgan.new_run(settings(**flags), folder=tmp_path / "run")
    mmgan.train(run)
    again = mmgan.load_run(tmp_path / "run")
    assert again.step == 6
    latents = torch.randn(5, run.config.latent)
    for one in (run, again):
        one.players["G"].module.eval()
    assert torch.equal(run.task.generate(latents), again.task.generate(latents))
