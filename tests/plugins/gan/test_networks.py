"""The networks: their sizes, counted by hand, and what goes in and comes out."""

from __future__ import annotations

import torch
from torch import nn

from mmgan_gan.networks import (
    Maxout,
    picture_discriminator,
    picture_generator,
    point_discriminator,
    point_generator,
)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_sizes_for_pictures() -> None:
    # 100x256 + 2x256, 256x512 + 2x512, 512x1024 + 2x1024 (batch norm for a bias), 1024x784 + 784
    g = picture_generator(100, 256, (1, 28, 28), batch_norm=True)
    assert count(g) == 26_112 + 132_096 + 526_336 + 803_600
    # 784x1024 + 1024, 1024x512 + 512, 512x256 + 256, 256 + 1
    assert count(picture_discriminator(784, 256, 0.25)) == 803_840 + 524_800 + 131_328 + 257


def test_sizes_for_points() -> None:
    # 2x400 + 2x400, three of 400x400 + 2x400 (batch norm for a bias), 400x2 + 2
    assert count(point_generator(2, 400, batch_norm=True)) == 1_600 + 3 * 160_800 + 802
    # 2x1000 + 1000, two of 200x1000 + 1000, 200 + 1
    assert count(point_discriminator(2, 200, 0.0)) == 3_000 + 2 * 201_000 + 201
    # a pack of two points has two more inputs
    assert count(point_discriminator(4, 200, 0.0)) == 3_000 + 2_000 + 2 * 201_000 + 201


def test_without_batch_norm_layers_have_biases() -> None:
    # 2x16 + 16, three of 16x16 + 16, 16x2 + 2
    assert count(point_generator(2, 16, batch_norm=False)) == 48 + 3 * 272 + 34
    assert not any(isinstance(m, nn.BatchNorm1d) for m in picture_generator(4, 8, (1, 4, 4), False).modules())


def test_shapes() -> None:
    pictures = picture_generator(7, 8, (3, 12, 12), batch_norm=True)(100 * torch.randn(5, 7))
    assert pictures.shape == (5, 3, 12, 12)
    assert pictures.abs().max() <= 1
    assert picture_discriminator(3 * 144, 8, 0.25)(pictures.flatten(1)).shape == (5, 1)
    points = point_generator(2, 8, batch_norm=True)(torch.randn(5, 2))
    assert points.shape == (5, 2)
    assert point_discriminator(2, 4, 0.5)(points).shape == (5, 1)


def test_dropout_reaches_every_hidden_layer_of_d() -> None:
    for d in (picture_discriminator(4, 8, 0.25), point_discriminator(2, 4, 0.25)):
        assert [m.p for m in d.modules() if isinstance(m, nn.Dropout)] == [0.25] * 3


def test_maxout_takes_the_greatest_of_five_pieces() -> None:
    maxout = Maxout(3, 2)
    x = torch.randn(4, 3)
    pieces = x @ maxout.linear.weight.T + maxout.linear.bias
    expected = torch.stack([pieces[:, :5].max(1).values, pieces[:, 5:].max(1).values], dim=1)
    assert torch.allclose(maxout(x), expected)
