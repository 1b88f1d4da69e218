"""Pixels as numbers that a network takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def shrunk(pixels: NDArray[np.uint8], size: int) -> NDArray[Any]:
    """Average square blocks of pictures: float32 (…, size, size), or the bytes as they are.

    Args:
        pixels: (…, side, side); ``size`` divides the side.
        size: Pixels a side.
    """
    side = pixels.shape[-1]
    if side == size:
        return pixels
    blocks = pixels.reshape(*pixels.shape[:-2], size, side // size, size, side // size)
    average: NDArray[np.float32] = blocks.mean((-3, -1), dtype=np.float32)
    return average


def to_float(pixels: NDArray[Any]) -> Tensor:
    """Scale 0 to 255, bytes or averages of them, to float32 in [-1, 1], of the same shape.

    NumPy's one thread takes 0.1 ms, and needn't wait for a core that others use.
    """
    values = np.divide(pixels, np.float32(127.5), dtype=np.float32)
    return torch.from_numpy(np.subtract(values, np.float32(1.0), out=values))
