"""Spectral normalisation: what every layer is divided by."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmgan.nn import spectral
from mmgan_wavegan.layers import Convolution


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(6, 4), nn.Conv2d(3, 5, 4), nn.Conv1d(3, 5, 9), nn.Embedding(5, 7), Convolution(3, 8, 25, 4)],
    ids=lambda layer: type(layer).__name__,
)
def test_the_greatest_singular_value_becomes_1(layer: nn.Module) -> None:
    torch.manual_seed(0)
    before = layer.weight.detach().clone()
    spectral(layer)
    for _ in range(50):
        layer.weight  # noqa: B018  (each use takes a step of the power iteration)
    after = layer.weight.detach()
    # The matrix is outputs x everything else.
    outputs_last = isinstance(layer, Convolution)
    matrix = before.reshape(-1, 8).T if outputs_last else before.flatten(1)
    greatest = torch.linalg.matrix_norm(matrix, 2)
    torch.testing.assert_close(after, before / greatest, rtol=1e-3, atol=1e-4)


def test_every_layer_of_a_network_is_normalised() -> None:
    network = spectral(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(nn.Linear(3, 2), nn.LeakyReLU())))
    names = [name for name, _ in network.named_parameters()]
    assert [name for name in names if "weight" in name] == [
        "0.parametrizations.weight.original",
        "1.0.parametrizations.weight.original",
    ]
