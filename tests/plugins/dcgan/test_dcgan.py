"""DCGAN: its architecture is the paper's, its step is PyTorch's example's, and it learns to draw digits."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import mmgan
from mmgan.config import check, resolve
from mmgan.engine import play_step, playing, train
from mmgan.plugins import Plugins
from mmgan.tasks.walks import slerp
from mmgan_dcgan.networks import Discriminator, Generator
from mmgan_dcgan.task import DCGANConfig

SMALL = {"width": 4, "latent": 8, "batch_size": 8, "device": "cpu", "precision": "fp32", "tensorboard": False}


def dcgan_run(folder: Path | None = None, **settings: Any) -> mmgan.Run:
    plugins = Plugins()
    return mmgan.new_run(check(DCGANConfig, {"plugin": "dcgan"} | SMALL | settings), plugins, folder)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("size", "channels", "g", "d"),
    [
        (64, 3, 3_576_704, 2_765_568),
        (64, 1, 3_574_656, 2_763_520),
        # One stride-2 layer less or more. 32: G 100·256·16 + 256·128·16 + 128·64·16 + 64·16 and batch norm
        # 2·(256 + 128 + 64); D 64·16 + 64·128·16 + 128·256·16 + 256·16 and batch norm 2·(128 + 256).
        (32, 1, 1_066_880, 661_248),
        # 128: as 64 with G's 100·1024·16 instead of 100·512·16, 1024·512·16 more and 2·1024 of batch norm; D
        # with 512·1024·16 more, 2·1024 of batch norm, and 1024·16 instead of 512·16 at the end.
        (128, 3, 3_576_704 + 819_200 + 8_388_608 + 2_048, 2_765_568 + 8_388_608 + 2_048 + 8_192),
    ],
)
def test_parameter_counts(size: int, channels: int, g: int, d: int) -> None:
    generator, discriminator = Generator(size, channels, 64, 100), Discriminator(size, channels, 64)
    assert (count(generator), count(discriminator)) == (g, d)
    images = generator(torch.randn(2, 100))
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (2,)


@pytest.mark.parametrize("norm", ["none", "spectral"])
def test_today_s_discriminator_has_biases_instead_of_batch_norm(norm: str) -> None:
    d = Discriminator(64, 3, 64, norm)
    assert count(d) == 2_765_568 - 2 * (128 + 256 + 512) + (64 + 128 + 256 + 512 + 1)
    assert count(Discriminator(64, 3, 64, "bare")) == 2_765_568 - 2 * (128 + 256 + 512)
    # One more channel into the last layer.
    assert count(Discriminator(64, 3, 64, norm, deviation=8)) == count(d) + 16
    assert d(torch.randn(2, 3, 64, 64)).shape == (2,)


def settings(**given: Any) -> DCGANConfig:
    config = resolve(DCGANConfig, "dcgan", flags=given, environment={})
    assert isinstance(config, DCGANConfig)
    return config


def test_the_default_is_today_s_objective_at_a_rate_that_it_bears() -> None:
    objective = ("loss", "penalty", "penalty_every", "d_norm", "betas")
    for size, rate, gamma in (("32", 2e-3, 0.3), ("64", 1e-3, 5.0), ("128", 5e-4, 30.0)):
        c = settings(data="./pictures", size=size)
        assert [getattr(c, name) for name in objective] == ["rpgan", "r1r2", 4, "none", (0.0, 0.99)]
        assert (c.lr, c.penalty_weight) == (rate, gamma)
    assert settings().lr == 2e-3, "digits have 32 pixels"
    assert settings(data="./pictures").penalty_weight == 5.0
    assert settings(lr="1e-4", penalty_weight="1").lr == 1e-4, "what is set stands"


def test_the_paper_s_settings_are_one_preset_away() -> None:
    c = settings(preset="paper")
    assert (c.loss, c.penalty, c.d_norm, c.lr, c.betas, c.ema) == (
        "nonsaturating", "none", "auto", 2e-4, (0.5, 0.999), 0.999
    )  # fmt: skip


@pytest.mark.parametrize(
    "chosen", [{"loss": "hinge"}, {"penalty": "wgan-gp"}, {"d_norm": "spectral"}, {"clip_weights": "0.1"}]
)
def test_who_chooses_an_objective_begins_from_the_paper_s(chosen: dict[str, str]) -> None:
    c = settings(**chosen)
    assert (c.lr, c.betas, c.penalty_every) == (2e-4, (0.5, 0.999), 1)
    assert c.penalty_weight == 10.0
    assert settings(preset="r1r2", **chosen).lr == 2e-3


def test_layers_are_the_paper_s() -> None:
    generator, discriminator = Generator(64, 3, 64, 100), Discriminator(64, 3, 64)
    g, d = list(generator.layers), list(discriminator.layers)
    assert [type(m).__name__ for m in g] == ["ConvTranspose2d", "BatchNorm2d", "ReLU"] * 4 + [
        "ConvTranspose2d",
        "Tanh",
    ]
    assert [m.out_channels for m in g[::3]] == [512, 256, 128, 64, 3]
    names = [type(m).__name__ for m in d]
    assert names == ["Conv2d", "LeakyReLU"] + ["Conv2d", "BatchNorm2d", "LeakyReLU"] * 3 + [
        "Conv2d",
        "Flatten",
    ]
    assert [m.out_channels for m in d if isinstance(m, nn.Conv2d)] == [64, 128, 256, 512, 1]
    convolutions = [m for m in (*g, *d) if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert all(m.bias is None and m.kernel_size == (4, 4) for m in convolutions)
    assert all(m.negative_slope == 0.2 for m in d if isinstance(m, nn.LeakyReLU))


def test_initialisation() -> None:
    torch.manual_seed(0)
    generator = Generator(64, 3, 64, 100)
    for module in generator.modules():
        if isinstance(module, nn.ConvTranspose2d):
            assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
            assert float(module.weight.detach().mean()) == pytest.approx(0, abs=1e-3)
        if isinstance(module, nn.BatchNorm2d):
            assert float(module.weight.detach().mean()) == pytest.approx(1, abs=0.01)
            assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.4)
            assert not module.bias.any()


def test_a_step_is_that_of_pytorch_s_example() -> None:
    run = dcgan_run(preset="paper", width=4, ema=0.9)
    g, d = copy.deepcopy(run.players["G"].module), copy.deepcopy(run.players["D"].module)
    opt_g = torch.optim.Adam(g.parameters(), 2e-4, (0.5, 0.999))
    opt_d = torch.optim.Adam(d.parameters(), 2e-4, (0.5, 0.999))
    batches = dcgan_run().loader
    bce = nn.functional.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(8), torch.zeros(8)
    with playing(run):
        for index in range(5):
            before = torch.get_rng_state()
            losses = play_step(run, run.stages[0], index)
            torch.set_rng_state(before)

            real = next(batches)
            d.zero_grad()
            on_real = bce(d(real), ones)
            on_real.backward()
            fake = g(torch.randn(8, 8))
            on_fake = bce(d(fake.detach()), zeros)
            on_fake.backward()
            opt_d.step()
            g.zero_grad()
            loss_g = bce(d(fake), ones)
            loss_g.backward()
            opt_g.step()
            assert float(losses["D/adv"]) == pytest.approx(float((on_real + on_fake).detach()), rel=1e-4)
            assert float(losses["G/adv"]) == pytest.approx(float(loss_g.detach()), rel=1e-4)
    for ours, theirs in ((run.players["G"].module, g), (run.players["D"].module, d)):
        for key, value in theirs.state_dict().items():
            # Adam's first steps are of size lr whatever the gradient, so rounding may show as a share of lr.
            torch.testing.assert_close(ours.state_dict()[key], value, rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.parametrize("loss", ["minimax", "nonsaturating", "lsgan", "hinge", "wgan", "ragan"])
def test_every_loss_trains(loss: str) -> None:
    bound = 0.01 if loss == "wgan" else 0.0
    report = train(dcgan_run(steps=3, loss=loss, clip_weights=bound, sample_every=0))
    assert report.state == "finished"


@pytest.mark.parametrize("penalty", ["wgan-gp", "r1", "r2", "zero-gp"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_penalty_trains(penalty: str, precision: str) -> None:
    run = dcgan_run(steps=2, penalty=penalty, precision=precision, loss="wgan", critic_steps=2)
    assert [(phase.name, phase.repeat) for phase in run.stages[0].phases] == [("D", 2), ("G", 1)]
    losses = play_step(run, run.stages[0], 0)
    assert float(losses["D/penalty"].detach()) > 0
    critic, batch = run.players["D"].module, torch.randn(4, 1, 32, 32)
    alone, together = critic(batch[:1]), critic(batch)[:1]
    torch.testing.assert_close(alone, together, msg="each picture is judged for itself")
    assert run.loader.position == 2


def test_weights_are_clipped_and_labels_smoothed() -> None:
    run = dcgan_run(clip_weights=0.01, loss="wgan")
    play_step(run, run.stages[0], 0)
    assert all(p.abs().max() <= 0.01 for p in run.players["D"].module.parameters())
    plain, smooth = dcgan_run(), dcgan_run(smoothing=0.3)
    with torch.no_grad():
        one, other = plain.players["D"].module, smooth.players["D"].module
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    losses = [float(play_step(run, run.stages[0], 0)["D/adv"]) for run in (plain, smooth)]
    assert losses[0] != losses[1]
    with pytest.raises(
        mmgan.ConfigError, match=r"^smoothing = 0.1: the loss hinge has no targets to smooth$"
    ):
        dcgan_run(loss="hinge", smoothing=0.1)


def test_defaults_fit_small_data_and_can_be_overruled() -> None:
    def settings(**flags: str) -> tuple[int, int]:
        config = resolve(DCGANConfig, "dcgan", flags=flags, environment={})
        return config.size, config.channels

    assert settings() == (32, 1)
    assert settings(data="torchvision:MNIST") == (32, 1)
    assert settings(data="torchvision:CIFAR10") == (32, 3)
    assert settings(data="a/folder") == (64, 3)
    assert settings(data="digits", size="64", channels="3") == (64, 3)
    with pytest.raises(mmgan.ConfigError, match="size = 48: Input should be 32, 64 or 128"):
        settings(size="48")


def test_a_walk_is_closed_and_smooth() -> None:
    run = dcgan_run()
    walk = run.interpolate(32).images
    assert walk.shape == (32, 1, 32, 32)
    steps = (walk - walk.roll(1, 0)).flatten(1).norm(dim=1)
    assert steps.max() < 4 * steps.mean(), "the last picture leads back to the first"
    one, other = torch.randn(5, 8), torch.randn(5, 8)
    ends = torch.zeros(5, 1), torch.ones(5, 1)
    torch.testing.assert_close(slerp(one, other, ends[0]), one)
    torch.testing.assert_close(slerp(one, other, ends[1]), other)
    torch.testing.assert_close(slerp(one, one, torch.full((5, 1), 0.3)), one, rtol=1e-3, atol=1e-3)


def test_samples_come_from_the_average_with_running_statistics() -> None:
    run = dcgan_run(ema=0.5)
    play_step(run, run.stages[0], 0)
    player = run.players["G"]
    assert player.average is not None
    assert not player.average.training
    one, all_together = run.sample(1).images, run.sample(9).images
    torch.testing.assert_close(one[0], all_together[0], rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_learning_is_seen_in_the_scores() -> None:
    run = dcgan_run(steps=150, width=8, batch_size=32, ema=0.9, lr=1e-3, sample_every=0, features="pixels")
    before = run.evaluate(600)
    train(run)
    after = run.evaluate(600)
    assert run.task.best_score == "frechet_pixels"
    names = ("frechet", "kernel", "precision", "recall", "density", "coverage", "plausible", "copied")
    assert set(after) == {f"{name}_pixels" for name in names}
    assert after["frechet_pixels"] < 0.6 * before["frechet_pixels"]
    assert after["kernel_pixels"] < before["kernel_pixels"]


def test_few_pictures_have_the_scores_that_can_be_had() -> None:
    run = dcgan_run()
    with pytest.warns(UserWarning, match="frechet_random is left out: .* 20 generated and 20 real .* 129"):
        scores = run.evaluate(20)
    names = ("kernel", "precision", "recall", "density", "coverage", "plausible", "copied")
    assert set(scores) == {"copied_pixels", *(f"{name}_random" for name in names)}
    with pytest.warns(UserWarning, match="is left out"):
        assert set(run.evaluate(1)) == {"copied_random", "copied_pixels"}


def test_a_registered_metric_is_computed_too() -> None:
    class Mine:
        @mmgan.hookimpl
        def register_metrics(self, register: Any) -> None:
            register(
                "gap", lambda generated, real: float((generated.mean() - real.mean()).abs()), kind="images"
            )

    config = check(DCGANConfig, {"plugin": "dcgan"} | SMALL)
    scores = mmgan.new_run(config, Plugins(Mine())).evaluate(300)
    assert scores["gap_random"] >= 0


def test_pictures_are_compared_with_all_classes_of_a_folder(tmp_path: Path) -> None:
    for name, level in (("a", 0), ("b", 255)):
        (tmp_path / name).mkdir()
        for number in range(70):
            Image.new("L", (8, 8), level).save(tmp_path / name / f"{number}.png")
    run = dcgan_run(data=str(tmp_path), size=32, channels=1, features="pixels")
    seen: list[float] = []
    run.metrics = lambda kind: {"seen": lambda generated, real: seen.append(float(real.mean())) or 0.0}  # type: ignore[method-assign, assignment, func-returns-value]
    run.evaluate(70)
    assert abs(seen[0]) < 0.4, "half of the pictures are of either class"


def test_too_few_pictures_for_evaluations_are_found_at_the_start(tmp_path: Path) -> None:
    for number in range(5):
        Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
    with pytest.raises(mmgan.ConfigError, match="needs more than 128 pictures, and the data has 5"):
        dcgan_run(data=str(tmp_path), evaluate_every=10)
