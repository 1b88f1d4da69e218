"""Filters of ADA's pipe, as matrices along one side of a picture: those of the wavelets sym6 and sym2.

A picture's side is short and its edges are mirrored: a filter along it is a matrix, mirrored edges included,
and a matrix product is fast everywhere and can be differentiated any number of times.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

#: The lowpass of the symlet with six vanishing moments (Daubechies 1992): orthonormal, nearly symmetric.
SYM6: Array = np.array(
    [
        *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
        *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
        *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
    ]
)
#: The lowpass of the symlet with two vanishing moments: (1 ∓ √3, 3 ∓ √3, 3 ± √3, 1 ± √3) / 4√2.
SYM2: Array = np.array([1 - 3**0.5, 3 - 3**0.5, 3 + 3**0.5, 1 + 3**0.5]) / (4 * 2**0.5)

#: Where the middle of sym6 is, in pixels of the doubled resolution to the right of the middle of its taps: by
#: so much it shifts a picture, until it is brought back.
LAG = float(SYM6 @ np.arange(len(SYM6)) / SYM6.sum()) - (len(SYM6) - 1) / 2
#: How many more pixels than twice a side a picture must have before it is brought back to the side.
DOWN_MARGIN = len(SYM6) - 2


def mirrored(index: int, n: int) -> int:
    """Return which of a side's ``n`` pixels is seen at any place: c b a | a b c | c b a."""
    index %= 2 * n
    return index if index < n else 2 * n - 1 - index


def up_matrix(n: int) -> Array:
    """Return the matrix (2n, n) that doubles the resolution of a side, by the filter sym6."""
    matrix = np.zeros((2 * n, n))
    before = len(SYM6) // 2 - 1
    for row in range(2 * n):
        for pixel in range((row - len(SYM6)) // 2, row // 2 + len(SYM6)):
            tap = row - 2 * pixel + before
            if 0 <= tap < len(SYM6):
                matrix[row, mirrored(pixel, n)] += SYM6[tap] * 2**0.5
    return matrix


def down_matrix(n: int) -> Array:
    """Return the matrix (n, 2n + :data:`DOWN_MARGIN`) that undoes :func:`up_matrix`, given a margin."""
    matrix = np.zeros((n, 2 * n + DOWN_MARGIN))
    for row in range(n):
        matrix[row, 2 * row : 2 * row + len(SYM6)] = SYM6 / 2**0.5
    return matrix


@lru_cache(maxsize=64)
def band_matrices(n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return four matrices (4, n, n) that divide a side's frequencies into octaves, lowest first.

    They are [0, π/8], [π/8, π/4], [π/4, π/2] and [π/2, π], by filters without phase from sym2; their sum is
    the identity.
    """
    low = np.convolve(SYM2, SYM2[::-1]) / 2
    high = -low
    high[len(SYM2) - 1] += 1
    lows, bands = np.ones(1), []
    for octave in range(3):
        bands.append(np.convolve(lows, _stretched(high, 2**octave)))
        lows = np.convolve(lows, _stretched(low, 2**octave))
    filters = [lows, *reversed(bands)]
    return torch.from_numpy(np.stack([_along(taps, n) for taps in filters])).to(device, dtype)


def _stretched(taps: Array, times: int) -> Array:
    """Put zeros between a filter's taps."""
    wide = np.zeros((len(taps) - 1) * times + 1)
    wide[::times] = taps
    return wide


def _along(taps: Array, n: int) -> Array:
    """Return a filter of odd length along a side of ``n`` as a matrix (n, n)."""
    matrix = np.zeros((n, n))
    for row in range(n):
        for tap, value in enumerate(taps, -(len(taps) // 2)):
            matrix[row, mirrored(row + tap, n)] += value
    return matrix
