"""The conditional networks of gan, dcgan and wavegan."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import Always

from mmgan.losses import gradient_penalty
from mmgan_convolutions.activations import stop_second_derivatives
from mmgan_convolutions.forms import FORMS
from mmgan_convolutions.layers import choose
from mmgan_dcgan import networks as dcgan
from mmgan_gan import networks as gan
from mmgan_wavegan import networks as wavegan

CLASSES, LATENT = 7, 5


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def made(kind: str, classes: int) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    """Return G, D, and real examples."""
    torch.manual_seed(0)
    if kind == "dcgan":
        return (
            dcgan.Generator(32, 1, 4, LATENT, classes),
            dcgan.Discriminator(32, 1, 4, classes=classes),
            torch.randn(6, 1, 32, 32),
        )
    if kind == "gan":
        return (
            gan.picture_generator(LATENT, 4, (1, 8, 8), True, classes),
            gan.picture_discriminator(64, 4, 0.0, classes),
            torch.randn(6, 64),
        )
    if kind == "points":
        return (
            gan.point_generator(LATENT, 6, True, classes),
            gan.point_discriminator(2, 6, 0.0, classes),
            torch.randn(6, 2),
        )
    return (
        wavegan.Generator(16_384, 1, 2, LATENT, classes=classes),
        wavegan.Critic(16_384, 1, 2, shuffle=0, classes=classes),
        torch.randn(6, 1, 16_384),
    )


KINDS = ("dcgan", "gan", "points", "wavegan")


@pytest.mark.parametrize(
    ("kind", "more_of_g", "more_of_d"),
    [
        # Of G the first layer's weights of each class (a 4x4 convolution's), of D the projection's.
        ("dcgan", CLASSES * 16 * 16, 16 * CLASSES),
        ("gan", CLASSES * 4, 4 * CLASSES),
        ("points", CLASSES * 6, 6 * CLASSES),
        ("wavegan", CLASSES * 16 * 32, 32 * CLASSES),
    ],
)
def test_parameter_counts(kind: str, more_of_g: int, more_of_d: int) -> None:
    plain_g, plain_d, _ = made(kind, 0)
    g, d, _ = made(kind, CLASSES)
    assert count(g) - count(plain_g) == more_of_g
    assert count(d) - count(plain_d) == more_of_d


@pytest.mark.parametrize("kind", KINDS)
def test_the_label_decides(kind: str) -> None:
    g, d, real = made(kind, CLASSES)
    latents = torch.randn(1, LATENT).expand(6, -1)
    g.eval()
    d.eval()
    label = torch.tensor([0, 1, 2, 0, 1, 2])
    fake, scores = g(latents, label=label), d(real, label=label)
    torch.testing.assert_close(fake[:3], fake[3:])
    assert not torch.allclose(fake[0], fake[1])
    # What the class adds to a score is v_y · phi(x): other for each class, and the same wherever it is.
    others: Any = d(real, label=(label + 1) % 3)
    assert (scores != others).all()
    torch.testing.assert_close(d(real[:1], label=label[:1])[0], scores[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_penalty_reaches_the_projection(kind: str) -> None:
    _, d, real = made(kind, CLASSES)
    d.eval()
    real.requires_grad_()
    (gradient,) = torch.autograd.grad(d(real, label=torch.arange(6)).sum(), real, create_graph=True)
    gradient.square().sum().backward()  # type: ignore[no-untyped-call]
    embedding = next(p for name, p in d.named_parameters() if "projection" in name)
    assert embedding.grad is not None
    assert (embedding.grad[:6].abs().sum(1) > 0).all()
    assert embedding.grad[6:].eq(0).all()


def penalised(d: nn.Module, real: Tensor, label: Tensor) -> list[Tensor]:
    """Return the gradients of scores and penalty by D's weights, in plain autograd."""
    inputs = real.clone().requires_grad_()
    scores = d(inputs, label=label)
    (inner,) = torch.autograd.grad(scores.sum(), inputs, create_graph=True)
    return list(torch.autograd.grad(scores.mean() + gradient_penalty(inner), list(d.parameters())))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["dcgan", "wavegan"])
def test_a_penalised_conditional_d_by_a_plan_has_the_plain_one_s_gradients(kind: str, form: str) -> None:
    """In double precision, in which minimal filtering and rounding do not get in the way."""
    _, d, real = made(kind, CLASSES)
    if kind == "dcgan":
        d = dcgan.Discriminator(32, 1, 4, norm="bare", classes=CLASSES)
    d, real = d.double(), real[:3].double()
    fast, label = copy.deepcopy(d), torch.tensor([4, 0, 4])
    stop_second_derivatives(fast)
    choose(fast, Always(form))
    assert {type(m) for m in fast.modules()} != {type(m) for m in d.modules()}
    assert fast.state_dict().keys() == d.state_dict().keys()
    torch.testing.assert_close(penalised(fast, real, label), penalised(d, real, label))


@pytest.mark.parametrize(
    ("kind", "keys", "weights", "after"),
    # Of the networks before there were classes: how many names in the state dicts of G and D, the sum of all
    # absolute weights, and the number that is drawn first after both are made.
    [
        ("dcgan", 33, 161.130063, 0.018830),
        ("gan", 28, 290.206056, 0.289488),
        ("points", 34, 177.302872, 0.197646),
        ("wavegan", 24, 1553.635940, -1.182656),
    ],
)
def test_without_classes_the_networks_are_those_of_before(
    kind: str, keys: int, weights: float, after: float
) -> None:
    g, d, real = made(kind, 0)
    assert len(g.state_dict()) + len(d.state_dict()) == keys
    assert not any("embedding" in name for name in (*g.state_dict(), *d.state_dict()))
    found = sum(float(p.detach().double().abs().sum()) for p in (*g.parameters(), *d.parameters()))
    assert found == pytest.approx(weights, rel=1e-6)
    assert float(real.flatten()[0]) == pytest.approx(after, rel=1e-4)
