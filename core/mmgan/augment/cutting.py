"""Squares that are cut out of pictures."""

from __future__ import annotations

import torch
from torch import Tensor


def cut_out(pictures: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Set a rectangle of each picture to 0, which is grey; a part of it may be outside.

    Args:
        pictures: (B, C, H, W).
        top, bottom: The first row, and the first one below the rectangle, each (B,); any real numbers.
        left, right: The first column, and the first one beyond it.
    """
    height, width = pictures.shape[2:]
    inside = _between(height, top, bottom)[:, :, None] & _between(width, left, right)[:, None, :]
    return pictures.masked_fill(inside[:, None], 0)


def _between(n: int, first: Tensor, beyond: Tensor) -> Tensor:
    """Return which of n pixels are in a range, (B, n)."""
    pixel = torch.arange(n, device=first.device)
    return (pixel >= first[:, None]) & (pixel < beyond[:, None])
