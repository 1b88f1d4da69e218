"""R3GAN's two networks: residual blocks without normalisation, from 4 pixels to 32, 64, 128 or 256.

Huang et al. 2024, "The GAN is dead; long live the GAN! A Modern GAN Baseline" (NeurIPS). G and D mirror each
other: at each size a stage of bottleneck blocks with grouped 3x3 convolutions, between stages a 1x1
convolution where the width changes and a fixed low-pass filter. Weights are initialised so that no layer
needs a norm (fix-up, Zhang et al. 2019). D's scores depend on each picture alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod, sqrt

import torch
from torch import Tensor, nn

from mmgan_r3gan.functions import convolve, leaky_relu_

#: A block widens its channels by this factor between its 1x1 convolutions.
EXPANSION = 2
#: Length of a class's embedding in G.
EMBEDDING = 64


class Convolution(nn.Conv2d):
    """A convolution that leaves the size as it is, with weights from N(0, gain² / fan-in) and biases of 0.

    Args:
        inputs: Channels of its input.
        outputs: Channels of its result.
        kernel: Size of the filters, odd.
        groups: Of the channels.
        bias: Whether it adds one.
        gain: Of the initialisation.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        groups: int = 1,
        bias: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)
        self.weight = drawn(*self.weight.shape, gain=gain)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs, height, width)."""
        return convolve(input, self.weight, self.bias, self.groups)


class Block(nn.Module):
    """x + W₃ · act(W₂ * act(W₁ · x)): 1x1, grouped 3x3, 1x1, each activation with a bias before it.

    Args:
        width: Channels.
        group: Channels in a group of the 3x3 convolution.
        blocks: Blocks of the whole network, by which fix-up scales the first two convolutions. The last one
            begins with zeros, so that the block is the identity.
    """

    def __init__(self, width: int, group: int, blocks: int) -> None:
        super().__init__()
        inner = EXPANSION * width
        # LeakyReLU's own gain, and of L blocks with m = 3 convolutions L^(-1/(2m - 2)).
        gain = sqrt(2 / (1 + 0.2**2)) * blocks ** (-1 / 4)
        self.widen = Convolution(width, inner, bias=True, gain=gain)
        self.mix = Convolution(inner, inner, 3, inner // group, bias=True, gain=gain)
        self.narrow = Convolution(inner, width, gain=0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, width, height, width of the picture) to its own shape."""
        inner = leaky_relu_(self.mix(leaky_relu_(self.widen(x))))
        return x + self.narrow(inner)  # type: ignore[no-any-return]


class Resample(nn.Module):
    """Twice or half the size by the filter [1, 2, 1] * [1, 1] = [1, 3, 3, 1] in each direction.

    Beyond the edges are zeros. Each direction is a product with a matrix, which needs no other order of axes
    than channels-last, and whose derivatives are products again.

    Args:
        size: Side of the smaller pictures.
        up: Twice the size, else half of it.
    """

    matrix: Tensor

    def __init__(self, size: int, up: bool) -> None:
        super().__init__()
        matrix = torch.zeros(2 * size, size)
        for place in range(size):
            for offset, weight in zip(range(-1, 3), (0.25, 0.75, 0.75, 0.25), strict=True):
                if 0 <= 2 * place + offset < 2 * size:
                    matrix[2 * place + offset, place] = weight
        self.register_buffer("matrix", matrix if up else matrix.T.contiguous() / 2, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, size, size) to (batch, channels, 2 size, 2 size), or back."""
        batch, channels, height, _ = x.shape
        matrix = self.matrix.to(x.dtype)
        rows = matrix @ x.permute(0, 2, 3, 1)
        picture = (matrix @ rows.reshape(batch, height, -1)).view(batch, len(matrix), len(matrix), channels)
        return picture.permute(0, 3, 1, 2)


class GenerativeBasis(nn.Module):
    """A learned 4x4 picture for each channel, as strong as a linear map of z says.

    Args:
        inputs: Length of z.
        width: Channels.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(width, 4, 4))
        self.linear = linear(inputs, width)

    def forward(self, z: Tensor) -> Tensor:
        """Map (batch, inputs) to (batch, width, 4, 4)."""
        picture: Tensor = self.basis * self.linear(z)[:, :, None, None]
        return picture.contiguous(memory_format=torch.channels_last)


