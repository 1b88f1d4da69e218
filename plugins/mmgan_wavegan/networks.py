"""WaveGAN's two networks (Donahue et al. 2019, "Adversarial Audio Synthesis", tables 3 and 4).

A generator and a critic that mirror each other: five layers, or six for longer sounds, with long kernels and
a stride of 4. Neither has batch norm.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from mmgan.nn import MinibatchStddev, Projection, with_label
from mmgan_wavegan.layers import Convolution, PostFilter, ResizeConvolution, TransposedConvolution
from mmgan_wavegan.phase_shuffle import phase_shuffle

#: The length at the inner end of both networks.
SHORTEST = 16
#: The strides of the critic's layers, from the sound inwards; the generator's are the same, outwards.
STRIDES = {16_384: (4, 4, 4, 4, 4), 32_768: (4, 4, 4, 4, 4, 2), 65_536: (4, 4, 4, 4, 4, 4)}
#: How many of the critic's layers, from the sound inwards, have their outputs shuffled. Further in, a shift
#: by two samples would be a large one.
SHUFFLED = 4


class Generator(nn.Module):
    """Turn latents into sounds.

    Args:
        length: Samples in a sound: 16,384, 32,768 or 65,536.
        channels: 1 or 2.
        dim: Channels of the layer next to the sound; they double with each layer away from it.
        latent: Length of the latents.
        kernel: Length of the filters, odd.
        upsampling: ``zeros`` (transposed convolutions), ``nearest`` or ``linear`` (interpolation, then a
            convolution).
        post_filter: Length of a learned filter over the output, 0 for none.
        classes: How many classes; 0: none are learned. The class lies beside the latents.
    """

    def __init__(
        self,
        length: int,
        channels: int,
        dim: int,
        latent: int,
        kernel: int = 25,
        upsampling: str = "zeros",
        post_filter: int = 0,
        classes: int = 0,
    ) -> None:
        super().__init__()
        widths = (channels, *layer_widths(length, dim))[::-1]
        self.width = widths[0]
        self.classes = classes
        self.dense = dense(latent + classes, SHORTEST * self.width)
        up = _upsampler(upsampling)
        self.layers = nn.ModuleList(
            up(wide, narrow, kernel, stride)
            # The odd stride of 2 comes last: 16 samples become 64, 256, ….
            for (wide, narrow), stride in zip(pairwise(widths), STRIDES[length], strict=True)
        )
        self.post_filter = PostFilter(channels, post_filter) if post_filter else nn.Identity()

    def forward(self, latents: Tensor, label: Tensor | None = None) -> Tensor:
        """Map (batch, latent), and ``label``, int64 (batch,), to (batch, channels, length); in [-1, 1] before
        a post-filter.
        """
        if self.classes:
            assert label is not None
            latents = with_label(latents, label, self.classes)
        x = torch.relu(self.dense(latents)).view(-1, SHORTEST, self.width).transpose(1, 2)
        *inner, last = self.layers
        for layer in inner:
            x = torch.relu(layer(x))
        sounds: Tensor = self.post_filter(torch.tanh(last(x)))
        return sounds


class Critic(nn.Module):
    """Score sounds.

    Args:
        length: Samples in a sound: 16,384, 32,768 or 65,536.
        channels: 1 or 2.
        dim: Channels of the first layer; they double with each layer.
        kernel: Length of the filters, odd.
        shuffle: Greatest shift of phase shuffle, 0 for none.
        shuffle_each: ``batch`` or ``sample``: what has a shift of its own.
        classes: How many classes; 0: none are learned. The class is projected on the mean of the last layer's
            outputs over time.
        deviation: The batch size, where the last layer sees the minibatch standard deviation; or 0.
    """

    def __init__(
        self,
        length: int,
        channels: int,
        dim: int,
        kernel: int = 25,
        shuffle: int = 2,
        shuffle_each: str = "batch",
        classes: int = 0,
        deviation: int = 0,
    ) -> None:
        super().__init__()
        self.shuffle, self.shuffle_each = shuffle, shuffle_each
        widths = (channels, *layer_widths(length, dim))
        self.layers = nn.ModuleList(
            Convolution(narrow, wide, kernel, stride)
            for (narrow, wide), stride in zip(pairwise(widths), STRIDES[length], strict=True)
        )
        self.activation = nn.LeakyReLU(0.2, inplace=True)
        self.deviation = MinibatchStddev(deviation) if deviation else nn.Identity()
        last = widths[-1] + bool(deviation)
        self.dense = dense(SHORTEST * last, 1)
        self.projection = Projection(last, classes) if classes else None

    def forward(self, sounds: Tensor, sets: int = 1, label: Tensor | None = None) -> Tensor:
        """Map (batch, channels, length) to scores (batch,).

        Args:
            sounds: One or more sets of sounds, of equal size.
            sets: How many; each draws its own shifts, as if it came alone.
            label: The class of each sound, int64 (batch,), where classes are learned.
        """
        draws = len(sounds) if self.shuffle_each == "sample" else sets
        x = sounds
        for number, layer in enumerate(self.layers):
            x = self.activation(layer(x))
            if number < SHUFFLED:
                x = phase_shuffle(x, self.shuffle, draws)
        x = self.deviation(x)
        scores: Tensor = self.dense(x.transpose(1, 2).flatten(1))[:, 0]
        if self.projection is not None:
            assert label is not None
            scores = scores + self.projection(x.mean(2), label)
        return scores


def layer_widths(length: int, dim: int) -> tuple[int, ...]:
    """Return the channels of the layers, from the sound inwards."""
    return tuple(dim * 2**layer for layer in range(len(STRIDES[length])))


def dense(inputs: int, outputs: int) -> nn.Linear:
    """Make a fully connected layer with Glorot's uniform weights and no bias yet."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _upsampler(name: str) -> Callable[[int, int, int, int], nn.Module]:
    if name == "zeros":
        return TransposedConvolution
    return lambda wide, narrow, kernel, stretch: ResizeConvolution(wide, narrow, kernel, stretch, name)
