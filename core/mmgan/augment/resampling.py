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

from mmgan.augment.base import where_made
from mmgan.augment.wavelets import DOWN_MARGIN, LAG, down_matrix, up_matrix

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
        return _Spread.apply(gradients[0], places, ctx.shape, *ctx.how), None, None, None


class _Spread(torch.autograd.Function):
    """Values (B, C, h, w) spread over pictures of a shape (B, C, H, W), from where they were read."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, places: Tensor, shape: torch.Size, mode: int, outside: int
    ) -> Tensor:
        ctx.save_for_backward(places)
        ctx.how = mode, outside
        device = values.device
        if device.type != "cpu" and torch.are_deterministic_algorithms_enabled():
            # A GPU adds in any order, which torch refuses where a run is to repeat to the byte.
            values, places = values.cpu(), places.cpu()
        # Only the shape of the pictures counts where no gradient by the places is asked for.
        pictures = values.new_zeros(1).expand(shape)
        spread: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            values.contiguous(), pictures, places, mode, outside, False, [True, False]
        )[0]
        return spread.to(device)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (places,) = ctx.saved_tensors
        return _Read.apply(gradients[0], places, *ctx.how), None, None, None, None


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
    found: Tensor = _Read.apply(pictures, places, mode, outside)
    return found


def places_of(inverse: Tensor, size: tuple[int, int], source: tuple[int, int]) -> Tensor:
    """Return where each pixel of a changed picture comes from, in units of half the source's sides.

    Args:
        inverse: (B, 2 or 3, 3), from the places of the changed picture to those of the source: pixels from
            their centres, x to the right and y downwards.
        size: Height and width of the changed picture.
        source: Height and width of the source.

    Returns:
        (B, height, width, 2), x before y.
    """
    height, width = (torch.arange(n, device=inverse.device, dtype=inverse.dtype) - (n - 1) / 2 for n in size)
    places = inverse.new_empty(len(inverse), *size, 2)
    for axis, row in enumerate((inverse[:, 0] * (2 / source[1]), inverse[:, 1] * (2 / source[0]))):
        along = (row[:, 0:1] * width + row[:, 2:3])[:, None, :]
        torch.add(along, (row[:, 1:2] * height)[:, :, None], out=places[..., axis])
    return places


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
    if pictures.device.type != "cpu":
        return _anyhow(pictures, inverse)
    # Most are only stretched and shifted, each side for itself: that is several times as fast.
    turned = (inverse[:, 0, 1] != 0) | (inverse[:, 1, 0] != 0)
    return where_made(turned, where_made(~turned, pictures, _straight, inverse), _anyhow, inverse)


def along_sides(pictures: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Change the sides of pictures (B, C, H, W) by matrices (h, H) and (w, W), or by one for each picture.

    Returns:
        (B, C, h, w).
    """
    if rows.dim() == 3:
        rows, columns = rows[:, None], columns[:, None]
    return rows @ (pictures @ columns.mT)


def _anyhow(pictures: Tensor, inverse: Tensor) -> Tensor:
    """Change the geometry of pictures whatever the map is, by reading them at places."""
    height, width = pictures.shape[2:]
    fine = along_sides(pictures, *(_up(n, pictures.device, pictures.dtype) for n in (height, width)))
    size = (2 * height + DOWN_MARGIN, 2 * width + DOWN_MARGIN)
    # Distances double with the resolution, and places are seen where the filter has shifted them to.
    lag = LAG * (torch.ones_like(inverse[:, :2, 0]) - inverse[:, :2, :2].sum(2))
    doubled = torch.cat((inverse[:, :2, :2], (2 * inverse[:, :2, 2] + lag)[:, :, None]), 2)
    found = read(fine, places_of(doubled, size, (2 * height, 2 * width)), BILINEAR, REFLECTION)
    return along_sides(found, *(_down(n, pictures.device, pictures.dtype) for n in (height, width)))


def _straight(pictures: Tensor, inverse: Tensor) -> Tensor:
    """Do what :func:`_anyhow` does where nothing is turned: all three steps along a side are one matrix."""
    columns, rows = (
        _side(inverse[:, axis, axis], inverse[:, axis, 2], n)
        for axis, n in enumerate((pictures.shape[3], pictures.shape[2]))
    )
    return along_sides(pictures, rows, columns)


def _side(scale: Tensor, offset: Tensor, n: int) -> Tensor:
    """Return matrices (B, n, n) that change a side, given the inverse's scale and offset, each (B,)."""
    kind = scale.device, scale.dtype
    wide = 2 * n + DOWN_MARGIN
    pixel = torch.arange(wide, device=scale.device, dtype=scale.dtype) - (wide - 1) / 2
    place = scale[:, None] * (pixel - LAG) + LAG + 2 * offset[:, None] + n
    # Mirrored at both edges.
    place = (place.abs() % (4 * n) - 2 * n).abs().neg() + 2 * n - 0.5
    place = place.clamp(0, 2 * n - 1)
    fine = torch.arange(2 * n, device=scale.device, dtype=scale.dtype)
    between = (1 - (place[:, :, None] - fine).abs()).relu()
    return _down(n, *kind) @ between @ _up(n, *kind)


@lru_cache(maxsize=64)
def _up(n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(up_matrix(n)).to(device, dtype)


@lru_cache(maxsize=64)
def _down(n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(down_matrix(n)).to(device, dtype)
