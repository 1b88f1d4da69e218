"""Translating pictures from files to files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from PIL import Image
from torch import Tensor

from mmgan import Generator, UsageError
from mmgan.data.image.dataset import reason, strict_pillow
from mmgan.data.image.squares import whole_picture
from mmgan_translation import tiles
from mmgan_translation.inputs import Item, Masks

if TYPE_CHECKING:
    from mmgan.data.pairs.degradations import Derivation

#: The default longest side of a tile, in pixels; at least the run's size.
_TILE = 512


class Translator(Protocol):
    """The interface of a task that translates pictures."""

    #: ``("AtoB",)``, ``("BtoA",)`` or both.
    directions: tuple[str, ...]
    #: The sides of the networks' inputs are multiples of this.
    multiple: int
    #: How A is made from B, if the run was not trained on pairs.
    derivation: Derivation | None

    def translate(self, inputs: Tensor, direction: str) -> Tensor:
        """Translate (n, channels, h, w) in [-1, 1] to the same range, on the CPU."""


class PictureTranslator:
    """Translates pictures one by one with what a run has learned.

    Args:
        generator: Its task is a :class:`Translator`.
        direction: One of the task's directions.
        masks: The holes, where the run was trained to fill some.
        tile: The longest side of the network's input, in pixels, rounded up to a size that it takes; by
        default 512, or the run's size if that is larger.
    seed: Seed of the network's noise. The same for each picture, so that none depends on others.

    Raises:
        UsageError: The run lacks the direction, needs masks, or takes none.
    """

    def __init__(
        self,
        generator: Generator,
        direction: str | None = None,
        masks: Masks | None = None,
        tile: int | None = None,
        seed: int = 0,
    ) -> None:
        self.generator, self._seed, self._masks = generator, seed, masks
        self._config = cast(Any, generator.config)
        self._task = cast(Translator, generator.task)
        this = f"This run of {generator.config.plugin}"
        only = self._task.directions[0]
        self.direction = direction or only
        if self.direction not in self._task.directions:
            raise UsageError(
                f"{this} was trained {only}, and can't translate {self.direction}.",
                hint=f"--direction {only}, or leave it out.",
            )
        # A was derived; the other direction starts from pictures as they are.
        self._derivation = self._task.derivation if self.direction == "AtoB" else None
        takes_mask = self._derivation is not None and self._derivation.takes_mask
        if takes_mask and masks is None:
            raise UsageError(
                f"{this} fills holes, and must be told where they are.",
                hint="--mask FILE: a picture of the input's size, white in the hole; or a folder of them.",
            )
        if masks is not None and not takes_mask:
            raise UsageError(
                f"{this} takes no --mask: it was not trained to fill holes.",
                hint="Leave out --mask, or train one with --set derive=inpaint.",
            )
        self._scale = self._derivation.scale if self._derivation else 1
        # The network's input is ``scale`` times as large as the picture.
        self._multiple = self._task.multiple // gcd(self._task.multiple, self._scale)
        side = _up(tile or max(_TILE, self._config.size), self._scale * self._multiple) // self._scale
        self._tile = max(side, 2 * self._multiple)

    def read(self, item: Item) -> tiles.Pixels:
        """Read a picture: uint8 (height, width, channels), and its mask as one more channel, 255 in the hole.

        Raises:
            Exception: Whatever Pillow raises on a damaged picture; ValueError where its mask does not fit.
        """
        with strict_pillow(), item.open() as image:
            pixels = whole_picture(image, self._config.channels, self._config.background)
            if self._masks is None:
                return pixels
            height, width = pixels.shape[:2]
            mask = self._masks.of(item, (width, height))
        return np.dstack((pixels, np.where(mask > 127, np.uint8(255), np.uint8(0))))

    def translate(self, pixels: tiles.Pixels) -> Image.Image:
        """Translate the result of :meth:`read`, to the same size or ``scale`` times that."""
        result = self.generator.aside(
            lambda: tiles.apply(self._translate, pixels, self._multiple, self._tile, self._scale), self._seed
        )
        return Image.fromarray(np.ascontiguousarray(result[..., 0] if result.shape[2] == 1 else result))

    def _translate(self, planes: Tensor) -> Tensor:
        """Translate a tile: (1, channels and mask, h, w) in [-1, 1]."""
        if self._derivation is None:
            return self._task.translate(planes, self.direction)
        pictures, mask = planes, None
        if self._masks is not None:
            pictures, mask = planes[:, :-1], (planes[:, -1:] > 0).float()
        outputs = self._task.translate(self._derivation.prepare(pictures, mask), self.direction)
        return self._derivation.finish(outputs, pictures, mask)


def translate_all(
    translator: PictureTranslator,
    items: Sequence[Item],
    out: Path,
    skip: Callable[[Item, str], None],
    progress: Callable[[int], None],
) -> list[Path]:
    """Translate pictures one by one, and write each when it is done.

    A picture that can't be read is skipped. Files in ``out`` are always whole: each has another name while it
    is written.

    Args:
        translator: Translates a picture.
        items: The pictures.
        out: The folder of the results, made with the first of them.
        skip: Called with each picture that is skipped, and why.
        progress: Called with the number of pictures that are done.

    Returns:
        The files written.
    """
    written = []
    for done, item in enumerate(items):
        progress(done)
        # Pillow's readers raise nearly anything on a hostile file, and one bad file must not stop the others.
        try:
            pixels = translator.read(item)
        except Exception as error:
            skip(item, reason(error))
            continue
        written.append(out / item.target)
        _save(translator.translate(pixels), written[-1])
    progress(len(items))
    return written


def _save(image: Image.Image, path: Path) -> None:
    """Write a PNG, which gets its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(".unfinished.png")
    try:
        image.save(unfinished, format="PNG")
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _up(number: int, multiple: int) -> int:
    """Round up to a multiple."""
    return -(-number // multiple) * multiple