class DiscriminativeBasis(nn.Module):
    """The product of each channel's 4x4 picture with a learned one, and a linear map of these numbers.

    Args:
        width: Channels.
        outputs: Length of the result.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.basis = drawn(width, 1, 4, 4)
        self.linear = linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, width, 4, 4) to (batch, outputs)."""
        return self.linear((x * self.basis[:, 0]).sum((2, 3)))  # type: ignore[no-any-return]


class Generator(nn.Module):
    """Turn latents into pictures.

    Args:
        widths: Channels of each stage, from 4 pixels up; the last one's pictures have the size of the result.
        group: Channels in a group of the 3x3 convolutions.
        blocks: Residual blocks in each stage.
        channels: 1 or 3.
        latent: Length of the latents.
        classes: How many classes; 0: none are learned. A class's embedding stands beside the latents.
    """

    def __init__(
        self, widths: Sequence[int], group: int, blocks: int, channels: int, latent: int, classes: int = 0
    ) -> None:
        super().__init__()
        self.embedding = linear(classes, EMBEDDING) if classes else None
        self.basis = GenerativeBasis(latent + (EMBEDDING if classes else 0), widths[0])
        stages = [blocks_of(widths, stage, group, blocks) for stage in range(len(widths))]
        for stage, (wide, narrow) in enumerate(pairwise(widths)):
            stages[stage] += [*changed(wide, narrow), Resample(4 * 2**stage, up=True)]
        self.stages = nn.Sequential(*(nn.Sequential(*stage) for stage in stages))
        self.to_picture = Convolution(widths[-1], channels)

    def forward(self, latents: Tensor, label: Tensor | None = None) -> Tensor:
        """Map (batch, latent), and ``label``, int64 (batch,), to (batch, channels, size, size).

        Pictures lie about in [-1, 1]; nothing holds them there.
        """
        if self.embedding is not None:
            assert label is not None
            latents = torch.cat([latents, of_class(self.embedding, label)], dim=1)
        pictures: Tensor = self.to_picture(self.stages(self.basis(latents)))
        return pictures


class Discriminator(nn.Module):
    """Score pictures, by the mirror image of G.

    Args:
        widths, group, blocks, channels: As G's.
        classes: How many classes; 0: none are learned. The score is then a product of as many numbers as the
            first stage has channels with the class's embedding.
    """

    def __init__(
        self, widths: Sequence[int], group: int, blocks: int, channels: int, classes: int = 0
    ) -> None:
        super().__init__()
        self.from_picture = Convolution(channels, widths[-1])
        stages = [blocks_of(widths, stage, group, blocks) for stage in range(len(widths))]
        for stage, (wide, narrow) in enumerate(pairwise(widths)):
            stages[stage + 1] += [Resample(4 * 2**stage, up=False), *changed(narrow, wide)]
        self.stages = nn.Sequential(*(nn.Sequential(*stage) for stage in reversed(stages)))
        outputs = widths[0] if classes else 1
        self.basis = DiscriminativeBasis(widths[0], outputs)
        self.embedding = linear(classes, outputs, gain=outputs**-0.5) if classes else None

    def forward(self, pictures: Tensor, label: Tensor | None = None) -> Tensor:
        """Map (batch, channels, size, size), and ``label``, int64 (batch,), to scores (batch,)."""
        found: Tensor = self.basis(self.stages(self.from_picture(pictures)))
        if self.embedding is not None:
            assert label is not None
            found = found * of_class(self.embedding, label)
        return found.sum(1)


def blocks_of(widths: Sequence[int], stage: int, group: int, blocks: int) -> list[nn.Module]:
    """Return the blocks of a stage."""
    return [Block(widths[stage], group, blocks * len(widths)) for _ in range(blocks)]


def changed(before: int, after: int) -> list[nn.Module]:
    """Return the 1x1 convolution between two stages, where their widths differ."""
    return [Convolution(before, after)] if before != after else []


def linear(inputs: int, outputs: int, gain: float = 1.0) -> nn.Linear:
    """Return a linear map without a bias, with weights from N(0, gain² / inputs)."""
    layer = nn.Linear(inputs, outputs, bias=False)
    layer.weight = drawn(outputs, inputs, gain=gain)
    return layer


def drawn(*shape: int, gain: float = 1.0) -> nn.Parameter:
    """Return weights (outputs, …) from N(0, gain² / fan-in)."""
    return nn.Parameter(torch.randn(shape) * (gain / sqrt(prod(shape[1:]))))


def of_class(embedding: nn.Linear, label: Tensor) -> Tensor:
    """Return the embeddings of classes: the layer's result for zeros with a one in the class's place."""
    return nn.functional.embedding(label, embedding.weight.T)
