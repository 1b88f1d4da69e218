"""Pictures of more than 8 bits: their depth, and so the value of white.

A file of 16 bits often holds fewer: X-rays have 12, sensors 10 to 14. Nothing in the file says so, and taken
for 16 bits such a picture is black. So white is the greatest value of the least usual depth that holds all of
a picture's values. By that rule alone a dark frame among 12-bit pictures would come out bright: what nearly
all deep pictures of a folder need, each of them has at least (:class:`UsualBits`).
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: The depths that cameras, scanners and detectors have.
_DEPTHS = (8, 10, 12, 14, 16)
#: A filter that sharpens or scales goes beyond the range of its input by about this part.
_OVERSHOOT = 0.02
#: Fractions above 1 up to here are taken for light that is brighter than white, not for parts of 255.
_BRIGHT = 16.0
#: How many pixels are converted at once, where a step needs copies.
_STRIP = 1 << 18
#: How many files are looked at, how many deep pictures must be among them, and the part that must agree.
_SAMPLE, _LEAST, _AGREED = 64, 4, 0.75


class Levels(NamedTuple):
    """Which values of a picture are black and white, and what depth its integers need (0: no integers)."""

    black: float
    white: float
    bits: int


def is_deep(image: Image.Image) -> bool:
    """Whether a picture has one channel of more than 8 bits: modes I;16, I and F."""
    return image.mode.startswith(("I", "F"))


def levels(image: Image.Image, bits: int = 0) -> Levels:
    """Find black and white of a deep picture.

    Integers from 0 have the least of 8, 10, 12, 14 and 16 bits that holds them, and so have floats that are
    whole numbers. Other floats are fractions of 1 (or go from -1 to 1), of 255 or of a greater depth; up to
    16 the greatest value is white. What fits none of these is stretched from its least to its greatest value.

    Args:
        image: Of mode I;16, I or F.
        bits: How many bits integers have at least.

    Raises:
        ValueError: There are values that are NaN or infinite.
    """
    low, high, whole = _survey(image)
    slack = 0.0 if whole else _OVERSHOOT
    if low < -slack * high:
        return (
            Levels(-1, 1, 0)
            if low >= -1 - slack and high <= 1 + slack and not whole
            else Levels(low, high, 0)
        )
    if not whole and high <= _BRIGHT:
        return Levels(0, high if high > 1 + slack else 1, 0)
    if image.mode == "F" and high <= 1:
        return Levels(0, 1, 0)
    depth = least_depth(high / (1 + slack))
    if not depth:
        return Levels(low, high, 0)
    return Levels(0, 2 ** max(depth, bits) - 1, depth if whole else 0)


def least_depth(high: float) -> int:
    """Return the least usual depth whose integers go up to ``high``, or 0."""
    return next((depth for depth in _DEPTHS if high <= 2**depth - 1), 0)


def to_eight_bits(image: Image.Image, bits: int = 0) -> tuple[Image.Image, int]:
    """Scale a picture of mode I;16, I or F to L, from black and white as :func:`levels` has them.

    Returns:
        The picture, and the depth that its integers need.
    """
    black, white, needed = levels(image, bits)
    scale = 255.0 / max(white - black, 1e-12)
    picture = Image.new("L", image.size)
    for strip, corner in strips(image):
        values = (_values(strip).astype(np.float64) - black) * scale
        picture.paste(Image.fromarray(np.rint(values.clip(0, 255)).astype(np.uint8)), corner)
    return picture, needed


def strips(image: Image.Image) -> Iterator[tuple[Image.Image, tuple[int, int]]]:
    """Cut a picture into strips of about 2**18 pixels, each with the corner that it begins at."""
    width, height = image.size
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        yield image.crop((0, top, width, min(top + rows, height))), (0, top)


class UsualBits:
    """The depth that nearly all deep pictures of a data set need, found when it is first asked for.

    At most 64 files are looked at, evenly spread; at least four of them must be deep, and three quarters of
    these need one and the same depth. A pure function of the data.

    Args:
        count: How many pictures there are.
        depths: Returns the depths that pictures of some indices need: 0 where one is not deep or is damaged.
    """

    def __init__(self, count: int, depths: Callable[[list[int]], Iterable[int]]) -> None:
        self._count, self._depths = count, depths
        self._lock = threading.Lock()

    def get(self) -> int:
        """Return the depth, or 0 where there is none that they agree on."""
        with self._lock:
            return self._found

    @functools.cached_property
    def _found(self) -> int:
        indices = np.linspace(0, self._count - 1, min(self._count, _SAMPLE), dtype=int).tolist()
        found = Counter(depth for depth in self._depths(indices) if depth)
        depth, agreed = max(found.items(), key=lambda item: item[1], default=(0, 0))
        return depth if found.total() >= _LEAST and agreed >= _AGREED * found.total() else 0


def _survey(image: Image.Image) -> tuple[float, float, bool]:
    """Return the least and the greatest value, and whether all are whole numbers."""
    low, high, whole = np.inf, -np.inf, True
    for strip, _ in strips(image):
        values = _values(strip)
        if not np.isfinite(values).all():
            raise ValueError("pixels that are NaN or infinite")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        whole = whole and (image.mode != "F" or bool((values == np.rint(values)).all()))
    return low, high, whole


def _values(image: Image.Image) -> NDArray[np.float32] | NDArray[np.int32] | NDArray[np.uint16]:
    return np.asarray(image)
