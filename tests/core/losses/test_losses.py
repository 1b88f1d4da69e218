"""Adversarial losses and penalties against closed forms, hand-derived gradients and extreme scores."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from mmgan.errors import ConfigError, UsageError
from mmgan.losses import (
    LOSSES,
    PENALTIES,
    AdversarialLoss,
    adversarial_loss,
    gradient_penalty,
    interpolate,
    penalty,
    r1_penalty,
)
from mmgan.losses.penalties import joined_r1r2

LOG2 = math.log(2)
SHAPES = [(4,), (4, 1), (2, 1, 3, 3)]
TARGETED = ["minimax", "nonsaturating", "lsgan", "ragan", "rpgan"]
RELATIVE = ["ragan", "rpgan"]
UNTARGETED = ["hinge", "wgan"]
COMPUTED = [name for name in PENALTIES if name != "none"]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def scores(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


class Autograd:
    """The gradient as an engine in fp32 computes it; remembers where it was asked for."""

    def grad(self, critic: Callable[[Tensor], Tensor], inputs: Tensor, /) -> tuple[Tensor, Tensor]:
        self.inputs = inputs
        outputs = critic(inputs)
        (gradient,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)
        return outputs, gradient


# --- Adversarial losses ---


def test_names() -> None:
    assert list(LOSSES) == ["minimax", "nonsaturating", "lsgan", "hinge", "wgan", "ragan", "rpgan"]
    for name in LOSSES:
        loss = adversarial_loss(name)
        assert isinstance(loss, AdversarialLoss)
        assert loss.name == name
        assert loss.needs_real == (name in RELATIVE)


def test_an_unknown_loss_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError) as error:
        adversarial_loss("hing")
    assert "'hing'" in error.value.message
    assert all(name in error.value.message for name in LOSSES)
    assert error.value.hint == "Did you mean 'hinge'?"


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("minimax", 2 * LOG2, -LOG2),
        ("nonsaturating", 2 * LOG2, LOG2),  # DCGAN's errD: 1.386
        ("lsgan", 1, 1),  # half of it is CycleGAN's .5
        ("hinge", 2, 0),
        ("wgan", 0, 0),
        ("ragan", 2 * LOG2, 2 * LOG2),
        ("rpgan", LOG2, LOG2),
    ],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_zero_scores(name: str, discriminator: float, generator: float, shape: tuple[int, ...]) -> None:
    zero = torch.zeros(shape)
    loss = adversarial_loss(name)
    assert loss.discriminator(zero, zero).item() == pytest.approx(discriminator)
    assert loss.generator(zero, zero).item() == pytest.approx(generator)
    assert loss.discriminator(zero, zero).shape == loss.generator(zero, zero).shape == ()


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def formulas(name: str, r: list[float], f: list[float], s: float) -> tuple[float, float]:
    """D's and G's loss as the papers print them, in plain Python."""

    def bce(logits: list[float], target: float) -> float:
        return mean(
            [-target * math.log(sigmoid(x)) - (1 - target) * math.log(1 - sigmoid(x)) for x in logits]
        )

    relative_r = [x - mean(f) for x in r]
    relative_f = [x - mean(r) for x in f]
    return {
        "minimax": (bce(r, 1 - s) + bce(f, 0), mean([math.log(1 - sigmoid(x)) for x in f])),
        "nonsaturating": (bce(r, 1 - s) + bce(f, 0), bce(f, 1)),
        "lsgan": (
            mean([(x - (1 - s)) ** 2 for x in r]) + mean([x**2 for x in f]),
            mean([(x - 1) ** 2 for x in f]),
        ),
        "hinge": (mean([max(0, 1 - x) for x in r]) + mean([max(0, 1 + x) for x in f]), -mean(f)),
        "wgan": (mean(f) - mean(r), -mean(f)),
        "ragan": (bce(relative_r, 1 - s) + bce(relative_f, 0), bce(relative_f, 1) + bce(relative_r, 0)),
        "rpgan": (
            bce([a - b for a, b in zip(r, f, strict=True)], 1 - s),
            bce([b - a for a, b in zip(r, f, strict=True)], 1),
        ),
    }[name]


@pytest.mark.parametrize(
    ("name", "smoothing"), [(name, 0.0) for name in LOSSES] + [(name, 0.1) for name in TARGETED]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_papers_formulas(name: str, smoothing: float, shape: tuple[int, ...]) -> None:
    real, fake = 2 * scores(*shape) + 1, 2 * scores(*shape) - 1
    discriminator, generator = formulas(name, real.flatten().tolist(), fake.flatten().tolist(), smoothing)
    loss = adversarial_loss(name)
    assert loss.discriminator(real, fake, smoothing=smoothing).item() == pytest.approx(
        discriminator, rel=1e-9
    )
    assert loss.generator(fake, real=real).item() == pytest.approx(generator, rel=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_autograd_agrees_with_finite_differences(name: str) -> None:
    loss = adversarial_loss(name)
    real, fake = scores(3, 1, 2, 2), scores(3, 1, 2, 2)
    assert gradcheck(loss.discriminator, (real, fake))
    assert gradcheck(lambda fake: loss.generator(fake, real.detach()), fake)


@pytest.mark.parametrize(
    ("name", "smoothing", "d_real", "d_fake", "g_fake"),
    [
        ("minimax", 0.1, lambda r: r.sigmoid() - 0.9, torch.sigmoid, lambda f: -f.sigmoid()),
        ("nonsaturating", 0.1, lambda r: r.sigmoid() - 0.9, torch.sigmoid, lambda f: f.sigmoid() - 1),
        ("lsgan", 0.1, lambda r: 2 * (r - 0.9), lambda f: 2 * f, lambda f: 2 * (f - 1)),
        (
            "hinge",
            0.0,
            lambda r: -(r < 1).double(),
            lambda f: (f > -1).double(),
            lambda f: -torch.ones_like(f),
        ),
        ("wgan", 0.0, lambda r: -torch.ones_like(r), torch.ones_like, lambda f: -torch.ones_like(f)),
    ],
)
def test_gradients_derived_by_hand(
    name: str,
    smoothing: float,
    d_real: Callable[[Tensor], Tensor],
    d_fake: Callable[[Tensor], Tensor],
    g_fake: Callable[[Tensor], Tensor],
) -> None:
    loss = adversarial_loss(name)
    real, fake = scores(5, 2), scores(5, 2)
    n = real.numel()
    of_d = torch.autograd.grad(loss.discriminator(real, fake, smoothing=smoothing), (real, fake))
    (of_g,) = torch.autograd.grad(loss.generator(fake), fake)
    torch.testing.assert_close(of_d[0], d_real(real.detach()) / n)
    torch.testing.assert_close(of_d[1], d_fake(fake.detach()) / n)
    torch.testing.assert_close(of_g, g_fake(fake.detach()) / n)


def test_ragan_gradients_derived_by_hand() -> None:
    """With u = r - E f and v = f - E r, each score acts through its own term and through the other's mean."""
    loss = adversarial_loss("ragan")
    real, fake = scores(6), scores(6)
    u, v = (real - fake.mean()).detach(), (fake - real.mean()).detach()
    of_real, of_fake = torch.autograd.grad(loss.discriminator(real, fake), (real, fake))
    torch.testing.assert_close(of_real, ((u.sigmoid() - 1) - v.sigmoid().mean()) / 6)
    torch.testing.assert_close(of_fake, (v.sigmoid() - (u.sigmoid() - 1).mean()) / 6)
    (of_g,) = torch.autograd.grad(loss.generator(fake, real), fake)
    torch.testing.assert_close(of_g, ((v.sigmoid() - 1) - u.sigmoid().mean()) / 6)


