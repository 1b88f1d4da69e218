"""LeakyReLU without a second derivative is torch's in all else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmgan_convolutions.activations import LeakyReLU, stop_second_derivatives


def exchanged(*args: Any, **options: Any) -> nn.Module:
    network = nn.Sequential(nn.LeakyReLU(*args, **options))
    stop_second_derivatives(network)
    assert type(network[0]) is LeakyReLU
    return network


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("slope", [0.01, 0.2, 1.5, 0.0, -0.1])
def test_values_and_first_derivatives_are_torch_s_to_the_byte(slope: float, inplace: bool) -> None:
    torch.manual_seed(0)
    x, v = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    x[0, 0, 0] = 0

    def both(function: nn.Module) -> tuple[Tensor, Tensor]:
        leaf = x.clone().requires_grad_()
        y = function(leaf * 1.0)
        (first,) = torch.autograd.grad((y * v).sum(), leaf, create_graph=slope > 0)
        return y.detach(), first

    inplace = inplace and slope > 0  # torch refuses the others' derivatives
    for one, other in zip(both(exchanged(slope, inplace)), both(nn.LeakyReLU(slope, inplace)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("inplace", [False, True])
def test_a_penalty_s_gradients_are_torch_s(inplace: bool) -> None:
    """By a network with a residual connection, which an activation in place must not disturb."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2, inplace), nn.Linear(8, 8), nn.LeakyReLU(0.2))
    network, x = network.double(), torch.randn(5, 4, dtype=torch.float64)

    def gradients(network: nn.Module) -> list[Tensor]:
        hat = x.clone().requires_grad_()
        (inner,) = torch.autograd.grad(network(hat).pow(3).sum(), hat, create_graph=True)
        return list(torch.autograd.grad(inner.square().sum(), list(network.parameters())))

    other = copy.deepcopy(network)
    stop_second_derivatives(other)
    torch.testing.assert_close(gradients(network), gradients(other))


def test_it_works_in_place_only_where_torch_s_would_and_never_on_a_view() -> None:
    x = torch.tensor([-1.0, 1.0])
    assert exchanged(0.5)(x) is not x
    assert x.tolist() == [-1, 1]
    assert exchanged(0.5, inplace=True)(x) is x
    assert x.tolist() == [-0.5, 1]
    base = torch.tensor([[-1.0, 1.0]])
    assert exchanged(0.5, inplace=True)(base[0]).tolist() == [-0.5, 1]
    assert base.tolist() == [[-1, 1]]


def test_its_second_derivative_is_nothing_at_all() -> None:
    x = torch.randn(8, requires_grad=True)
    (first,) = torch.autograd.grad(exchanged(0.2)(x).sum(), x, create_graph=True)
    assert not first.requires_grad, "there is nothing to go back through"
    (zeros,) = torch.autograd.grad(nn.LeakyReLU(0.2)(x).sum(), x, create_graph=True)
    assert not torch.equal(zeros, torch.zeros(8))


def test_what_torch_transforms_is_left_to_it() -> None:
    x = torch.randn(3, 4)
    activation = exchanged(0.2)
    assert torch.equal(torch.func.vmap(activation)(x), nn.LeakyReLU(0.2)(x))


def test_a_subclass_is_left_alone() -> None:
    class Own(nn.LeakyReLU):
        pass

    network = nn.Sequential(Own(), nn.ReLU())
    stop_second_derivatives(network)
    assert [type(layer) for layer in network] == [Own, nn.ReLU]
