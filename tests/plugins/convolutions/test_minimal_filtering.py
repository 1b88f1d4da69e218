"""Minimal filtering gives what torch's convolutions give, and so do its first and second derivatives."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmgan_convolutions import minimal_filtering
from mmgan_convolutions.minimal_filtering import LONGEST, Evaluated, convolve, convolve_transposed

# Of the standard deviation of what is compared; rounding to bf16 alone is 0.4 percent.
TOLERANCE = 1e-3
# The standard deviation of what bf16 loses, likewise, and of what a derivative of a derivative does.
HALF_TOLERANCE, HALF_TOLERANCE_OF_DERIVATIVES = 0.035, 0.1


def plain(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    padding = (len(weight) - 3) // 2
    return F.conv1d(x, weight.permute(2, 1, 0), bias, stride=4, padding=padding)


def plain_transposed(x: Tensor, weight: Tensor) -> Tensor:
    padding = (len(weight) - 3) // 2
    return F.conv_transpose1d(x, weight.permute(2, 1, 0), stride=4, padding=padding, output_padding=1)


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < TOLERANCE * theirs.std()


@pytest.mark.parametrize("kernel", [5, 9, 15, 25, 27])
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs", "length"), [(3, 2, 5, 64), (1, 1, 3, 32), (2, 7, 4, 256)]
)
def test_equals_the_library_s(kernel: int, batch: int, inputs: int, outputs: int, length: int) -> None:
    torch.manual_seed(0)
    x, weight, bias = (
        torch.randn(batch, inputs, length),
        torch.randn(kernel, inputs, outputs),
        torch.randn(outputs),
    )
    assert_near(convolve(x, weight, bias), plain(x, weight, bias))
    assert_near(convolve(x, weight), plain(x, weight))
    y = torch.randn(batch, outputs, length // 4)
    assert_near(convolve_transposed(y, weight), plain_transposed(y, weight))


def test_there_are_points_enough_for_the_longest_kernel() -> None:
    assert LONGEST == 28
    for scheme in minimal_filtering.SCHEMES.values():
        assert len(set(scheme.points)) == scheme.tile + LONGEST // 4 - 2


def test_rounding_is_a_hundredth_of_bf16_s() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(4, 64, 1024), torch.randn(25, 64, 128)
    exact = plain(x.double(), weight.double())
    error = (convolve(x, weight) - exact).std() / exact.std()
    half = (plain(x.bfloat16(), weight.bfloat16()).double() - exact).std() / exact.std()
    assert error < 5e-5
    assert error < half / 50


def test_in_bf16_the_result_differs_by_a_thirtieth() -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(4, 64, 256).bfloat16(), torch.randn(25, 64, 32), torch.randn(32)
    y = torch.randn(4, 32, 64).bfloat16()
    weight = weight.bfloat16().float()
    for ours, theirs in (
        (convolve(x, weight, bias), plain(x.double(), weight.double(), bias.double())),
        (convolve_transposed(y, weight), plain_transposed(y.double(), weight.double())),
    ):
        assert ours.dtype == torch.bfloat16
        assert ours.shape == theirs.shape
        assert (ours - theirs).std() < HALF_TOLERANCE * theirs.std()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("kernel", [5, 15, 25])
def test_the_matrices_make_a_convolution(dtype: torch.dtype, tolerance: float, kernel: int) -> None:
    """Output o is the sum of the products of signal s and tap t with s = o + t, and of no others."""
    at = minimal_filtering._matrices(kernel, dtype)
    found = torch.einsum("op,ps,pt->ost", at.output.double(), at.signal.double(), at.filters.double())
    o, s, t = torch.meshgrid(*map(torch.arange, found.shape), indexing="ij")
    assert (found - (s == o + t).double()).abs().max() < tolerance


def test_filters_are_evaluated_once_until_a_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluations: list[int] = []
    evaluate = minimal_filtering._evaluate
    monkeypatch.setattr(minimal_filtering, "_evaluate", lambda w: evaluations.append(1) or evaluate(w))
    torch.manual_seed(0)
    evaluated = Evaluated()
    one, other = torch.randn(2, 3, 64), torch.randn(2, 3, 64)
    weight = torch.randn(25, 3, 4, requires_grad=True)

    def gradient(**how: Any) -> Tensor:
        hat = one.clone().requires_grad_()
        filters = evaluated.filters(weight, torch.float32, True) if how else None
        # A penalty's inner gradient is none by the weights, and ends nothing.
        (inner,) = torch.autograd.grad(
            convolve(hat, weight, None, filters).square().sum(), hat, create_graph=True
        )
        filters = evaluated.filters(weight, torch.float32, True) if how else None
        loss = convolve(other, weight, None, filters).sum() + inner.square().sum()
        return torch.autograd.grad(loss, weight)[0]

    apart = gradient()
    assert len(evaluations) == 2
    together = gradient(once=True)
    assert len(evaluations) == 3
    # Only the order in which gradients are added differs.
    assert_near(together, apart)
    assert not evaluated.known
    gradient(once=True)
    assert len(evaluations) == 4, "and anew after it"


@pytest.mark.parametrize("change", ["fused", "foreach", "load", "clip"])
def test_filters_are_those_of_weights_that_changed_meanwhile(change: str) -> None:
    torch.manual_seed(0)
    evaluated, x = Evaluated(), torch.randn(2, 3, 64)
    weight = torch.nn.Parameter(torch.randn(25, 3, 4))
    before = evaluated.filters(weight, torch.float32, True)
    assert evaluated.filters(weight, torch.float32, True) is before
    assert evaluated.filters(weight, torch.bfloat16, True).dtype == torch.bfloat16
    weight.grad = torch.randn(25, 3, 4)
    if change == "load":
        torch.nn.ParameterList([weight]).load_state_dict({"0": torch.randn(25, 3, 4)})
    elif change == "clip":
        with torch.no_grad():
            weight.clamp_(-0.1, 0.1)
    else:
        if change == "fused":  # It does not tell of its change, but steps after a backward pass.
            convolve(x, weight, None, before).sum().backward()
        torch.optim.Adam([weight], 0.1, fused=change == "fused", foreach=change == "foreach").step()
    after = evaluated.filters(weight, torch.float32, True)
    assert_near(convolve(x, weight, None, after), plain(x, weight))


def test_filters_of_weights_that_do_not_learn_are_not_kept() -> None:
    torch.manual_seed(0)
    x, evaluated = torch.randn(2, 3, 64), Evaluated()
    weight = torch.randn(25, 3, 4, requires_grad=True)
    with torch.no_grad():
        evaluated.filters(weight, torch.float32, True)
    # Weights that are made anew each time, as a parametrised layer's are.
    for _ in range(10):
        fresh = weight * torch.randn(())
        assert_near(convolve(x, fresh, None, evaluated.filters(fresh, torch.float32, True)), plain(x, fresh))
        del fresh
    weight.requires_grad_(False)
    evaluated.filters(weight, torch.float32, True)
    assert not evaluated.known
    turned = weight.permute(2, 1, 0).contiguous()
    filters = evaluated.filters(turned, torch.float32, False)
    assert torch.equal(filters, evaluated.filters(weight, torch.float32, True))


def test_what_is_kept_goes_with_its_plan() -> None:
    weight = torch.randn(25, 3, 4, requires_grad=True)
    evaluated = Evaluated()
    kept = weakref.ref(evaluated.filters(weight, torch.float32, True))
    del evaluated
    assert kept() is None


Function = Callable[[Tensor, Tensor], Tensor]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("ours", "theirs", "length"), [(convolve, plain, 64), (convolve_transposed, plain_transposed, 16)]
)
def test_both_derivatives_equal_the_library_s(
    ours: Function, theirs: Function, length: int, dtype: torch.dtype
) -> None:
    def derivatives(function: Function) -> list[Tensor]:
        torch.manual_seed(0)
        x = torch.randn(3, 4, length, requires_grad=True)
        shape = (25, 4, 6) if function in (convolve, plain) else (25, 6, 4)
        weight = torch.randn(*shape, requires_grad=True)
        y = function(x.to(dtype) if function is ours else x, weight).float()
        # Not linear in y, so that no second derivative vanishes.
        first = torch.autograd.grad(
            (y**2 * torch.linspace(-1, 1, y.shape[2])).sum(), (x, weight), create_graph=True
        )
        second = torch.autograd.grad(sum((g**2).sum() for g in first), (x, weight))
        return [y, *first, *second]

    for one, other in zip(derivatives(ours), derivatives(theirs), strict=True):
        assert one.dtype == torch.float32
        if dtype == torch.float32:
            assert_near(one, other)
        else:
            assert (one - other).std() < HALF_TOLERANCE_OF_DERIVATIVES * other.std()


def test_gradients_of_a_gradient_of_a_gradient() -> None:
    """Numerically, in float64, with matrices of float64 too."""
    torch.manual_seed(0)
    minimal_filtering._matrices.cache_clear()
    kept = minimal_filtering._matrices
    try:
        minimal_filtering._matrices = lambda kernel, _: minimal_filtering._Matrices(
            *(matrix.double() for matrix in kept(kernel, torch.float32))
        )
        x = torch.randn(1, 2, 32, dtype=torch.float64, requires_grad=True)
        weight = torch.randn(9, 2, 3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(convolve, (x, weight), atol=1e-4)
        assert torch.autograd.gradgradcheck(convolve, (x, weight), atol=1e-4)
    finally:
        minimal_filtering._matrices = kept


def test_a_penalty_s_inner_gradient_computes_no_gradient_of_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    forward = minimal_filtering._Correlation.forward

    def counted(*args: object) -> Tensor:
        calls.append(1)
        return forward(*args)

    monkeypatch.setattr(minimal_filtering._Correlation, "forward", staticmethod(counted))
    x, weight = torch.randn(1, 1, 32, requires_grad=True), torch.randn(25, 1, 2, requires_grad=True)
    (inner,) = torch.autograd.grad(convolve(x, weight).sum(), x, create_graph=True)
    assert not calls
    inner.square().sum().backward()
    assert len(calls) == 1
    assert weight.grad is not None


def test_any_layout_in_memory_will_do() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 64), torch.randn(25, 3, 4)
    turned = x.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(convolve(x, weight), convolve(turned, weight))
    cut = torch.randn(2, 3, 80)[..., 5:69]
    assert torch.equal(convolve(cut, weight), convolve(cut.contiguous(), weight))