def test_rpgan_gradients_derived_by_hand() -> None:
    """With u = r - f each pair acts through its own term, with opposite signs."""
    loss = adversarial_loss("rpgan")
    real, fake = scores(6), scores(6)
    u = (real - fake).detach()
    of_real, of_fake = torch.autograd.grad(loss.discriminator(real, fake, smoothing=0.1), (real, fake))
    torch.testing.assert_close(of_real, (u.sigmoid() - 0.9) / 6)
    torch.testing.assert_close(of_fake, -of_real)
    (of_g,) = torch.autograd.grad(loss.generator(fake, real), fake)
    torch.testing.assert_close(of_g, ((-u).sigmoid() - 1) / 6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("real_at", [-1e4, 1e4])
@pytest.mark.parametrize("fake_at", [-1e4, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_extreme_scores_stay_finite(name: str, real_at: float, fake_at: float, dtype: torch.dtype) -> None:
    loss = adversarial_loss(name)
    real = torch.full((2, 3), real_at, dtype=dtype, requires_grad=True)
    fake = torch.full((2, 3), fake_at, dtype=dtype, requires_grad=True)
    for value in (loss.discriminator(real, fake), loss.generator(fake, real)):
        assert value.dtype == torch.float32
        assert value.isfinite()
        for gradient in torch.autograd.grad(value, (real, fake), allow_unused=True):
            assert gradient is None or gradient.isfinite().all()


def test_a_sure_discriminator_starves_only_the_saturating_generator() -> None:
    fake = torch.full((4,), -30.0, requires_grad=True)
    (saturated,) = torch.autograd.grad(adversarial_loss("minimax").generator(fake), fake)
    (alive,) = torch.autograd.grad(adversarial_loss("nonsaturating").generator(fake), fake)
    assert saturated.abs().max() < 1e-12
    torch.testing.assert_close(alive, torch.full((4,), -0.25))


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_scores_are_widened_first(name: str) -> None:
    loss = adversarial_loss(name)
    real, fake = torch.randn(64, dtype=torch.bfloat16), torch.randn(64, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        discriminator, generator = loss.discriminator(real, fake), loss.generator(fake, real)
    torch.testing.assert_close(discriminator, loss.discriminator(real.double(), fake.double()).float())
    torch.testing.assert_close(generator, loss.generator(fake.double(), real.double()).float())


@pytest.mark.parametrize(
    ("name", "best"), [("minimax", math.log(9)), ("nonsaturating", math.log(9)), ("lsgan", 0.9)]
)
def test_smoothing_moves_the_target_of_real_data_alone(name: str, best: float) -> None:
    """With s = 0.1 the best score of real data has sigmoid 0.9, or is 0.9; the fake term stays."""
    loss = adversarial_loss(name)
    real, fake = torch.full((4,), best, dtype=torch.float64, requires_grad=True), scores(4)
    of_real, of_fake = torch.autograd.grad(loss.discriminator(real, fake, smoothing=0.1), (real, fake))
    torch.testing.assert_close(of_real, torch.zeros_like(of_real))
    assert torch.equal(of_fake, torch.autograd.grad(loss.discriminator(real, fake), fake)[0])


@pytest.mark.parametrize("name", UNTARGETED)
def test_smoothing_without_targets_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{name}' has no targets .* 0\.1"):
        adversarial_loss(name).discriminator(torch.zeros(2), torch.zeros(2), smoothing=0.1)


@pytest.mark.parametrize("name", RELATIVE)
def test_a_relativistic_generator_needs_real_scores(name: str) -> None:
    loss = adversarial_loss(name)
    fake = torch.zeros(4)
    with pytest.raises(UsageError, match="real"):
        loss.generator(fake)
    assert loss.generator(fake, torch.full((4,), 2.0)) > loss.generator(fake, torch.zeros(4))


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in RELATIVE])
def test_other_generators_ignore_real_scores(name: str) -> None:
    loss = adversarial_loss(name)
    fake = scores(4)
    assert torch.equal(loss.generator(fake), loss.generator(fake, real=scores(4)))


# --- Penalties: the formulas ---


def test_linear_critics() -> None:
    """The gradient of a linear critic is its weight, whatever the data."""
    zeros, ones = torch.zeros(2, 1, 16_384), torch.ones(2, 1, 16_384)
    assert 10 * gradient_penalty(zeros) == 10
    assert 10 * gradient_penalty(ones) == 161_290  # 10·(√16384 - 1)²
    assert gradient_penalty(ones / 128) == 0
    assert gradient_penalty(ones, target=0.0) == 16_384
    assert r1_penalty(ones) == 8_192
    assert r1_penalty(zeros) == 0


def test_the_norm_is_of_a_whole_sample() -> None:
    """``norm(dim=1)`` without flattening is over channels alone, and gives .7656 here."""
    gradient = torch.full((4, 3, 8, 8), 1 / math.sqrt(3 * 8 * 8))
    assert (gradient.norm(dim=1) - 1).square().mean().item() == pytest.approx(0.7656, abs=1e-4)
    assert gradient_penalty(gradient).item() == pytest.approx(0, abs=1e-12)
    assert r1_penalty(gradient).item() == pytest.approx(0.5)


def test_samples_are_averaged_after_their_norms() -> None:
    gradient = torch.tensor([[[3.0], [4.0]], [[0.0], [0.0]]])  # norms 5 and 0
    assert gradient_penalty(gradient) == (16 + 1) / 2
    assert gradient_penalty(gradient, target=0.0) == 25 / 2
    assert r1_penalty(gradient) == 25 / 4
    assert gradient_penalty(torch.tensor([3.0, -1.0])) == 2  # one number for a sample


@pytest.mark.parametrize(
    "formula",
    [gradient_penalty, lambda g: gradient_penalty(g, target=0.0), r1_penalty],
    ids=["gp", "zero", "r1"],
)
def test_formulas_have_finite_exact_gradients(formula: Callable[[Tensor], Tensor]) -> None:
    gradient = scores(3, 2, 4)
    assert gradcheck(formula, gradient)
    assert gradgradcheck(formula, gradient)
    zero = torch.zeros(3, 2, 4, requires_grad=True)
    formula(zero).backward()
    assert zero.grad is not None
    assert torch.equal(zero.grad, torch.zeros(3, 2, 4))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gradients_are_widened_first(dtype: torch.dtype) -> None:
    gradient = (300 * torch.rand(4, 3, 32, 32)).to(dtype)  # its squares overflow fp16
    for formula in (gradient_penalty, r1_penalty):
        exact = formula(gradient.double())
        with torch.autocast("cpu", dtype):
            value = formula(gradient)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact.float(), rtol=1e-6, atol=0)


# --- Penalties: where the gradient is taken ---


def test_one_alpha_for_each_sample() -> None:
    alpha = interpolate(torch.ones(64, 3, 4, 4), torch.zeros(64, 3, 4, 4))
    assert alpha.shape == (64, 3, 4, 4)
    per_sample = alpha.flatten(1)
    assert (per_sample == per_sample[:, :1]).all()
    assert per_sample[:, 0].unique().numel() == 64
    assert 0 <= per_sample.min() < 0.1 < 0.9 < per_sample.max() <= 1


def test_interpolates_lie_between() -> None:
    real, fake = torch.randn(5, 2, 3), torch.randn(5, 2, 3)
    points = interpolate(real, fake)
    alpha = ((points - fake) / (real - fake)).flatten(1)
    torch.testing.assert_close(alpha, alpha[:, :1].expand_as(alpha), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(interpolate(real, real), real.requires_grad_())


def test_interpolates_draw_from_torchs_own_generator() -> None:
    """One number a sample and no more, so that a resumed run draws the same."""
    ones, zeros = torch.ones(7, 2), torch.zeros(7, 2)
    torch.manual_seed(3)
    points, after = interpolate(ones, zeros), torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(points[:, 0], torch.rand(7))
    assert torch.equal(after, torch.rand(1))


def test_interpolates_are_leaves() -> None:
    real = torch.ones(2, 3)
    fake = torch.ones(2, 3, requires_grad=True) * 2
    points = interpolate(real, fake)
    assert points.is_leaf
    assert points.requires_grad
    assert not real.requires_grad
    assert interpolate(real, fake.bfloat16()).dtype == torch.float32  # a fake made under autocast


def test_interpolates_refuse_to_broadcast() -> None:
    with pytest.raises(UsageError, match=r"\(4, 1, 8, 8\).*\(1, 1, 8, 8\)"):
        interpolate(torch.zeros(4, 1, 8, 8), torch.zeros(1, 1, 8, 8))


# --- Penalties: by name ---


class Quadratic(nn.Module):
    """The critic w·‖x‖²/2, whose gradient at x is w·x."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x.flatten(1).square().sum(1, keepdim=True) / 2


@pytest.mark.parametrize(("name", "norm"), [("r1", 4), ("r2", 8)])
def test_r1_is_at_real_and_r2_at_fake(name: str, norm: float) -> None:
    critic, run = Quadratic(3.0), Autograd()
    real, fake = torch.ones(2, 1, 4, 4), torch.full((2, 1, 4, 4), 2.0)
    result = penalty(name, run, critic, real, fake)
    result.backward()
    assert result.item() == pytest.approx((3 * norm) ** 2 / 2)
    assert critic.weight.grad is not None
    assert critic.weight.grad.item() == pytest.approx(3 * norm**2)
    assert torch.equal(run.inputs, real if name == "r1" else fake)


@pytest.mark.parametrize("joined", [False, True])
def test_r1r2_is_at_both(joined: bool) -> None:
    critic, run = Quadratic(3.0), Autograd()
    real, fake = torch.ones(2, 1, 4, 4), torch.full((2, 1, 4, 4), 2.0)
    if joined:
        on_real, on_fake, result = joined_r1r2(run, critic, real, fake)
        assert torch.equal(run.inputs, torch.cat([real, fake]))
        assert torch.equal(on_real, critic(real))
        assert torch.equal(on_fake, critic(fake))
    else:
        result = penalty("r1r2", run, critic, real, fake)
    result.backward()
    assert result.item() == pytest.approx((12**2 + 24**2) / 2)
    assert critic.weight.grad is not None
    assert critic.weight.grad.item() == pytest.approx(3 * (4**2 + 8**2))


@pytest.mark.parametrize(("name", "target"), [("wgan-gp", 1), ("zero-gp", 0)])
def test_gradient_penalties_are_at_interpolates(name: str, target: float) -> None:
    critic, run = Quadratic(3.0), Autograd()
    real, fake = torch.ones(8, 1, 4, 4), torch.full((8, 1, 4, 4), 2.0)
    result = penalty(name, run, critic, real, fake)
    result.backward()
    norms = run.inputs.detach().flatten(1).norm(dim=1)
    assert ((norms > 4) & (norms < 8)).all()
    torch.testing.assert_close(result, (3 * norms - target).square().mean())
    assert critic.weight.grad is not None
    torch.testing.assert_close(critic.weight.grad, (2 * (3 * norms - target) * norms).mean())


@pytest.mark.parametrize("name", COMPUTED)
def test_a_penalty_reaches_the_critic_alone(name: str) -> None:
    critic = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))
    generator = nn.Linear(3, 6)
    real, fake = torch.randn(4, 6), generator(torch.randn(4, 3))
    penalty(name, Autograd(), critic, real, fake).backward()
    assert critic[1].weight.grad.abs().sum() > 0
    assert generator.weight.grad is None
    assert not real.requires_grad


@pytest.mark.parametrize("name", COMPUTED)
def test_a_penalty_can_be_differentiated_through_a_critic(name: str) -> None:
    """The double backward that training takes, against finite differences."""
    real, fake = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)

    def of_weights(first: Tensor, second: Tensor) -> Tensor:
        torch.manual_seed(1)  # the same interpolates at each evaluation
        return penalty(name, Autograd(), lambda x: (x @ first).tanh() @ second, real, fake)

    assert gradcheck(of_weights, (scores(4, 3), scores(3, 1)))


@pytest.mark.parametrize(
    ("name", "value"), [("wgan-gp", 10), ("zero-gp", 0), ("r1", 0), ("r2", 0), ("r1r2", 0)]
)
def test_a_zero_critic_trains(name: str, value: float) -> None:
    critic = nn.Sequential(nn.Flatten(), nn.Linear(16_384, 1))
    nn.init.zeros_(critic[1].weight)
    result = 10 * penalty(name, Autograd(), critic, torch.randn(2, 1, 16_384), torch.randn(2, 1, 16_384))
    result.backward()
    assert result.item() == value
    assert critic[1].weight.grad.isfinite().all()


def test_none_is_zero_without_a_look_at_the_critic() -> None:
    def critic(x: Tensor) -> Tensor:
        raise AssertionError

    result = penalty("none", Autograd(), critic, torch.ones(2), torch.ones(2))
    assert result.shape == ()
    assert result == 0


def test_an_unknown_penalty_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError) as error:
        penalty("wgan_gp", Autograd(), nn.Identity(), torch.ones(2), torch.ones(2))
    assert "'wgan_gp'" in error.value.message
    assert all(name in error.value.message for name in PENALTIES)
    assert error.value.hint == "Did you mean 'wgan-gp'?"
