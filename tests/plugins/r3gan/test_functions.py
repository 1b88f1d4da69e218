"""Convolution and activation: values and derivatives are torch's own, without the work that nobody needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from mmgan_r3gan import functions
from mmgan_r3gan.functions import convolve, leaky_relu_

Layer = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def factors(groups: int, kernel: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = (2, 4, 5, 3), (6, 4 // groups, kernel, kernel), (6,)
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def ours(groups: int) -> Layer:
    return lambda x, weight, bias: leaky_relu_(convolve(x, weight, bias, groups))


def plain(groups: int) -> Layer:
    return lambda x, weight, bias: F.leaky_relu(
        F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=groups), 0.2
    )


def derivatives(layer: Layer, x: Tensor, weight: Tensor, bias: Tensor | None) -> list[Tensor]:
    """Return value, first derivatives, and those of a penalty on the gradient by x."""
    leaves = [leaf for leaf in (x, weight, bias) if leaf is not None]
    y = layer(x, weight, bias)
    # Other weights for each place, so that a permutation would be seen.
    scores = (y * torch.arange(y.numel(), dtype=y.dtype).sin().view_as(y)).sum()
    first = torch.autograd.grad(scores, leaves, retain_graph=True)
    (inner,) = torch.autograd.grad(scores, x, create_graph=True)
    second = torch.autograd.grad(scores.square() + inner.square().sum(), leaves)
    return [y, *first, inner, *second]


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("groups", "kernel"), [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_values_and_derivatives_are_torch_s(groups: int, kernel: int, with_bias: bool) -> None:
    x, weight, bias = factors(groups, kernel)
    given = x, weight, bias if with_bias else None
    torch.testing.assert_close(derivatives(ours(groups), *given), derivatives(plain(groups), *given))


@pytest.mark.parametrize(("groups", "kernel"), [(1, 1), (2, 3)])
def test_derivatives_are_those_of_small_differences(groups: int, kernel: int) -> None:
    """The second ones by all factors, where torch's own rules are not asked."""
    x, weight, bias = factors(groups, kernel)
    gradcheck(lambda *given: convolve(*given, groups), (x, weight, bias))
    gradgradcheck(lambda *given: convolve(*given, groups), (x, weight, bias))
    gradcheck(lambda y: leaky_relu_(y.clone()), x)
    gradgradcheck(lambda y: leaky_relu_(y.clone()), x)


@pytest.mark.parametrize("channels", [1, 4])
def test_pictures_stay_channels_last(channels: int) -> None:
    """Those of one channel are contiguous in both orders, and would be convolved in the other."""
    x = torch.randn(2, channels, 8, 8, requires_grad=True)
    weight = torch.randn(6, channels, 1, 1, requires_grad=True)
    y = convolve(x, weight)
    assert y.is_contiguous(memory_format=torch.channels_last)
    z = convolve(y, torch.randn(channels, 6, 1, 1))
    (gradient,) = torch.autograd.grad(z.sum(), y)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_without_gradients_the_library_s_operators_are_called() -> None:
    x, weight, bias = factors(2, 3, torch.float32)
    with torch.no_grad():
        found = leaky_relu_(convolve(x, weight, bias, 2))
    torch.testing.assert_close(found, plain(2)(x, weight, bias))
    assert found.grad_fn is None


def test_under_autocast_all_is_in_its_number_format() -> None:
    x, weight, bias = factors(2, 3, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = leaky_relu_(convolve(x, weight, bias, 2))
        (inner,) = torch.autograd.grad(y.float().sum(), x, create_graph=True)
    assert y.dtype == torch.bfloat16
    assert inner.dtype == torch.float32
    inner.square().sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        other = plain(2)(x, weight, bias)
    torch.testing.assert_close(y, other, rtol=0.02, atol=0.02)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the products that are computed, by kind."""
    found: Counter[str] = Counter()
    computed = functions._product

    def counted(kind: str, *rest: Any) -> Tensor:
        found[kind] += 1
        return computed(kind, *rest)

    monkeypatch.setattr(functions, "_product", counted)
    return found


def test_a_penalty_computes_no_product_that_it_does_not_need(products: Counter[str]) -> None:
    x, weight, _ = factors(1, 3, torch.float32)
    second = torch.randn(4, 6, 3, 3, requires_grad=True)
    y = convolve(leaky_relu_(convolve(x, weight)), second)
    assert products == {"forward": 2}
    (inner,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert products == {"forward": 2, "input": 2}, "and none by the weights"
    # Of the score: back through the second layer, and both by their weights. Of the penalty: forward through
    # the first layer, and both by their weights; nothing for the activation, whose second derivative is zero.
    torch.autograd.grad(y.mean() + inner.square().sum(), [weight, second])
    assert products == {"forward": 3, "input": 3, "weight": 4}
