"""Colours of 16 bits, of which Pillow keeps the upper 8.

Of 10- to 14-bit data in 16 bits that leaves next to nothing: such a picture is black. Then the file is read
once more for the lower bytes, by telling Pillow that the bytes of each number come the other way round.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmgan.data.image.depth import least_depth, strips

_NATIVE, _OTHER = ("L", "B") if sys.byteorder == "little" else ("B", "L")
#: How Pillow is told to read the numbers' lower bytes, by how it reads the upper ones.
_SWAPPED = {
    f"{bands};16{order}": f"{bands};16{swapped}"
    for bands in ("RGB", "RGBA")
    for order, swapped in (("L", "B"), ("B", "L"), ("N", _OTHER))
}
#: Grey with alpha.
_GREY_ALPHA = "LA;16B"


@dataclass(frozen=True)
class LowBytes:
    """Where the lower bytes of a picture's colours are.

    Args:
        path: The file.
        mode: How Pillow is told to read them.
        grey: Whether they are those of grey and alpha, read as four bytes: the upper and lower ones of both.
    """

    path: str
    mode: str
    grey: bool

    @classmethod
    def of(cls, image: Image.Image) -> LowBytes | None:
        """Return where they are, for a picture from a file that is not loaded yet; None where it has none."""
        path = getattr(getattr(image, "fp", None), "name", None)
        raw = _raw_mode(image)
        if not isinstance(path, str) or not is_deep_colour(image):
            return None
        grey = raw == _GREY_ALPHA
        return cls(path, "RGBA" if grey else _SWAPPED[raw], grey)

    def use(self, image: Image.Image, bits: int) -> int:
        """Scale a picture in place by the least usual depth that holds its colours, where that is not 16.

        Args:
            image: What Pillow made of the file, not turned yet.
            bits: How many bits they have at least.

        Returns:
            The depth that it needs.

        Raises:
            Exception: Whatever Pillow raises, where the file is another one by now.
        """
        upper_extrema: Any = image.getextrema()
        if least_depth(256 * max(high for _, high in upper_extrema[:3]) + 255) == 16:
            return 16
        # Alpha has the depth of the colours, or its own 16 bits.
        scaled = slice(0, 3 if image.mode == "RGBA" and upper_extrema[3][1] >= 64 else 4)
        low = self._read()
        brightest = max(float(numbers[..., :3].max()) for numbers, _ in self._numbers(image, low))
        needed = least_depth(brightest)
        white = 2.0 ** max(needed, bits) - 1
        for numbers, corner in self._numbers(image, low):
            # Alpha that is not scaled keeps its upper bytes.
            pixels = (numbers // 256).astype(np.uint8)
            pixels[..., scaled] = np.rint(numbers[..., scaled].clip(0, white) * (255.0 / white))
            image.paste(Image.fromarray(pixels), corner)
        return needed

    def _read(self) -> Image.Image:
        from mmgan.data.image.sources import open_picture

        image: Any = open_picture(self.path)
        with image:
            image.tile = [(*tile[:3], _with_mode(tile[3], self.mode)) for tile in image.tile]
            image.load()
        return cast(Image.Image, image)

    def _numbers(
        self, upper: Image.Image, lower: Image.Image
    ) -> Iterator[tuple[NDArray[np.float64], tuple[int, int]]]:
        """Combine both halves, a strip at a time."""
        for (above, corner), (below, _) in zip(strips(upper), strips(lower), strict=True):
            low = np.asarray(below)
            yield np.asarray(above) * np.float64(256) + (low[..., [1, 1, 1, 3]] if self.grey else low), corner


def is_deep_colour(image: Image.Image) -> bool:
    """Whether a picture that is not loaded yet has colours of 16 bits, or grey of 16 bits and alpha."""
    return _raw_mode(image) in {*_SWAPPED, _GREY_ALPHA}


def _raw_mode(image: Any) -> str:
    """Return how Pillow will read the pixels, where it reads all parts of a file alike; else nothing."""
    modes = {
        str(args if isinstance(args, str) else args[0]) for *_, args in getattr(image, "tile", []) if args
    }
    return modes.pop() if len(modes) == 1 else ""


def _with_mode(args: Any, mode: str) -> Any:
    return mode if isinstance(args, str) else (mode, *args[1:])
