"""The memory that decoding a picture takes, computed from its header before any is allocated."""

from __future__ import annotations

import os
from typing import IO, Any

from PIL import Image

from mmgan.data.image.deep_colours import is_deep_colour

#: The most that one picture may take, in bytes: 62 million pixels in colour, 250 million in grey.
MOST = 500_000_000

#: Bytes that Pillow keeps for a pixel; 4 in all other modes.
_KEPT = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
#: Bytes for a pixel that decoders need in all, the picture included: measured, and rounded up.
_DECODERS = {"WEBP": 16.5, "AVIF": 16.5}
#: Formats whose decoders hold the picture once and a few rows.
_ROW_BY_ROW = {"PNG", "GIF", "BMP", "DIB", "PPM", "TGA", "PCX", "JPEG", "MPO"}
#: The most pixels of an icon.
_ICON = 4_000_000
#: Tags of TIFF.
_BITS, _ROWS, _TILE_WIDTH, _TILE_HEIGHT = 258, 278, 322, 323


def memory_needed(image: Image.Image, channels: int) -> int:
    """Return how many bytes it takes to decode a picture, turn it upright and bring it to L or RGB.

    Args:
        image: As opened, and drafted if it will be.
        channels: 1 or 3, of the result.
    """
    # 16 bits in colour may take a second look, see deep_colours.
    kept = 8 if is_deep_colour(image) else _KEPT.get(image.mode, 4)
    result = 1 if channels == 1 else 4
    # While it is turned, and then while it is converted, there are two.
    return int(image.width * image.height * max(_to_decode(image, kept), kept + max(kept, result)))


def is_known(image: Image.Image) -> bool:
    """Whether :func:`memory_needed` can be relied on, whatever a hostile file holds.

    Icons may hold larger pictures than they say, JPEG 2000 may be cut into any number of pieces, and rare
    formats are not looked into.
    """
    return image.format in _ROW_BY_ROW | {None, "TIFF", *_DECODERS}


def fits(needed: int) -> bool:
    """Whether ``needed`` bytes are at most what one picture may take."""
    return needed <= MOST


def check_size(image: Image.Image, channels: int) -> None:
    """Refuse a picture that is too large.

    Raises:
        DecompressionBombError: It has more pixels than Pillow allows (``Image.MAX_IMAGE_PIXELS``).
        ValueError: It takes more than :data:`MOST` bytes to decode.
    """
    pixels = image.width * image.height
    if Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"{pixels} pixels")
    needed = memory_needed(image, channels)
    if not fits(needed):
        # Of a JPEG that was drafted, its own size.
        shrunk = _shrunk(image)
        most = MOST * pixels * shrunk**2 // needed
        kind = f" in {image.format} of mode {image.mode}" if image.format else ""
        size = f"{image.width * shrunk}x{image.height * shrunk}"
        raise ValueError(f"too large: {size} pixels, at most {most:,}{kind}")


def check_icons(file: IO[bytes]) -> None:
    """Refuse a file of icons (ICO, CUR) with one that is too large: Pillow decodes icons when it opens them.

    Args:
        file: Any file, at its beginning; it is left there.

    Raises:
        ValueError: It has more than 4 million pixels. Icons have up to 256x256.
    """
    header = file.read(6)
    if header[:4] in (b"\0\0\1\0", b"\0\0\2\0"):
        entries = file.read(16 * int.from_bytes(header[4:6], "little"))
        for start in range(12, len(entries) - 3, 16):
            file.seek(int.from_bytes(entries[start : start + 4], "little"))
            icon = file.read(24)
            if icon.startswith(b"\x89PNG"):
                width, height = (int.from_bytes(icon[place : place + 4], "big") for place in (16, 20))
            else:  # BMP, which counts its mask as lines
                width, height = (
                    abs(int.from_bytes(icon[place : place + 4], "little", signed=True)) for place in (4, 8)
                )
            if width * height > _ICON:
                raise ValueError(f"too large: an icon of {width}x{height} pixels, at most {_ICON:,}")
    file.seek(0)


def _to_decode(image: Image.Image, kept: int) -> float:
    """Return the bytes for a pixel that the decoder needs, the picture included."""
    if image.format in ("JPEG", "MPO"):
        return kept + (_coefficients(image) if getattr(image, "tile", None) else 0)
    if image.format == "JPEG2000":
        # 32 bits for each sample, and the picture.
        return 5 * len(image.getbands()) + 5 if kept == 4 else 9
    if image.format is None or image.format in _ROW_BY_ROW:
        return kept
    if image.format == "TIFF":
        return kept + _strip(image)
    # Decoders in Python collect all before they hand it over.
    return _DECODERS.get(image.format, 2.5 * kept)


def _strip(image: Any) -> float:
    """Return what the strip or tile that a TIFF is read by needs: bytes for a pixel of the picture."""
    tags = image.tag_v2
    width, height = image.size
    if _TILE_WIDTH in tags:
        width, rows = int(tags[_TILE_WIDTH]), int(tags.get(_TILE_HEIGHT, height))
    else:
        rows = min(height, int(tags.get(_ROWS, height)))
    bytes_ = max(sum(tags.get(_BITS, (8,))) / 8, 4)
    return float(width * rows * bytes_ / (image.width * image.height))


def _coefficients(image: Any) -> float:
    """Return what a JPEG of several scans needs, whose coefficients are all kept: bytes for a drafted pixel.

    They are those of the whole picture, however small the draft is.
    """
    if not image.info.get("progressive") and _has_one_scan(image):
        return 0.0
    widest = max(h for _, h, _, _ in image.layer) * max(v for _, _, v, _ in image.layer)
    samples = sum(h * v / widest for _, h, v, _ in image.layer)
    return float(2 * samples * _shrunk(image) ** 2)


def _shrunk(image: Any) -> int:
    """Return how many times smaller than itself a JPEG is drafted; 1 for all else."""
    config = getattr(image, "decoderconfig", ())
    return int(config[0]) if image.format in ("JPEG", "MPO") and config else 1


def _has_one_scan(image: Any) -> bool:
    """Whether the first scan has all components. Pillow has read up to its end."""
    length = 6 + 2 * image.layers
    place = image.fp.tell()
    image.fp.seek(max(0, place - length - 2))
    header = image.fp.read(length + 2)
    image.fp.seek(place, os.SEEK_SET)
    return bool(header[:2] == b"\xff\xda" and len(header) > 4 and header[4] == image.layers)
