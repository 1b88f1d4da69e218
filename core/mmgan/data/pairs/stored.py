"""Pictures and pairs in the cache, at the sizes before and after a random crop."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import ImageColor
from torch import Tensor

from mmgan.data.cache import CachedArray, are_skipped, cache_key, cached_array
from mmgan.data.dataset import Draw
from mmgan.data.image.dataset import Progress, decode_all, to_float
from mmgan.data.image.squares import VERSION, Decoder
from mmgan.data.pairs.config import PairConfig
from mmgan.data.pairs.sources import Decode, PictureSource

# How many a thread may decode before they are written: a pair of 256x256, at both sizes, has 1 MB.
_SHARE_BYTES = 16_000_000
_VALIDATION_HINT = (
    "Put pictures there, or remove the folder: then some training pictures are held out to validate on."
)


class Stored:
    """Single pictures or pairs in the cache, at the size to crop from and at the final size.

    Those that can't be read are skipped, counted and named.

    Args:
        source: Where they come from.
        config: Their sizes and the like.
        progress: Called repeatedly while they are decoded, which only happens the first time.
        least: The smallest number that is enough: 1 to validate on.

    Raises:
        DataError: There are fewer.
    """

    def __init__(
        self, source: PictureSource, config: PairConfig, progress: Progress | None = None, least: int = 2
    ) -> None:
        # Both sizes are in one row, so that each picture is decoded once.
        sizes = config.sizes
        look = [VERSION, sizes, config.channels, config.crop, ImageColor.getrgb(config.background)]
        hint = source.hint if least > 1 else _VALIDATION_HINT
        row = source.sides * config.channels * sum(size**2 for size in sizes)
        share = max(1, min(64, _SHARE_BYTES // row))

        def rows(metadata: dict[str, Any]) -> Iterator[NDArray[np.uint8]]:
            skipped = metadata["skipped"] = list(source.missing)
            metadata["content"] = source.content
            with Decoder(source.look) as decoder:

                def convert(decode: Decode) -> NDArray[np.uint8]:
                    return np.concatenate([square.reshape(-1) for square in decode(decoder)])

                yield from decode_all(
                    source, convert, progress, skipped, what=source.what, least=least, hint=hint, share=share
                )

        def fits(entry: CachedArray) -> bool:
            array, skipped = entry.array, entry.metadata.get("skipped")
            fitting = array.dtype == np.uint8 and array.shape[1:] == (row,)
            return fitting and are_skipped(skipped) and isinstance(entry.metadata.get("content"), str)

        #: The rows, and the skipped pictures.
        self.cached = cached_array(cache_key("pairs", PIL.__version__, *source.key, *look), rows, fits)
        self._rows = np.arange(len(self.cached.array))
        self._flip = config.flip
        self._large, self._small = sizes[0], sizes[-1]
        self._shape = source.sides, config.channels
        #: Identifies the pictures by content, wherever they are.
        self.content: str = self.cached.metadata["content"]
        #: The name of each one that was skipped, and why.
        self.skipped = [(str(name), str(why)) for name, why in self.cached.metadata["skipped"]]
        #: How many files were ignored because of their suffixes, and the same by suffix.
        self.others, self.endings = source.others, source.endings

    def __len__(self) -> int:
        return len(self._rows)

    def split(self, count: int) -> tuple[Stored, Stored]:
        """Split off a fixed random choice of ``count``; return it and the rest, both in their old order."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(0)).numpy()
        parts = copy.copy(self), copy.copy(self)
        for part, chosen in zip(parts, (order[:count], order[count:]), strict=True):
            part._rows = self._rows[np.sort(chosen)]
        return parts

    def whole(self, indices: Tensor) -> list[Tensor]:
        """Return pictures as they are: of each side float32 (n, channels, size, size) in [-1, 1]."""
        sides, channels = self._shape
        length = sides * channels * self._small**2
        pixels = self.cached.array[self._rows[indices.numpy()], -length:]
        shape = (len(indices), sides, channels, self._small, self._small)
        return [to_float(side) for side in pixels.reshape(shape).swapaxes(0, 1)]

    def crops(self, indices: Tensor, draw: Draw, name: str = "") -> list[Tensor]:
        """Return random crops and flips, the same for all sides of a pair; else like :meth:`whole`.

        Args:
            indices: int64 (n,).
            draw: Decides the crops and flips.
            name: Distinguishes these crops from others of the same draw.
        """
        sides, channels = self._shape
        shape = (sides, channels, self._large, self._large)
        corners = draw.uniform(f"{name}crop", 2).numpy() * (self._large - self._small + 1)
        mirrored = draw.uniform(f"{name}flip").numpy() < (0.5 if self._flip else 0)
        pixels = np.empty((len(indices), sides, channels, self._small, self._small), dtype=np.uint8)
        rows = self._rows[indices.numpy()]
        for crop, row, (top, left), mirror in zip(
            pixels, rows, corners.astype(int).tolist(), mirrored, strict=True
        ):
            # From a mapped file: only the crop's own lines are read.
            large = self.cached.array[row, : sides * channels * self._large**2].reshape(shape)
            cut = large[..., top : top + self._small, left : left + self._small]
            crop[:] = cut[..., ::-1] if mirror else cut
        return [to_float(side) for side in pixels.swapaxes(0, 1)]
