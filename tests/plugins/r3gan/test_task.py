"""R3GAN's game: its presets, its step, its schedules, and that it learns to draw digits."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import softplus
from toys import Stopper

import mmgan
from mmgan.config import check, resolve
from mmgan.engine import play_step, playing, train
from mmgan.plugins import Plugins
from mmgan_r3gan.config import R3GANConfig

TINY = {
    "widths": (8, 8, 8, 8), "group": 8, "latent": 4, "batch_size": 4, "device": "cpu", "precision": "fp32",
    "tensorboard": False, "sample_every": 0,
}  # fmt: skip


def r3gan(folder: Path | None = None, *listeners: object, **settings: Any) -> mmgan.Run:
    config = check(R3GANConfig, {"plugin": "r3gan"} | TINY | settings)
    return mmgan.new_run(config, Plugins(*listeners), folder)


def settings(**flags: str) -> R3GANConfig:
    return resolve(R3GANConfig, "r3gan", flags=flags, environment={})


@pytest.mark.parametrize(
    ("preset", "size", "widths", "gamma", "half_life", "batch_size"),
    [
        ("cifar", 32, (768,) * 4, 0.05, 5e6, 512),
        ("ffhq64", 64, (768,) * 4 + (384,), 2, 5e5, 256),
        ("ffhq256", 256, (768,) * 4 + (384, 192, 96), 150, 5e5, 256),
    ],
)
def test_the_paper_s_presets(
    preset: str, size: int, widths: Any, gamma: float, half_life: float, batch_size: int
) -> None:
    c = settings(preset=preset, data="pictures")
    assert (c.size, c.channels, c.widths, c.group, c.blocks, c.latent) == (size, 3, widths, 16, 2, 64)
    assert (c.loss, c.penalty, c.penalty_every) == ("rpgan", "r1r2", 1)
    assert (c.penalty_weight, c.penalty_weight_end) == (gamma, gamma / 10)
    assert (c.lr, c.lr_end, c.betas, c.beta2_end) == (2e-4, 5e-5, (0, 0.9), 0.99)
    assert (c.ema_half_life, c.batch_size, c.decay_steps) == (half_life, batch_size, 20_000_000 // batch_size)


@pytest.mark.parametrize(("preset", "p"), [("cifar", 0.55), ("ffhq64", 0.3), ("ffhq256", 0.3)])
def test_the_paper_s_augmentation(preset: str, p: float) -> None:
    c = settings(preset=preset, data="pictures")
    assert (c.augment, c.augment_policy, c.augment_p_end, c.flip) == ("ada", "r3gan", p, True)
    without = settings(preset=preset, data="pictures", augment="none")
    assert (without.augment_policy, without.augment_p_end) == ("", None)
    run = r3gan(steps=10, augment="ada", augment_policy="r3gan", augment_p_end=p)
    found = []
    for run.step in (0, 5, 10, 20):
        found.append(round(float(run.task.objective.augment.p), 4))
    assert found == [0, p / 2, p, p]


def test_presets_are_laid_under_what_is_given() -> None:
    c = settings(preset="cifar", data="pictures", batch_size="64", lr="0.001", penalty_weight="2", blocks="1")
    assert (c.batch_size, c.decay_steps, c.blocks) == (64, 312_500, 1)
    assert (c.lr, c.lr_end, c.penalty_weight, c.penalty_weight_end) == (1e-3, 2.5e-4, 2, 0.2)
    assert settings(preset="cifar", lr_end="0.1").lr_end == 0.1
    assert settings(preset="ffhq256", data="digits").size == 256
    assert settings(preset="cifar", size="64", data="pictures").widths == (768,) * 4 + (384,)


def test_small_networks_fit_the_pictures() -> None:
    c = settings()
    assert (c.preset, c.size, c.channels, c.widths) == ("small-cpu", 32, 1, (128, 64, 32, 16))
    assert settings(data="torchvision:CIFAR10").channels == 3
    assert settings(data="pictures").widths == (128, 128, 64, 32, 16)
    assert settings(size="256").widths == (128, 128, 128, 128, 64, 32, 16)
    assert settings(preset="small").widths == (128, 128, 128, 128)
    by_size = [settings(size=size) for size in ("32", "64", "128", "256")]
    assert [(c.lr, c.penalty_weight) for c in by_size] == [(2e-3, 2), (1e-3, 10), (5e-4, 40), (2e-4, 150)]
    assert settings(preset="small").lr == 2e-4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"preset": "smal"}, "preset = 'smal': .* Did you mean 'small'"),
        ({"size": "48"}, "size = 48: Input should be 32, 64, 128 or 256"),
        ({"size": "[32]"}, r"size = \[32\]: Input should be 32, 64, 128 or 256"),
        ({"widths": "8,8"}, r"widths = \[8, 8\]: pictures of 32 pixels have 4 stages"),
        ({"widths": "8,8,8,9", "group": "8"}, "twice a width must be a multiple of group = 8"),
        ({"widths": "8,8,8,0"}, "twice a width must be a multiple of group = 16"),
        ({"widths": "a"}, "widths.0 = 'a': Input should be a valid integer"),
        ({"augment_p_end": "0.5"}, "augment_p_end = 0.5: augment = none has no p"),
        ({"lr": "fast"}, "lr = 'fast': Input should be a valid number"),
        ({"batch_size": "0"}, "batch_size = 0: Input should be greater than or equal to 1"),
    ],
)
def test_what_is_not_allowed_is_named(flags: dict[str, str], message: str) -> None:
    with pytest.raises(mmgan.ConfigError, match=message):
        settings(**flags)


def test_a_step_is_the_paper_s() -> None:
    """Two updates by hand, with the penalty in both, and rates that move."""
    run = r3gan(steps=4, penalty_every=1, penalty_weight=2.0, batch_size=4, lr=1e-3)
    g, d = (copy.deepcopy(run.players[name].module) for name in ("G", "D"))
    adam = {net: torch.optim.Adam(net.parameters(), 1e-3, (0.0, 0.9)) for net in (g, d)}
    batches = r3gan().loader
    with playing(run):
        for index in range(2):
            moved = index / 4
            part = (1 + torch.cos(torch.tensor(torch.pi * moved))).item() / 2
            for optimizer in adam.values():
                for group in optimizer.param_groups:
                    group["lr"] = 2.5e-4 + part * (1e-3 - 2.5e-4)
                    group["betas"] = 0.0, 0.99 + part * (0.9 - 0.99)
            before = torch.get_rng_state()
            losses = play_step(run, run.stages[0], index)
            run.step += 1
            torch.set_rng_state(before)

            real = next(batches).requires_grad_()
            fake = g(torch.randn(4, 4)).detach().requires_grad_()
            on_real, on_fake = d(real), d(fake)
            gradients = torch.autograd.grad(on_real.sum() + on_fake.sum(), [real, fake], create_graph=True)
            adversarial = softplus(on_fake - on_real).mean()
            squares = sum(gradient.square().sum((1, 2, 3)).mean() for gradient in gradients)
            gamma = 0.2 + part * (2 - 0.2)
            d.zero_grad()
            (adversarial + gamma / 2 * squares).backward()
            adam[d].step()

            g.zero_grad()
            loss_g = softplus(d(real.detach()) - d(g(torch.randn(4, 4)))).mean()
            loss_g.backward()
            adam[g].step()
            assert float(losses["D/adv"]) == pytest.approx(adversarial.item(), rel=1e-4)
            assert float(losses["D/penalty"]) == pytest.approx((gamma / 2 * squares).item(), rel=1e-4)
            assert float(losses["G/adv"]) == pytest.approx(loss_g.item(), rel=1e-4)
    for name, theirs in (("G", g), ("D", d)):
        for key, value in theirs.state_dict().items():
            # Adam's first steps are of size lr whatever the gradient, so rounding may show as a share of lr.
            torch.testing.assert_close(
                run.players[name].module.state_dict()[key], value, rtol=1e-3, atol=1e-4, msg=key
            )


def test_the_average_s_half_life_grows_as_the_paper_s() -> None:
    player = r3gan(steps=10, ema_half_life=1000.0, ema_growth="cosine").players["G"]
    assert player.half_life_schedule is not None
    assert [round(1000 * player.half_life_schedule(step)) for step in (0, 5, 10, 20)] == [0, 500, 1000, 1000]
    assert player.ema_ramp_up is None
    assert settings(preset="cifar").ema_growth == "cosine"
    assert r3gan(ema_half_life=0.0).players["G"].average is None
    assert r3gan(ema=0.9).players["G"].ema == 0.9


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("conditional", [False, True])
def test_it_trains(precision: str, conditional: bool) -> None:
    run = r3gan(steps=3, precision=precision, conditional=conditional, penalty_every=2)
    assert train(run).state == "finished"
    assert all(torch.isfinite(p).all() for player in run.players.values() for p in player.module.parameters())
    assert run.sample(3).images.shape == (3, 1, 32, 32)


def test_it_trains_with_the_paper_s_augmentation() -> None:
    augmented: dict[str, Any] = {"augment": "ada", "augment_policy": "r3gan", "augment_p_end": 0.5}
    assert train(r3gan(steps=4, precision="bf16", channels=3, **augmented)).state == "finished"


@pytest.mark.slow
def test_it_learns_digits() -> None:
    """In the features of a network that was never trained; real digits have 0 there."""
    small: dict[str, Any] = {"widths": (32, 16, 8, 8), "latent": 16, "batch_size": 16, "ema_half_life": 200.0}
    run = r3gan(steps=200, lr=4e-3, **small)
    before = run.evaluate(500)["frechet_random"]
    train(run)
    after = run.evaluate(500)["frechet_random"]
    assert after < 0.6 * before


@pytest.mark.slow
def test_a_resume_in_the_middle_of_the_schedules_is_exact(tmp_path: Path) -> None:
    moving: dict[str, Any] = {"steps": 12, "penalty_every": 3, "ema_half_life": 100.0, "checkpoint_every": 4}
    train(r3gan(tmp_path / "straight", **moving))
    stopped = r3gan(tmp_path / "stopped", Stopper(5), **moving)
    assert train(stopped).state == "interrupted"
    resumed = mmgan.load_run(tmp_path / "stopped")
    assert train(resumed).step == 12
    for name in ("G", "D", "G.average", "state"):
        one, other = (
            (tmp_path / folder / "checkpoints/step-000012" / f"{name}.safetensors").read_bytes()
            for folder in ("straight", "stopped")
        )
        assert one == other, name
