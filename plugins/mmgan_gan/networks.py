"""Fully connected networks: for pictures as the field teaches its first GAN, for points as in PacGAN."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from mmgan.nn import MinibatchStddev, Projection, with_label


class Labelled(nn.Module):
    """A generator that takes a class, which lies beside the latents (Mirza and Osindero 2014).

    Args:
        layers: Map (batch, latent + classes) to examples.
        classes: How many classes.
    """

    def __init__(self, layers: nn.Sequential, classes: int) -> None:
        super().__init__()
        self.layers, self.classes = layers, classes

    def forward(self, latents: Tensor, label: Tensor) -> Tensor:
        """Map (batch, latent) and ``label``, int64 (batch,), to examples."""
        examples: Tensor = self.layers(with_label(latents, label, self.classes))
        return examples


class Projected(nn.Module):
    """A discriminator that takes a class, by projection (Miyato and Koyama 2018).

    Args:
        layers: Map examples to logits (batch, 1); the last one is linear.
        classes: How many classes.
    """

    def __init__(self, layers: nn.Sequential, classes: int) -> None:
        super().__init__()
        score = layers[-1]
        assert isinstance(score, nn.Linear)
        self.features, self.score = layers[:-1], score
        self.projection = Projection(score.in_features, classes)

    def forward(self, examples: Tensor, label: Tensor) -> Tensor:
        """Map examples (batch, …) and ``label``, int64 (batch,), to logits (batch, 1)."""
        features = self.features(examples)
        logits: Tensor = self.score(features) + self.projection(features, label)[:, None]
        return logits


def picture_generator(
    latent: int, width: int, shape: tuple[int, ...], batch_norm: bool, classes: int = 0
) -> nn.Module:
    """Build latents → width → 2 width → 4 width → pictures in [-1, 1].

    Args:
        latent: Length of the latents.
        width: Units of the first layer.
        shape: Of a picture: (channels, height, width).
        batch_norm: Batch norm after each layer but the last.
        classes: How many classes; 0: none are learned.

    Returns:
        A network that maps (batch, latent) to (batch, channels, height, width).
    """
    widths = (latent + classes, width, 2 * width, 4 * width)
    layers = [
        layer
        for inputs, outputs in pairwise(widths)
        for layer in (*_linear(inputs, outputs, batch_norm), nn.LeakyReLU(0.2, inplace=True))
    ]
    network = nn.Sequential(*layers, nn.Linear(widths[-1], prod(shape)), nn.Tanh(), nn.Unflatten(1, shape))
    return Labelled(network, classes) if classes else network


def picture_discriminator(
    inputs: int, width: int, dropout: float, classes: int = 0, deviation: int = 0
) -> nn.Module:
    """Build pixels → 4 width → 2 width → width → 1.

    Args:
        inputs: Pixels of a picture, or of a pack of pictures, all channels counted.
        width: Units of the last hidden layer.
        dropout: Share of the hidden units that is dropped in training.
        classes: How many classes; 0: none are learned.
        deviation: The batch size, where the last layer sees the minibatch standard deviation; or 0.

    Returns:
        A network that maps (batch, inputs) to logits (batch, 1).
    """
    widths = (inputs, 4 * width, 2 * width, width)
    layers = [
        layer
        for inputs, outputs in pairwise(widths)
        for layer in (nn.Linear(inputs, outputs), nn.LeakyReLU(0.2, inplace=True), nn.Dropout(dropout))
    ]
    return _scored(layers, width, classes, deviation)


def point_generator(latent: int, width: int, batch_norm: bool, classes: int = 0) -> nn.Module:
    """Build four hidden layers of ``width`` with ReLU: latents (batch, latent) → points (batch, 2).

    Args:
        latent: Length of the latents.
        width: Units of each hidden layer.
        batch_norm: Batch norm after each layer but the last.
        classes: How many classes; 0: none are learned.
    """
    layers = [
        layer
        for inputs in (latent + classes, width, width, width)
        for layer in (*_linear(inputs, width, batch_norm), nn.ReLU(inplace=True))
    ]
    network = nn.Sequential(*layers, nn.Linear(width, 2))
    return Labelled(network, classes) if classes else network


def point_discriminator(
    inputs: int, width: int, dropout: float, classes: int = 0, deviation: int = 0
) -> nn.Module:
    """Build three maxout layers of ``width`` units: points (batch, inputs) → logits (batch, 1).

    Args:
        inputs: Coordinates of a point, or of a pack of points: 2 for each.
        width: Units of each hidden layer.
        dropout: Share of the hidden units that is dropped in training.
        classes: How many classes; 0: none are learned.
        deviation: The batch size, where the last layer sees the minibatch standard deviation; or 0.
    """
    layers = [layer for i in (inputs, width, width) for layer in (Maxout(i, width), nn.Dropout(dropout))]
    return _scored(layers, width, classes, deviation)


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
        # Not amax, which shares gradients out among equals and takes twice as long in a double backward.
        return pieces.max(2).values


def _scored(layers: Sequence[nn.Module], width: int, classes: int, deviation: int) -> nn.Module:
    """Put a discriminator's last layer behind the hidden ones, of which the last has ``width`` units."""
    if deviation:
        layers = [*layers, MinibatchStddev(deviation)]
    network = nn.Sequential(*layers, nn.Linear(width + bool(deviation), 1))
    return Projected(network, classes) if classes else network


def _linear(inputs: int, outputs: int, batch_norm: bool) -> list[nn.Module]:
    # Batch norm brings its own bias, and subtracts any other.
    linear = nn.Linear(inputs, outputs, bias=not batch_norm)
    return [linear, nn.BatchNorm1d(outputs)] if batch_norm else [linear]
