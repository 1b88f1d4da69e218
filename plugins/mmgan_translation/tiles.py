"""A function on small pictures, applied to a picture of any size.

The picture is padded to a size that the function takes. If that is larger than a tile, the function is
applied to overlapping tiles, and its results are blended: towards its border each fades out linearly, as fast
as its neighbour fades in. At the very border, where the function lacks context, its weight is 0. Only one row
of tiles along the shorter side is in floating point at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8]


def apply(
    function: Callable[[Tensor], Tensor], pixels: Pixels, multiple: int, tile: int, scale: int = 1
) -> Pixels:
    """Apply a function to a picture of any size.

    Args:
        function: From float32 (1, planes, h, w) in [-1, 1], h and w multiples of ``multiple`` and at most
            ``tile``, to (1, channels, scale * h, scale * w) in [-1, 1]; values outside are clipped.
        pixels: (height, width, planes).
        multiple: The sides must be multiples of this.
        tile: The longest side, at least ``2 * multiple`` and a multiple of it.
        scale: How many times larger the function's results are.

    Returns:
        (scale * height, scale * width, channels).
    """
    height, width = pixels.shape[:2]
    if width > height:
        # Rows of tiles run along the shorter side: a wide picture needs no more memory than a tall one.
        turned = apply(
            lambda inputs: function(inputs.mT.contiguous()).mT, pixels.swapaxes(0, 1), multiple, tile, scale
        )
        return turned.swapaxes(0, 1)
    padded, top, left = pad(pixels, multiple)
    rows, columns = (Axis(length, multiple, tile) for length in padded.shape[:2])

    def row_of_tiles(y: int) -> Tensor:
        row = (function(_to_float(padded[y : y + rows.side, x : x + columns.side])) for x in columns.starts)
        return torch.cat(list(columns.blend(row, scale)), -1)

    bands = rows.blend((row_of_tiles(y).mT for y in rows.starts), scale)
    result = np.concatenate([_to_bytes(band.mT) for band in bands])
    return result[scale * top : scale * (top + height), scale * left : scale * (left + width)]


def pad(pixels: Pixels, multiple: int) -> tuple[Pixels, int, int]:
    """Pad a picture on all sides to multiples: by reflection, or by its edge if it is too small.

    Returns:
        The padded picture, and how much of it is padding at the top and at the left.
    """
    before = []
    for axis, length in enumerate(pixels.shape[:2]):
        missing = -length % multiple
        before.append(missing // 2)
        widths = [(0, 0)] * 3
        widths[axis] = (missing // 2, missing - missing // 2)
        if missing:
            pixels = np.pad(pixels, widths, "reflect" if max(widths[axis]) < length else "edge")
    return pixels, before[0], before[1]


class Axis:
    """The division of one side of a padded picture into tiles.

    Args:
        length: The side, a multiple of ``multiple``.
        multiple: The tiles' starts and sides are multiples of this.
        tile: The longest side of a tile, at least ``2 * multiple`` and a multiple of it.
    """

    def __init__(self, length: int, multiple: int, tile: int) -> None:
        self.length = length
        #: The side of each tile.
        self.side = min(length, tile)
        overlap = -(-self.side // (4 * multiple)) * multiple
        # Less than half of the overlap, so that each place has weight in some tile.
        self._margin = overlap // 4
        slack = length - self.side
        gaps = -(-slack // max(self.side - overlap, 1))
        #: The tiles' starts: evenly spread, each overlapping the next by at least a quarter.
        self.starts = [slack // multiple * i // max(gaps, 1) * multiple for i in range(gaps + 1)]

    def weights(self, scale: int = 1) -> Tensor:
        """Return the tiles' weights, float32 (tiles, scale * side), which sum to 1 at each place."""
        ramp = (torch.arange(self.side * scale) + 0.5 - self._margin * scale).clamp(min=0)
        tents = torch.full((len(self.starts), self.side * scale), float(self.length * scale))
        # At the picture's own border there is no neighbour.
        tents[1:] = tents[1:].minimum(ramp)
        tents[:-1] = tents[:-1].minimum(ramp.flip(0))
        total = torch.zeros(self.length * scale)
        spans = [slice(start * scale, (start + self.side) * scale) for start in self.starts]
        for span, tent in zip(spans, tents, strict=True):
            total[span] += tent
        return torch.stack([tent / total[span] for span, tent in zip(spans, tents, strict=True)])

    def blend(self, tiles: Iterable[Tensor], scale: int = 1) -> Iterator[Tensor]:
        """Blend tiles, (…, scale * side) each, and yield the finished part after each one: (…, any)."""
        ends = [*self.starts[1:], self.length]
        carried: Tensor | None = None
        for tile, weights, start, end in zip(tiles, self.weights(scale), self.starts, ends, strict=True):
            blended = tile * weights
            if carried is not None:
                blended[..., : carried.shape[-1]] += carried
            finished = (end - start) * scale
            # A copy, since a view would keep the finished part in memory.
            carried = blended[..., finished:].clone()
            yield blended[..., :finished]


def _to_float(pixels: Pixels) -> Tensor:
    values = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    return (values[None].float() / 127.5).sub_(1)


def _to_bytes(images: Tensor) -> Pixels:
    return ((images[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
