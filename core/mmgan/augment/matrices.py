"""Affine maps of the plane, (batch, 3, 3), from a number for each picture."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor


def translation(x: Tensor, y: Tensor) -> Tensor:
    """Return shifts by (x, y) pixels, each (batch,)."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return _rows((one, zero, x), (zero, one, y), (zero, zero, one))


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Return stretches by the factors (x, y), each (batch,)."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return _rows((x, zero, zero), (zero, y, zero), (zero, zero, one))


def rotation(cosine: Tensor, sine: Tensor) -> Tensor:
    """Return rotations by the angle with this cosine and sine, each (batch,): from x towards y, clockwise."""
    one, zero = torch.ones_like(cosine), torch.zeros_like(cosine)
    return _rows((cosine, -sine, zero), (sine, cosine, zero), (zero, zero, one))


def product(*matrices: Tensor) -> Tensor:
    """Return the product of matrices (batch, n, n), term by term: a GPU's TF32 would round it."""
    return reduce(lambda left, right: (left[:, :, :, None] * right[:, None, :, :]).sum(2), matrices)


def _rows(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return torch.stack([torch.stack(row, -1) for row in rows], 1)
