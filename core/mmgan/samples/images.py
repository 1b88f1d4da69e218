"""Pictures as samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmgan.samples.base import Samples

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class ImageSamples(Samples):
    """Pictures.

    Args:
        images: (n, 1 or 3, height, width), values in [-1, 1]; values outside are clipped.
        columns: Pictures in a row of the grid; by default the grid is about square.
    """

    suffix = ".png"

    def __init__(self, images: Tensor, columns: int | None = None) -> None:
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"images must be (n, 1 or 3, height, width), not {tuple(images.shape)}")
        self.images = images.detach().float().cpu().clamp(-1, 1)
        self.columns = columns or max(1, round(len(images) ** 0.5))

    def __len__(self) -> int:
        return len(self.images)

    def to_uint8(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return the pictures as bytes, (n, height, width, channels)."""
        return ((self.images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()

    def grid(self) -> Image.Image:
        """Return all pictures in one, row by row, two pixels apart."""
        return _grid(self.to_uint8(), self.columns)

    def save(self, path: Path) -> None:
        """Write the grid as PNG."""
        self.grid().save(path, format="PNG")

    def save_each(self, folder: Path) -> list[Path]:
        """Write ``0000.png``, ``0001.png``, …."""
        paths = [folder / f"{number:04d}.png" for number in range(len(self))]
        for path, pixels in zip(paths, self.to_uint8(), strict=True):
            _picture(pixels).save(path, format="PNG")
        return paths

    def save_walk(self, folder: Path) -> list[Path]:
        """Write ``walk.png``, the pictures side by side, and ``walk.gif``, one by one, there and back."""
        pixels = self.to_uint8()
        strip, animation = folder / "walk.png", folder / "walk.gif"
        _grid(pixels, len(self)).save(strip, format="PNG")
        frames = [_picture(p) for p in (*pixels, *pixels[-2:0:-1])]
        frames[0].save(animation, save_all=True, append_images=frames[1:], duration=60, loop=0)
        return [strip, animation]

    def to_tensorboard(self, writer: SummaryWriter, tag: str, step: int) -> None:
        """Show the grid."""
        grid = self.grid()
        writer.add_image(tag, np.asarray(grid), step, dataformats="HW" if grid.mode == "L" else "HWC")


def _picture(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _grid(pixels: np.ndarray[Any, np.dtype[np.uint8]], columns: int, gap: int = 2) -> Image.Image:
    count, height, width, channels = pixels.shape
    rows = -(-count // columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, channels)
    canvas = np.full(shape, 255, dtype=np.uint8)
    for number, picture in enumerate(pixels):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return _picture(canvas)
