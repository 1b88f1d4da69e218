"""Pictures, read at other places: what every geometric change comes to.

Reading a picture at given places is linear in it, and so is the way back, which spreads gradients over the
picture. Each is the other's derivative; so both can be differentiated any number of times, which torch's own
``grid_sample`` can't.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mmgan.augment.wavelets import DOWN_MARGIN, down_matrix, up_matrix

#: torch's numbers for how values between pixels are found, and what is outside of a picture.
BILINEAR, NEAREST = 0, 1
ZEROS, REFLECTION = 0, 2


class _Read(torch.autograd.Function):
    """Pictures (B, C, H, W) read at places (B, h, w, 2)."""

    @staticmethod
    def forward(ctx: Any, pictures: Tensor, places: Tensor, mode: int, outside: int) -> Tensor:
        ctx.save_for_backward(places)
        ctx.how = mode, outside
        ctx.shape = pictures.shape
        return torch.grid_sampler_2d(pictures, places, mode, outside, False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (places,) = ctx.saved_tensors
        return _Spread.apply(gradients[0], places, ctx.shape, *ctx.how), None, None, None  # type: ignore[no-untyped-call]


class _Spread(torch.autograd.Function):
    """Values (B, C, h, w) spread over pictures of a shape (B, C, H, W), from where they were read."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, places: Tensor, shape: torch.Size, mode: int, outside: int
    ) -> Tensor:
        ctx.save_for_backward(places)
        ctx.how = mode, outside
        # Only the shape of the pictures counts where no gradient by the places is asked for.
        pictures = values.new_zeros(1).expand(shape)
        spread: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            values.contiguous(), pictures, places, mode, outside, False, [True, False]
        )[0]
        return spread

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (places,) = ctx.saved_tensors
        return _Read.apply(gradients[0], places, *ctx.how), None, None, None, None  # type: ignore[no-untyped-call]


def read(pictures: Tensor, places: Tensor, mode: int, outside: int) -> Tensor:
    """Read pictures at places: torch's ``grid_sample``, differentiable twice by the pictures.

    Args:
        pictures: (B, C, H, W).
        places: (B, h, w, 2), as :func:`places_of` gives them.
        mode: :data:`BILINEAR` or :data:`NEAREST`.
        outside: :data:`ZEROS`, or :data:`REFLECTION` at the pictures' edges.

    Returns:
        (B, C, h, w).
    """
    found: Tensor = _Read.apply(pictures, places, mode, outside)  # type: ignore[no-untyped-call]
    return found


def places_of(inverse: Tensor, size: tuple[int, int], source: tuple[int, int]) -> Tensor:
    """Return where each pixel of a changed picture comes from, in units of half the source's sides.

    Args:
        inverse: (B, 3, 3), from the places of the changed picture to those of the source: pixels from their
            centres, x to the right and y downwards.
        size: Height and width of the changed picture.
        source: Height and width of the source.

    Returns:
        (B, height, width, 2), x before y.
    """
    height, width = (
        torch.arange(n, device=inverse.device, dtype=inverse.dtype) - (n - 1) / 2 for n in size
    )
    x, y = (
        (row[:, 0:1] * width + row[:, 2:3])[:, None, :] + (row[:, 1:2] * height)[:, :, None]
        for row in (inverse[:, 0] * (2 / source[1]), inverse[:, 1] * (2 / source[0]))
    )
    return torch.stack((x, y), -1)


def moved(pictures: Tensor, inverse: Tensor, outside: int = REFLECTION) -> Tensor:
    """Move whole pixels of pictures: flips, turns by 90 degrees, shifts by whole pixels; nothing is blurred.

    Args:
        pictures: (B, C, H, W).
        inverse: (B, 3, 3), as for :func:`places_of`.
        outside: What comes in from outside.
    """
    size = (pictures.shape[2], pictures.shape[3])
    return read(pictures, places_of(inverse, size, size), NEAREST, outside)


def warped(pictures: Tensor, inverse: Tensor) -> Tensor:
    """Change the geometry of pictures by any affine map, without aliasing; outside they are mirrored.

    As in Karras et al. 2020 (appendix B): pictures are brought to twice their resolution by the orthogonal
    lowpass of the wavelet sym6, read there between pixels, and brought back by the same filter.

    Args:
        pictures: (B, C, H, W).
        inverse: (B, 3, 3), as for :func:`places_of`.
    """
    height, width = pictures.shape[2:]
    up, down = (
        [_matrix(kind, n, pictures.device, pictures.dtype) for n in (height, width)] for kind in ("up", "down")
    )
    fine = up[0] @ (pictures @ up[1].mT)
    # Distances double with the resolution; directions stay.
    doubled = torch.cat((inverse[:, :, :2], 2 * inverse[:, :, 2:]), 2)
    size = (2 * height + DOWN_MARGIN, 2 * width + DOWN_MARGIN)
    found = read(fine, places_of(doubled, size, (2 * height, 2 * width)), BILINEAR, REFLECTION)
    return down[0] @ (found @ down[1].mT)


@lru_cache(maxsize=64)
def _matrix(kind: str, n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    matrix = up_matrix(n) if kind == "up" else down_matrix(n)
    return torch.from_numpy(matrix).to(device, dtype)
