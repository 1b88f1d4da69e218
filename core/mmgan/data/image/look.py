"""The squares that are cut from a picture: their sizes, channels and crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmgan.data.image.pixels import Crop, decode, draft, to_square


@dataclass(frozen=True)
class Look:
    """What squares are made of a picture.

    Args:
        sizes: Their sides, in pixels. Without any the whole picture is wanted, as it is.
        channels: 1 for grey, 3 for RGB.
        crop: As for :func:`~mmgan.data.image.pixels.to_pixels`.
        background: Likewise.
        halves: Whether a picture is two of one size, side by side.
        exact: Whether the size of a JPEG must be its own, and not that of a draft. So it must be for halves.
    """

    sizes: tuple[int, ...]
    channels: int
    crop: Crop = "center"
    background: str = "white"
    halves: bool = False
    exact: bool = False


@dataclass(frozen=True)
class Squares:
    """What became of a picture.

    Args:
        size: Its width and height before it was cut. Those of a JPEG may be smaller than they were.
        bits: The depth that its integers need, 0 where it has 8 bits or no integers.
        pixels: uint8, for each size and for each half an array (channels, size, size); or one of the whole
            picture (height, width, channels).
    """

    size: tuple[int, int]
    bits: int
    pixels: list[NDArray[np.uint8]]


def to_squares(image: Image.Image, look: Look, bits: int = 0) -> Squares:
    """Decode a picture here, and make squares of it.

    Args:
        image: Any picture that Pillow reads. May be changed in place.
        look: Which squares.
        bits: How many bits integers have at least, where there are more than 8.

    Raises:
        ValueError: It is too large, or not two pictures side by side.
        Exception: Whatever Pillow raises on a damaged picture.
    """
    draft_for(image, look)
    picture, needed = decode(image, look.channels, look.background, bits)
    if not look.sizes:
        return Squares(picture.size, needed, [np.asarray(picture).reshape(*picture.size[::-1], -1)])
    parts = _halves(picture) if look.halves else [picture]
    pixels = [to_square(part, size, look.crop, look.background) for size in look.sizes for part in parts]
    return Squares(picture.size, needed, pixels)


def draft_for(image: Image.Image, look: Look) -> None:
    """Decode a JPEG at a smaller size where that suffices."""
    if look.sizes and not look.exact:
        draft(image, max(look.sizes))


def _halves(picture: Image.Image) -> list[Image.Image]:
    width, height = picture.size
    if width <= height or width % 2:
        why = "as wide as high, or less" if width <= height else "of odd width"
        raise ValueError(f"no two pictures side by side: {width}x{height} is {why}")
    return [picture.crop((0, 0, width // 2, height)), picture.crop((width // 2, 0, width, height))]
