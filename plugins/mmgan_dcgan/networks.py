"""DCGAN's two networks, for 32, 64 and 128 pixels.

Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks", in the form of PyTorch's example: all convolutions 4x4 and without bias, the generator without
pooling or fully connected layers, one more stride-2 layer for each doubling of the size. Where classes are
learned, G gets them beside its latents (Mirza and Osindero 2014), and D by projection (Miyato and Koyama
2018).
"""

from __future__ import annotations

from itertools import pairwise
from math import log2

from torch import Tensor, nn

from mmgan.nn import MinibatchStddev, Projection, spectral, with_label


class Generator(nn.Module):
    """Turn latents into pictures.

    Args:
        size: Height and width of the pictures: a power of two, at least 8.
        channels: 1 or 3.
        width: Feature maps of the layer before the pictures; doubles with each layer further from them.
        latent: Length of the latents.
        classes: How many classes; 0: none are learned.
    """

    def __init__(self, size: int, channels: int, width: int, latent: int, classes: int = 0) -> None:
        super().__init__()
        widths = layer_widths(size, width)[::-1]
        layers: list[nn.Module] = [*_up(latent + classes, widths[0], stride=1, padding=0)]
        for wide, narrow in pairwise(widths):
            layers += _up(wide, narrow, stride=2, padding=1)
        layers += [nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)
        self.classes = classes

    def forward(self, latents: Tensor, label: Tensor | None = None) -> Tensor:
        """Map (batch, latent), and ``label``, int64 (batch,), to (batch, channels, size, size) in [-1, 1]."""
        if self.classes:
            assert label is not None
            latents = with_label(latents, label, self.classes)
        images: Tensor = self.layers(latents[:, :, None, None])
        return images


class Discriminator(nn.Module):
    """DCGAN's discriminator: real pictures against generated ones.

    Args:
        size: Height and width of the pictures: a power of two, at least 8.
        channels: 1 or 3.
        width: Feature maps of the first layer; doubles with each layer.
        norm: ``batch``: batch norm in all layers but the first and the last; ``bare``: in none; ``none``: in
            none, but a bias in each, and torch's initialisation; ``spectral``: as ``none``, with spectral
            normalisation. A gradient penalty is of each picture for itself and forbids batch norm (Gulrajani
            et al. 2017, section 4).
        classes: How many classes; 0: none are learned. The class is projected on the last features.
        deviation: The batch size, where the last layer sees the minibatch standard deviation; or 0.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        width: int,
        norm: str = "batch",
        classes: int = 0,
        deviation: int = 0,
    ) -> None:
        super().__init__()
        widths = layer_widths(size, width)
        bias = norm in ("none", "spectral")
        # The first layer has no batch norm, so that D sees the data's own mean and scale.
        layers: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], 4, 2, 1, bias=bias),
            nn.LeakyReLU(0.2, True),
        ]
        for narrow, wide in pairwise(widths):
            layers += [
                nn.Conv2d(narrow, wide, 4, 2, 1, bias=bias),
                *([nn.BatchNorm2d(wide)] if norm == "batch" else []),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        if deviation:
            layers += [MinibatchStddev(deviation)]
        layers += [nn.Conv2d(widths[-1] + bool(deviation), 1, 4, 1, 0, bias=bias), nn.Flatten(0)]
        self.layers = nn.Sequential(*layers)
        if not bias:
            self.apply(initialise)
        self.projection = Projection(widths[-1] + bool(deviation), classes) if classes else None
        if norm == "spectral":
            spectral(self)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """Map (batch, channels, size, size), and ``label``, int64 (batch,), to logits (batch,)."""
        *inner, score, flatten = self.layers
        features = images
        for layer in inner:
            features = layer(features)
        logits: Tensor = flatten(score(features))
        if self.projection is not None:
            assert label is not None
            logits = logits + self.projection(features.sum((2, 3)), label)
        return logits


def layer_widths(size: int, width: int) -> list[int]:
    """Return the feature maps of the layers between the pictures and 4x4, from the pictures inwards."""
    return [width * 2**layer for layer in range(int(log2(size)) - 2)]


def initialise(module: nn.Module) -> None:
    """Draw convolutions from N(0, 0.02²), and batch norm's gain from N(1, 0.02²) with bias 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def _up(wide: int, narrow: int, stride: int, padding: int) -> tuple[nn.Module, ...]:
    return (
        nn.ConvTranspose2d(wide, narrow, 4, stride, padding, bias=False),
        nn.BatchNorm2d(narrow),
        nn.ReLU(inplace=True),
    )
