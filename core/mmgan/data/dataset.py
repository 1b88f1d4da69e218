"""Data sets: sets of examples that return whole batches, and the random numbers of each example."""

from __future__ import annotations

import functools
import hashlib
import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmgan.errors import PluginError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit integers (the finaliser of SplitMix64, Steele et al. 2014); arrays wrap silently."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Draw:
    """Random numbers for augmentation: a function of (seed, epoch, index, name) and of nothing else.

    So an example is augmented alike whatever the number of workers, the batch that it falls into, and
    wherever a run was stopped and resumed.

    Args:
        seed: The run's seed.
        epochs: How often each example was seen before, int64 (batch,).
        indices: Which example each one is, int64 (batch,).
    """

    def __init__(self, seed: int, epochs: Tensor, indices: Tensor) -> None:
        self._from = seed, epochs, indices

    @functools.cached_property
    def _key(self) -> NDArray[np.uint64]:
        """A number for each example; made when first needed, since many data sets draw nothing."""
        seed, epochs, indices = self._from
        key = _mix(np.full(len(indices), seed, dtype=np.uint64) + _GOLDEN)
        key = _mix(key + epochs.numpy().astype(np.uint64) * _GOLDEN)
        return _mix(key + indices.numpy().astype(np.uint64) * _GOLDEN)

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Draw from U[0, 1).

        Args:
            name: What the numbers are for. The same name gives the same numbers each time.
            shape: Shape of what is drawn for each example.

        Returns:
            float64 (batch, *shape).
        """
        word = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
        key = _mix(self._key ^ np.uint64(word))
        counter = np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * _GOLDEN
        bits = _mix(key[:, None] + counter)
        uniform = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return torch.from_numpy(uniform).reshape(len(key), *shape)

    def normal(self, name: str, *shape: int) -> Tensor:
        """Draw from N(0, 1), by the transform of Box and Muller (1958).

        Args:
            name: What the numbers are for. The same name gives the same numbers each time.
            shape: Shape of what is drawn for each example.

        Returns:
            float64 (batch, *shape).
        """
        radius, angle = self.uniform(name, 2, *shape).unbind(1)
        return (-2.0 * torch.log1p(-radius)).sqrt_() * torch.cos(2.0 * torch.pi * angle)


class Dataset(ABC):
    """A set of examples. Must be picklable, since worker processes get a copy of it."""

    #: One line about the data for people: counts, shapes, skipped files.
    description: str = ""
    #: Identifies the data by content, so that a resumed run detects other data; "" where that is unknown.
    fingerprint: str = ""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abstractmethod
    def batch(self, indices: Tensor, draw: Draw) -> Any:
        """Return the examples with these indices as one batch of CPU tensors (or a tuple or dict of them).

        Args:
            indices: int64 (batch,), each in [0, len(self)); the same index may occur twice.
            draw: The only randomness that augmentation may use.
        """

    def resize(self, size: int) -> None:
        """Give pictures of another size from the next batch on, for stages with a ``size`` (optional).

        Args:
            size: Side of the pictures in pixels, a divisor of the size of those that are stored; that size
                itself gives them as they are.

        Raises:
            PluginError: This data set can't, which is the default.
        """
        raise PluginError(
            f"{type(self).__name__} can't change the size of its pictures, and a stage has a `size`.",
            hint="Give the data set a method resize(size), or the stage no size.",
        )
