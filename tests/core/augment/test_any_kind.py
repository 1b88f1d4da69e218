"""Augmentations of examples of any kind, and what holds for all: form, seeds, precision, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmgan.augment import (
    Ada,
    Apa,
    Augmentation,
    AugmentConfig,
    Controller,
    DiffAugment,
    Diffusion,
    InstanceNoise,
)
from mmgan.augment.base import where_made
from mmgan.augment.diffusion import HALF, scrambled
from mmgan.errors import ConfigError, UsageError


def config(augment: str = "none", **settings: Any) -> AugmentConfig:
    return AugmentConfig(plugin="dcgan", augment=augment, **settings)


def p(value: float) -> Tensor:
    return torch.tensor(value)


def ours(kind: str = "images") -> list[Augmentation]:
    """Return one of each augmentation, with everything that it can do."""
    found: list[Augmentation] = [
        Diffusion(config("diffusion")),
        InstanceNoise(config("noise")),
        Apa(config("apa")),
    ]
    if kind == "images":
        found += [Ada(config("ada", augment_policy="bgcfnc")), DiffAugment(config("diffaugment"))]
    return found


def both(augmentation: Augmentation, examples: Tensor, value: float) -> Tensor:
    return augmentation.see(augmentation.real(examples, examples.flip(0), p(value)), p(value))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("augmentation", ours(), ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(5, 3, 8, 8), (3, 1, 7, 9), (1, 3, 5, 3), (2, 3, 1, 2)])
def test_form_stays(
    augmentation: Augmentation, dtype: torch.dtype, layout: torch.memory_format, shape: tuple[int, ...]
) -> None:
    given = (torch.rand(shape) * 2 - 1).to(dtype).contiguous(memory_format=layout)
    for cast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=cast):
            found = both(augmentation, given, 0.7)
        assert found.dtype == dtype
        assert found.stride() == given.stride()
        assert found.shape == given.shape
        assert found.isfinite().all()


@pytest.mark.parametrize("shape", [(4, 2), (4, 1, 100), (4, 3, 4, 4, 4), (4, 2, 8, 8)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    given = torch.rand(shape)
    with pytest.raises(UsageError, match=r"augment = ada is for pictures .* with 1 or 3 channels"):
        Ada(config("ada")).see(given, p(0.5))
    if len(shape) == 4:
        assert DiffAugment(config("diffaugment")).see(given, p(0.5)).shape == shape
    else:
        with pytest.raises(UsageError, match=r"D sees examples of the shape \(4, "):
            DiffAugment(config("diffaugment")).see(given, p(0.5))


@pytest.mark.parametrize("augmentation", ours("sounds"), ids=lambda a: type(a).__name__)
def test_sounds_too(augmentation: Augmentation) -> None:
    given = torch.rand(16, 2, 101) * 2 - 1
    found = both(augmentation, given, 0.7)
    assert found.shape == given.shape
    assert not torch.equal(found, given)


@pytest.mark.parametrize("augmentation", ours(), ids=lambda a: type(a).__name__)
def test_autocast_changes_nothing(augmentation: Augmentation) -> None:
    """Resampling and noise are computed in float32: in bf16 a picture has eight bits, coordinates too."""
    given = torch.rand(8, 3, 16, 16) * 2 - 1
    torch.manual_seed(1)
    plain = both(augmentation, given, 0.7)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(both(augmentation, given, 0.7), plain)


@pytest.mark.parametrize("augmentation", ours(), ids=lambda a: type(a).__name__)
def test_at_0_it_is_nothing_to_the_byte(augmentation: Augmentation) -> None:
    given = torch.rand(64, 3, 8, 8) * 2 - 1
    found = both(augmentation, given, 0.0)
    # DiffAugment has no p, and Diffusion-GAN begins with ten steps of noise.
    always = isinstance(augmentation, DiffAugment | Diffusion)
    assert torch.equal(found, given) != always


@pytest.mark.parametrize("augmentation", ours(), ids=lambda a: type(a).__name__)
def test_a_seed_decides(augmentation: Augmentation) -> None:
    given = torch.rand(64, 3, 8, 8) * 2 - 1
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(both(augmentation, given, 0.5))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("augmentation", ours(), ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("cast", [False, True])
def test_a_penalty_can_be_differentiated(augmentation: Augmentation, cast: bool) -> None:
    """R1 through the augmentation, by the pixels that it gets: weights have a gradient, and examples too."""
    critic = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Softplus(), nn.Flatten(), nn.Linear(4 * 64, 1))
    given = (torch.rand(6, 3, 8, 8) * 2 - 1).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=cast):
        scores = critic(both(augmentation, given, 0.6))
        (gradient,) = torch.autograd.grad(scores.float().sum(), given, create_graph=True)
        assert gradient.abs().sum() > 0
        gradient.square().sum().backward()
    assert critic[0].weight.grad.abs().sum() > 0
    assert given.grad is not None
    assert given.grad.isfinite().all()


def test_each_example_depends_on_itself_alone() -> None:
    for augmentation in ours():
        given = (torch.rand(6, 3, 8, 8) * 2 - 1).requires_grad_()
        (gradient,) = torch.autograd.grad(augmentation.see(given, p(0.9))[2].sum(), given)
        assert gradient.flatten(1).abs().amax(1).nonzero().flatten().tolist() == [2]


def test_only_what_is_changed_is_computed_on_a_cpu() -> None:
    made = torch.tensor([True, False, True])
    given = torch.rand(3, 1, 2, 2)
    amounts = torch.tensor([1.0, 2.0, 3.0])
    sizes: list[int] = []

    def add(x: Tensor, amount: Tensor) -> Tensor:
        sizes.append(len(x))
        return x + amount[:, None, None, None]

    found = where_made(made, given, add, amounts)
    assert sizes == [2]
    assert torch.equal(found, given + torch.tensor([1.0, 0.0, 3.0])[:, None, None, None])
    assert where_made(~made & made, given, add, amounts) is given


# --- APA ---


def test_apa_shows_fakes_as_real_with_probability_p() -> None:
    real, fake = torch.zeros(20_000, 1, 1, 1), torch.ones(20_000, 1, 1, 1, requires_grad=True)
    apa = Apa(config("apa"))
    for value in (0.0, 0.3, 0.8, 1.0):
        shown = apa.real(real, fake, p(value))
        assert shown.mean() == pytest.approx(value, abs=0.015)
        assert not shown.requires_grad
    assert apa.see(real, p(1)) is real


def test_apa_takes_the_fake_beside_the_real_one() -> None:
    real = torch.arange(100.0).view(100, 1, 1)
    shown = Apa(config("apa")).real(real, -real.double(), p(0.5))
    assert torch.equal(shown.abs(), real)
    assert shown.dtype == torch.float32
    with pytest.raises(UsageError, match=r"\(3, 1, 1\) were generated beside \(100, 1, 1\)"):
        Apa(config("apa")).real(real, real[:3], p(0.5))


# --- Diffusion-GAN ---


def test_diffusion_s_noise_is_the_published() -> None:
    """The deviation and the factor of each example are those of its t, computed in a loop."""
    augmentation = Diffusion(config("diffusion"))
    given = torch.ones(4000, 1, 10, 10)
    times = torch.full((2 * HALF,), 300)
    augmentation.times = lambda p: times  # type: ignore[method-assign]
    found = augmentation.see(given, p(0.3))
    kept = 1.0
    for beta in np.linspace(1e-4, 2e-2, 1000)[:300]:
        kept *= 1 - beta
    assert found.mean() == pytest.approx(kept**0.5, abs=1e-3)
    assert found.std() == pytest.approx(0.05 * (1 - kept) ** 0.5, rel=0.01)
    times.zero_()
    assert torch.equal(augmentation.see(given, p(0.3)), given)


@pytest.mark.parametrize(("policy", "mean"), [("", 2 / 3), ("priority", 2 / 3), ("uniform", 1 / 2)])
@pytest.mark.parametrize("value", [0.0, 0.3, 0.8])
def test_diffusion_s_list(policy: str, mean: float, value: float) -> None:
    """Half of it is 0; the other half is from 1 to T, and larger t are likelier where they have priority."""
    augmentation = Diffusion(config("diffusion", augment_policy=policy, seed=5))
    augmentation.updates = torch.tensor(0)
    last = 10 + round(990 * value)
    lists = []
    for updates in range(200):
        augmentation.updates.fill_(updates)
        lists.append(augmentation.times(p(value)))
    found = torch.stack(lists)
    assert (found[:, :HALF] == 0).all()
    assert found[:, HALF:].min() >= 1
    assert found[:, HALF:].max() <= last
    counts = torch.bincount(found[:, HALF:].flatten(), minlength=last + 1)[1:].double() / (200 * HALF)
    t = torch.arange(1, last + 1, dtype=torch.float64)
    weight = t / t.sum() if mean == 2 / 3 else torch.full_like(t, 1 / last)
    assert (counts.cumsum(0) - weight.cumsum(0)).abs().max() < 0.02
    assert (counts * t).sum() / last == pytest.approx(mean, abs=0.06)


def test_diffusion_s_list_follows_from_seed_and_updates() -> None:
    def times(seed: int, updates: int) -> list[int]:
        augmentation = Diffusion(config("diffusion", seed=seed))
        augmentation.updates = torch.tensor(updates)
        drawn: list[int] = augmentation.times(p(0.5)).tolist()
        return drawn

    assert times(1, 7) == times(1, 7)
    assert times(1, 7) != times(1, 8)
    assert times(1, 7) != times(2, 7)
    fixed = Diffusion(config("diffusion", augment_p=0.5))
    assert fixed.times(p(0.5)).tolist() != fixed.times(p(0.5)).tolist()
    with pytest.raises(ConfigError, match="no augment_policy of diffusion 'best'"):
        Diffusion(type("C", (), {"augment_policy": "best"}))


def test_scrambled_numbers_are_uniform() -> None:
    many = torch.cat([scrambled(2**32 - 1, torch.tensor(count), 32) for count in range(500)])
    assert many.min() >= 0
    assert many.max() < 1
    assert len(many.unique()) > 15_900
    assert many.histc(16, 0, 1).std() < 4 * (len(many) / 16) ** 0.5
    pairs = torch.corrcoef(many.view(-1, 2).T)[0, 1]
    assert abs(pairs) < 0.05


# --- Instance noise ---


def test_instance_noise_fades_out() -> None:
    augmentation = InstanceNoise(config("noise", augment_noise=0.4, steps=10))
    schedule = augmentation.schedule()
    assert [schedule(step) for step in (0, 5, 10)] == [1, 0.5, 0]
    given = torch.zeros(100, 3, 8, 8)
    for value in (1.0, 0.5, 0.0):
        assert augmentation.see(given, p(value)).std() == pytest.approx(0.4 * value, rel=0.03)


def test_a_controller_has_p_on_its_own_device() -> None:
    assert Controller(0.6, 500_000, "meta").p.device.type == "meta"
