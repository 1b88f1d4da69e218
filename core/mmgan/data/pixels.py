"""One picture of any kind to one square of bytes."""

from __future__ import annotations

import contextlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps

Crop = Literal["center", "pad"]


def to_pixels(
    image: Image.Image, size: int, channels: int, crop: Crop = "center", background: str = "white"
) -> NDArray[np.uint8]:
    """Turn a picture upright, put it on a background, make it square, and scale it.

    16-bit and floating-point pictures are scaled to 8 bits, never clipped. Of an animation the first frame is
    taken.

    Args:
        image: Any picture that Pillow reads. May be changed in place.
        size: Side of the square.
        channels: 1 for grey, 3 for RGB.
        crop: ``"center"`` cuts the longer side off at both ends, ``"pad"`` fills the shorter one up.
        background: A colour, as Pillow names them, behind what is transparent and in what is filled up.

    Returns:
        uint8 (channels, size, size).

    Raises:
        Exception: Whatever Pillow raises on a damaged picture, which can be nearly anything.
    """
    # Of a JPEG, decode no more than is needed: twice the size leaves the resampling filter enough to work on.
    image.draft(None, (2 * size, 2 * size))
    return to_square(to_picture(image, channels, background), size, crop, background)


def to_picture(image: Image.Image, channels: int, background: str = "white") -> Image.Image:
    """Turn a picture upright, bring it to 8 bits, and put it on a background, at its own size.

    Args:
        image: Any picture that Pillow reads. May be changed in place.
        channels: 1 for grey, 3 for RGB.
        background: A colour, as Pillow names them, behind what is transparent.

    Returns:
        A loaded picture of mode L or RGB, which needs no file any more.

    Raises:
        Exception: Whatever Pillow raises on a damaged picture, which can be nearly anything.
    """
    image.load()
    # A torn EXIF block is no reason to lose a picture whose pixels are whole.
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return _opaque(_eight_bits(image), background).convert("L" if channels == 1 else "RGB")


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


def _opaque(image: Image.Image, background: str) -> Image.Image:
    """Compose what has transparency onto the background."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, background), image)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale modes I;16, I and F, which ``Image.convert`` would clip to 0..255, from their full range to L.

    Integers are taken for 16-bit ones, floats for fractions of 1, of 255 or of 65535: the least that holds
    them all. What lies outside of any such range is stretched from its own least to its greatest value.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("pixels that are NaN or infinite")
    low, high = values.min(), values.max()
    scales = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
    scale = next((scale for scale in scales if high <= scale), None)
    if low < 0 or scale is None:
        values, scale = values - low, max(high - low, 1e-12)
    return Image.fromarray(np.rint(values * (255.0 / scale)).astype(np.uint8))
