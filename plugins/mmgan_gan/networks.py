"""Fully connected networks: for pictures as the field teaches its first GAN, for points as in PacGAN."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from torch import Tensor, nn


def picture_generator(latent: int, width: int, shape: tuple[int, ...], batch_norm: bool) -> nn.Sequential:
    """Build latents → width → 2 width → 4 width → pictures in [-1, 1].

    Args:
        latent: Length of the latents.
        width: Units of the first layer.
        shape: Of a picture: (channels, height, width).
        batch_norm: Batch norm after each layer but the last.

    Returns:
        A network that maps (batch, latent) to (batch, channels, height, width).
    """
    widths = (latent, width, 2 * width, 4 * width)
    layers = [
        layer
        for inputs, outputs in pairwise(widths)
        for layer in (*_linear(inputs, outputs, batch_norm), nn.LeakyReLU(0.2, inplace=True))
    ]
    return nn.Sequential(*layers, nn.Linear(widths[-1], prod(shape)), nn.Tanh(), nn.Unflatten(1, shape))


def picture_discriminator(inputs: int, width: int, dropout: float) -> nn.Sequential:
    """Build pixels → 4 width → 2 width → width → 1.

    Args:
        inputs: Pixels of a picture, or of a pack of pictures, all channels counted.
        width: Units of the last hidden layer.
        dropout: Share of the hidden units that is dropped in training.

    Returns:
        A network that maps (batch, inputs) to logits (batch, 1).
    """
    widths = (inputs, 4 * width, 2 * width, width)
    layers = [
        layer
        for inputs, outputs in pairwise(widths)
        for layer in (nn.Linear(inputs, outputs), nn.LeakyReLU(0.2, inplace=True), nn.Dropout(dropout))
    ]
    return nn.Sequential(*layers, nn.Linear(width, 1))


def point_generator(latent: int, width: int, batch_norm: bool) -> nn.Sequential:
    """Build four hidden layers of ``width`` with ReLU: latents (batch, latent) → points (batch, 2).

    Args:
        latent: Length of the latents.
        width: Units of each hidden layer.
        batch_norm: Batch norm after each layer but the last.
    """
    layers = [
        layer
        for inputs in (latent, width, width, width)
        for layer in (*_linear(inputs, width, batch_norm), nn.ReLU(inplace=True))
    ]
    return nn.Sequential(*layers, nn.Linear(width, 2))


def point_discriminator(inputs: int, width: int, dropout: float) -> nn.Sequential:
    """Build three maxout layers of ``width`` units: points (batch, inputs) → logits (batch, 1).

    Args:
        inputs: Coordinates of a point, or of a pack of points: 2 for each.
        width: Units of each hidden layer.
        dropout: Share of the hidden units that is dropped in training.
    """
    layers = [layer for i in (inputs, width, width) for layer in (Maxout(i, width), nn.Dropout(dropout))]
    return nn.Sequential(*layers, nn.Linear(width, 1))


class Maxout(nn.Module):
    """Units that are each the greatest of five linear maps (Goodfellow et al. 2013).

    Args:
        inputs: Length of a vector that comes in.
        outputs: Units.
    """

    PIECES = 5

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs * self.PIECES)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs) to (batch, outputs)."""
        pieces: Tensor = self.linear(x).unflatten(1, (-1, self.PIECES))
        return pieces.amax(2)


def _linear(inputs: int, outputs: int, batch_norm: bool) -> list[nn.Module]:
    # Batch norm brings its own bias, and subtracts any other.
    linear = nn.Linear(inputs, outputs, bias=not batch_norm)
    return [linear, nn.BatchNorm1d(outputs)] if batch_norm else [linear]
