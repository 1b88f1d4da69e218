"""Pictures as samples."""

from __future__ import annotations

import copy
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmgan.samples.base import Samples
from mmgan.storage.files import fresh

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

#: Most pictures in a grid, and most pixels of them: a larger one helps nobody, and takes much memory.
MOST_PICTURES, MOST_PIXELS = 1_024, 2**25
#: Most pictures in a row of a class's own.
MOST_COLUMNS = 32

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class ImageSamples(Samples):
    """Pictures.

    Args:
        images: (n, 1 or 3, height, width), values in [-1, 1]; values outside are clipped. Or bytes (uint8),
            which take a quarter of the memory.
        columns: Pictures in a row of the grid; by default the grid is about square.
    """

    suffix = ".png"

    def __init__(self, images: Tensor, columns: int | None = None) -> None:
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"images must be (n, 1 or 3, height, width), not {tuple(images.shape)}")
        self.images = images.detach().cpu()
        if images.dtype != torch.uint8:
            self.images = self.images.float().clamp(-1, 1)
        self._asked_columns = columns
        self.columns = columns or self._square()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shown(self) -> int:
        """At most 1,024 pictures, and no more than have 2^25 pixels in all."""
        return min(len(self), self._most)

    @property
    def _most(self) -> int:
        height, width = self.images.shape[2:]
        return min(MOST_PICTURES, max(1, MOST_PIXELS // max(1, height * width)))

    def with_more(self, more: Samples) -> ImageSamples:
        """Return these pictures and the first of ``more``, as uint8, up to the limit of :attr:`shown`."""
        assert isinstance(more, ImageSamples)
        room = self._most - len(self)
        if room <= 0:
            return self
        both = copy.copy(self)
        both.images = torch.cat([_bytes(self.images), _bytes(more.images[:room])])
        both.columns = self._asked_columns or both._square()
        both.labels = self.labels_with(more, room)
        return both

    def _square(self) -> int:
        side: int = round(self.shown**0.5)
        return max(1, side)

    def to_uint8(self) -> Pixels:
        """Return the pictures as uint8 (n, height, width, channels), [-1, 1] mapped to [0, 255]."""
        return _bytes(self.images).permute(0, 2, 3, 1).numpy()

    def grid(self) -> Image.Image:
        """Return the first :attr:`shown` pictures as one: row by row, two white pixels between them. Where
        they are of several classes, each class begins a row of its own, unless none has a second picture.
        """
        pixels = self.to_uint8()[: self.shown]
        classes = [len(list(same)) for _, same in groupby(self.labels[: self.shown])] if self.labels else []
        if len(classes) < 2 or max(classes) == 1:
            return _grid(pixels, self.columns)
        columns = min(max(classes), MOST_COLUMNS)
        rows = [row for part in np.split(pixels, np.cumsum(classes)[:-1]) for row in _rows(part, columns)]
        return _grid(np.concatenate(rows), columns)

    def save(self, path: Path) -> None:
        """Write the grid to ``path`` as PNG."""
        self.grid().save(path, format="PNG")

    def save_each(self, folder: Path) -> list[Path]:
        """Write ``0000.png``, ``0001.png``, … into ``folder``, and return their paths."""
        paths = [folder / f"{number}.png" for number in self.numbers()]
        for path, pixels in zip(paths, self.to_uint8(), strict=True):
            with fresh(path) as partial:
                _picture(pixels).save(partial, format="PNG")
        return paths

    def save_walk(self, folder: Path) -> list[Path]:
        """Write ``walk.png``, the pictures side by side, and ``walk.gif``, a loop there and back."""
        pixels = self.to_uint8()
        strip, animation = folder / "walk.png", folder / "walk.gif"
        with fresh(strip) as partial:
            _grid(pixels, len(self)).save(partial, format="PNG")
        frames = [_picture(p) for p in (*pixels, *pixels[-2:0:-1])]
        with fresh(animation) as partial:
            frames[0].save(partial, save_all=True, append_images=frames[1:], duration=60, loop=0)
        return [strip, animation]

    def to_tensorboard(self, writer: SummaryWriter, tag: str, step: int) -> None:
        """Show the grid."""
        grid = self.grid()
        writer.add_image(tag, np.asarray(grid), step, dataformats="HW" if grid.mode == "L" else "HWC")


def _bytes(images: Tensor) -> Tensor:
    return images if images.dtype == torch.uint8 else ((images + 1) * 127.5).round().to(torch.uint8)


def _picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _rows(pixels: Pixels, columns: int) -> list[Pixels]:
    """Cut pictures into rows, the last one filled up with white."""
    white = np.full((-len(pixels) % columns, *pixels.shape[1:]), 255, dtype=np.uint8)
    return np.split(filled := np.concatenate([pixels, white]), len(filled) // columns)


def _grid(pixels: Pixels, columns: int, gap: int = 2) -> Image.Image:
    count, height, width, channels = pixels.shape
    rows = -(-count // columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, channels)
    canvas = np.full(shape, 255, dtype=np.uint8)
    for number, picture in enumerate(pixels):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return _picture(canvas)
