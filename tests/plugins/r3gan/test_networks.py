"""R3GAN's networks: their sizes, initialisation and resampling are the published ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmgan_r3gan.networks import Block, Convolution, Discriminator, Generator, Resample

WIDTHS = (32, 16, 16, 8)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def generator(classes: int = 0, blocks: int = 1) -> Generator:
    torch.manual_seed(0)
    return Generator(WIDTHS, 8, blocks, 3, 5, classes)


def discriminator(classes: int = 0, blocks: int = 1) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(WIDTHS, 8, blocks, 3, classes)


def trained(network: Any) -> Any:
    """Return a network whose blocks do something: their last layers begin with zeros."""
    for module in network.modules():
        if isinstance(module, Convolution):
            if not module.weight.any():
                nn.init.normal_(module.weight, 0.0, 0.1)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0.0, 0.1)
    return network


@pytest.mark.parametrize(
    ("widths", "group", "blocks", "g", "d"),
    # Millions, as published: CIFAR-10, FFHQ-64, FFHQ-256, ImageNet at 32 and at 64 pixels.
    [
        ((768,) * 4, 16, 2, 20.73, 20.68),
        ((768,) * 4 + (384,), 16, 2, 22.43, 22.38),
        ((768,) * 4 + (384, 192, 96), 16, 2, 23.058, 23.010),
        ((1536,) * 4, 32, 2, 82.8, 82.7),
        ((1536,) * 5, 32, 2, 103.4, 103.3),
        ((128,) * 4, 16, 1, 0.422, 0.414),
        ((192,) * 4, 16, 1, 0.830, 0.818),
        ((96,) * 4, 16, 2, 0.527, 0.521),
        ((128,) * 4 + (64,), 16, 1, 0.465, 0.457),
    ],
)
def test_parameter_counts(widths: Sequence[int], group: int, blocks: int, g: float, d: float) -> None:
    # A block: two 1x1 convolutions, a 3x3 one in groups, and two biases.
    stages = sum(blocks * (4 * w**2 + 2 * w * group * 9 + 4 * w) for w in widths)
    between = sum(one * other for one, other in pairwise(widths) if one != other)
    pictures = 3 * widths[-1]
    with torch.device("meta"):
        made = Generator(widths, group, blocks, 3, 64), Discriminator(widths, group, blocks, 3)
    ours = stages + between + pictures + 16 * widths[0]
    assert [count(network) for network in made] == [ours + 64 * widths[0], ours + widths[0]]
    for network, published in zip(made, (g, d), strict=True):
        digits = len(str(published).partition(".")[2])
        assert round(count(network) / 1e6, digits) == published


@pytest.mark.parametrize(("stages", "size"), [(4, 32), (5, 64), (6, 128), (7, 256)])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(stages: int, size: int, channels: int) -> None:
    widths = (8,) * stages
    fake = Generator(widths, 8, 1, channels, 5)(torch.randn(2, 5))
    assert fake.shape == (2, channels, size, size)
    assert Discriminator(widths, 8, 1, channels)(fake).shape == (2,)


def test_there_is_no_norm_and_no_tanh() -> None:
    allowed = {
        "Generator", "Discriminator", "Sequential", "Block", "Convolution", "Resample", "Linear",
        "GenerativeBasis", "DiscriminativeBasis",
    }  # fmt: skip
    networks = nn.ModuleList([generator(), discriminator()])
    assert {type(module).__name__ for module in networks.modules()} == allowed | {"ModuleList"}


@pytest.mark.parametrize("blocks", [1, 2])
def test_initialisation(blocks: int) -> None:
    torch.manual_seed(0)
    widths = (256, 256, 128, 64)
    g, d = Generator(widths, 16, blocks, 3, 64), Discriminator(widths, 16, blocks, 3)
    fix_up = sqrt(2 / (1 + 0.2**2)) * (4 * blocks) ** -0.25
    for network in (g, d):
        assert sum(isinstance(module, Block) for module in network.modules()) == 4 * blocks
        for name, parameter in network.named_parameters():
            weight = parameter.detach()
            if name.endswith(("bias", "narrow.weight")):
                assert not weight.any(), name
                continue
            gain = fix_up if "widen" in name or "mix" in name else 1.0
            inputs = 1 if network is g and name == "basis.basis" else weight[0].numel()
            assert float(weight.std()) == pytest.approx(gain / sqrt(inputs), rel=0.15), name
            assert abs(float(weight.mean())) < 0.15 * float(weight.std()), name


@pytest.mark.parametrize("classes", [0, 3])
def test_blocks_begin_as_nothing(classes: int) -> None:
    label = torch.tensor([0, 2]) if classes else None
    for network, given in (
        (generator(classes, 2), torch.randn(2, 5)),
        (discriminator(classes, 2), torch.randn(2, 3, 32, 32)),
    ):
        bare = copy.deepcopy(network)
        for stage in bare.stages:
            for index, module in enumerate(stage):
                if isinstance(module, Block):
                    stage[index] = nn.Identity()
        assert not any(isinstance(module, Block) for module in bare.modules())
        torch.testing.assert_close(network(given, label), bare(given, label))
        assert not torch.allclose(trained(network)(given, label), bare(given, label))


def low_pass(picture: Any, factor: int) -> Any:
    """Convolve with zeros beyond the edges, by [1, 2, 1] * [1, 1] in each direction."""
    filter = np.convolve([1, 2, 1], [1, 1]).astype(float)
    filter *= factor / filter.sum()
    for axis in (0, 1):
        picture = np.apply_along_axis(lambda line: np.convolve(line, filter), axis, picture)
    return picture


def test_upsampling() -> None:
    picture = torch.randn(4, 4, dtype=torch.float64)
    sparse = np.zeros((8, 8))
    sparse[::2, ::2] = picture
    # The full convolution is three longer; the filter's middle lies between a place and the next one.
    expected = low_pass(sparse, 2)[1:9, 1:9]
    found = Resample(4, up=True).double()(picture[None, None])[0, 0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    # A constant stays one but for the edges, where a quarter is from beyond.
    ones = Resample(4, up=True)(torch.ones(1, 1, 4, 4))[0, 0]
    torch.testing.assert_close(ones[1:-1, 1:-1], torch.ones(6, 6))
    assert float(ones[0, 3]) == 0.75


def test_downsampling() -> None:
    picture = torch.randn(8, 8, dtype=torch.float64)
    expected = low_pass(picture.numpy(), 1)[2:10:2, 2:10:2]
    found = Resample(4, up=False).double()(picture[None, None])[0, 0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("up", [True, False])
def test_every_channel_and_picture_is_resampled_for_itself(up: bool) -> None:
    resample = Resample(4, up)
    pictures = torch.randn(3, 5, *((4, 4) if up else (8, 8)))
    whole = resample(pictures)
    assert whole.is_contiguous(memory_format=torch.channels_last)
    alone = torch.stack(
        [torch.cat([resample(channel[None, None])[0] for channel in picture]) for picture in pictures]
    )
    torch.testing.assert_close(whole, alone)


def test_resampling_is_not_trained_and_not_saved() -> None:
    assert not any("matrix" in name for name in generator().state_dict())


@pytest.mark.parametrize("classes", [0, 3])
def test_a_penalty_reaches_every_weight(classes: int) -> None:
    d = trained(discriminator(classes))
    real = torch.randn(4, 3, 32, 32, requires_grad=True)
    label = torch.tensor([0, 1, 2, 0]) if classes else None
    scores = d(real, label)
    (gradient,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
    gradient.square().sum().backward()
    for name, parameter in d.named_parameters():
        # A bias moves which side of 0 something is on, and otherwise not the gradient.
        assert name.endswith("bias") or parameter.grad.any(), name


def test_each_picture_is_judged_for_itself() -> None:
    d, pictures = trained(discriminator()), torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(d(pictures)[:1], d(pictures[:1]), rtol=1e-4, atol=1e-5)


def test_classes() -> None:
    plain_g, plain_d, g, d = generator(), discriminator(), generator(7), discriminator(7)
    # An embedding of 64 beside z; D gives a vector, and has one for each class.
    assert count(g) - count(plain_g) == 7 * 64 + 64 * WIDTHS[0]
    assert count(d) - count(plain_d) == (WIDTHS[0] - 1) * WIDTHS[0] + 7 * WIDTHS[0]
    assert (g.embedding.weight.shape, d.embedding.weight.shape) == ((64, 7), (WIDTHS[0], 7))
    one_hot = torch.eye(7)
    latents, pictures = torch.randn(1, 5).expand(7, -1), torch.randn(1, 3, 32, 32).expand(7, -1, -1, -1)
    label = torch.arange(7)

    torch.testing.assert_close(
        g(latents, label), plain_forward(g, torch.cat([latents, g.embedding(one_hot)], dim=1))
    )
    found = d.basis(d.stages(d.from_picture(pictures)))
    torch.testing.assert_close(d(pictures, label), (found * d.embedding(one_hot)).sum(1))
    assert len(set(d(pictures, label).tolist())) == 7


def plain_forward(g: Generator, inputs: Tensor) -> Tensor:
    pictures: Tensor = g.to_picture(g.stages(g.basis(inputs)))
    return pictures


def test_an_embedding_of_classes_begins_as_strong_as_said() -> None:
    torch.manual_seed(0)
    g, d = Generator((64,) * 4, 16, 1, 3, 64, 100), Discriminator((64,) * 4, 16, 1, 3, 100)
    assert float(g.embedding.weight.detach().std()) == pytest.approx(1 / sqrt(100), rel=0.05)
    # A gain of 1/√64 beside.
    assert float(d.embedding.weight.detach().std()) == pytest.approx(1 / sqrt(100) / 8, rel=0.05)
    assert d.basis.linear.weight.shape == (64, 64)
