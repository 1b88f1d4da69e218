"""Conversion of a picture of any kind to squares of 8-bit pixels."""

from __future__ import annotations

import contextlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps

from mmgan.data.image.deep_colours import LowBytes
from mmgan.data.image.depth import is_deep, strips, to_eight_bits
from mmgan.data.image.memory import check_size, fits

Crop = Literal["center", "pad"]

#: How many frames of an animation are looked at, where the first ones are of one colour.
_FRAMES = 16


def to_pixels(
    image: Image.Image, size: int, channels: int, crop: Crop = "center", background: str = "white"
) -> NDArray[np.uint8]:
    """Turn a picture upright, put it on a background, make it square, and scale it.

    Of an animation the first frame is taken that is not of one colour. What has more than 8 bits is scaled,
    see :mod:`mmgan.data.image.depth`.

    Args:
        image: Any picture that Pillow reads. May be changed in place.
        size: Side of the square.
        channels: 1 for grey, 3 for RGB.
        crop: ``"center"`` cuts the longer side off at both ends, ``"pad"`` fills the shorter one up.
        background: A colour, as Pillow names them, behind what is transparent and in what is filled up.

    Returns:
        uint8 (channels, size, size).

    Raises:
        ValueError: It is too large to be decoded in bounded memory.
        Exception: Whatever Pillow raises on a damaged picture, which can be nearly anything.
    """
    draft(image, size)
    return to_square(to_picture(image, channels, background), size, crop, background)


def draft(image: Image.Image, size: int) -> None:
    """Decode a JPEG no larger than is needed for squares of ``size``."""
    # Twice the size leaves the resampling filter enough to work on.
    image.draft(None, (2 * size, 2 * size))


def to_picture(image: Image.Image, channels: int, background: str = "white", bits: int = 0) -> Image.Image:
    """Turn a picture upright, bring it to 8 bits, and put it on a background, at its own size.

    Args:
        image: Any picture that Pillow reads. May be changed in place.
        channels: 1 for grey, 3 for RGB.
        background: A colour, as Pillow names them, behind what is transparent.
        bits: How many bits integers have at least, where there are more than 8.

    Returns:
        A loaded picture of mode L or RGB, which needs no file any more.

    Raises:
        ValueError: It is too large to be decoded in bounded memory.
        Exception: Whatever Pillow raises on a damaged picture, which can be nearly anything.
    """
    return decode(image, channels, background, bits)[0]


def decode(image: Image.Image, channels: int, background: str, bits: int) -> tuple[Image.Image, int]:
    """Do as :func:`to_picture`; return also the depth that integers need, 0 where there are 8 bits."""
    check_size(image, channels)
    low = LowBytes.of(image)
    image.load()
    needed = low.use(image, bits) if low else 0
    _seek_first_picture(image)
    # A torn EXIF block must not lose a picture whose pixels are whole.
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    if is_deep(image):
        image, needed = to_eight_bits(image, bits)
    mode = "L" if channels == 1 else "RGB"
    if image.has_transparency_data:
        return _opaque(image, mode, background), needed
    return (image if image.mode == mode else image.convert(mode)), needed


def to_square(
    picture: Image.Image, size: int, crop: Crop = "center", background: str = "white"
) -> NDArray[np.uint8]:
    """Make a picture square and scale it.

    Args:
        picture: Of mode L or RGB, as :func:`to_picture` gives it.
        size: Side of the square.
        crop: As for :func:`to_pixels`.
        background: The colour of what is filled up.

    Returns:
        uint8 (channels, size, size).
    """
    # Lanczos is the sharpest filter for shrinking, but rings around the edges of what it enlarges.
    grows = (min if crop == "center" else max)(picture.size) < size
    method = Image.Resampling.BICUBIC if grows else Image.Resampling.LANCZOS
    if crop == "center":
        picture = ImageOps.fit(picture, (size, size), method)
    else:
        filling = ImageColor.getcolor(background, picture.mode)
        picture = ImageOps.pad(picture, (size, size), method, color=filling)
    return np.array(picture, dtype=np.uint8).reshape(size, size, -1).transpose(2, 0, 1)


def _seek_first_picture(image: Image.Image) -> None:
    """Of an animation that fades in, go to the first frame that is not of one colour."""
    if image.format not in ("GIF", "PNG", "WEBP", "AVIF") or not _is_flat(image):
        return
    frames = min(getattr(image, "n_frames", 1), _FRAMES)
    # A frame is composed from the one before, in RGBA: what is too large for that keeps its first frame.
    if frames > 1 and fits(16 * image.width * image.height):
        for frame in range(1, frames):
            image.seek(frame)
            if not _is_flat(image):
                return
        image.seek(0)
        image.load()


def _is_flat(image: Image.Image) -> bool:
    extrema = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(low == high for low, high in bands)


def _opaque(image: Image.Image, mode: str, background: str) -> Image.Image:
    """Compose what has transparency onto the background, a strip at a time: whole copies would take much."""
    picture = Image.new(mode, image.size)
    for strip, corner in strips(image):
        strip = strip.convert("RGBA")
        below = Image.new("RGBA", strip.size, background)
        picture.paste(Image.alpha_composite(below, strip).convert(mode), corner)
    return picture
