"""The pictures to translate, their masks, and the paths of the results."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmgan import DataError
from mmgan.counting import counted
from mmgan.data.image.dataset import reason
from mmgan.data.image.sources import ImageFolder
from mmgan.data.image.squares import whole_picture


@dataclass(frozen=True)
class Item:
    """A picture to translate.

    Args:
        source: The folder or the file that was given.
        index: The picture's place in it.
        target: Where its translation goes, below the results' folder.
    """

    source: ImageFolder
    index: int
    target: Path

    @property
    def key(self) -> str:
        """Its name below the folder that was given, without suffix; its mask has the same name."""
        return _key(self.source, self.index)

    def __str__(self) -> str:
        path = self.source.path
        text = str((path if path.is_dir() else path.parent) / self.source.name(self.index))
        return text if text.isprintable() else ascii(text)

    def open(self) -> Image.Image:
        """Open the picture. May raise anything if it is damaged."""
        return self.source[self.index][0]


def find(inputs: Sequence[Path]) -> list[Item]:
    """Find all pictures in files and folders, and name their results.

    A folder's tree is kept. If two results have the same name, the later one gets a number: ``a-2.png``. Case
    is ignored, as on some file systems. Unprintable characters in a name (a line break) become ``_``.

    Raises:
        DataError: An input does not exist, or there are no pictures.
    """
    sources = []
    for path in inputs:
        if not path.exists():
            raise DataError(f"There is no file or folder {str(path)!r}.", hint="INPUT takes both.")
        sources.append(ImageFolder(path))
    found = [(source, index) for source in sources for index in range(len(source))]
    if not found:
        others = sum(source.others for source in sources)
        raise DataError(
            f"There is no picture in {', '.join(map(str, sources))}; {counted(others, 'other file')}.",
            hint="INPUT takes pictures that Pillow reads, such as .png or .jpg, and folders of them.",
        )
    wanted = [Path(f"{_printable(_key(source, index))}.png") for source, index in found]
    # A folder always keeps its name, so that its pictures stay together.
    taken = {_fold(folder) for path in wanted for folder in path.parents}
    items = []
    for (source, index), path in zip(found, wanted, strict=True):
        target, number = path, 1
        while _fold(target) in taken:
            number += 1
            target = path.with_name(f"{path.stem}-{number}.png")
        taken.add(_fold(target))
        items.append(Item(source, index, target))
    return items


class Masks:
    """The holes of the pictures: one mask for all of them, or a folder with a mask for each.

    Args:
        path: A picture, or a folder of pictures whose names, suffixes aside, are those of the inputs.

    Raises:
        DataError: There is no such file or folder.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise DataError(f"There is no file or folder {str(path)!r}.", hint="--mask takes both.")
        self._source = ImageFolder(path)
        self._one = not path.is_dir()
        self._places: dict[str, list[int]] = {}
        for index in range(len(self._source)):
            self._places.setdefault(_key(self._source, index), []).append(index)

    def of(self, item: Item, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return a picture's mask: uint8 (height, width, 1), white for the hole.

        Raises:
            ValueError: There is no mask or more than one, it can't be read, or it has another size.
        """
        places = [0] if self._one else self._places.get(item.key, [])
        if len(places) != 1:
            raise ValueError(f"{len(places) or 'no'} masks are called {item.key!r} in {self._source}")
        try:
            with self._source[places[0]][0] as image:
                mask = whole_picture(image, 1, "black")
        except Exception as error:
            raise ValueError(f"its mask can't be read: {reason(error)}") from error
        height, width = mask.shape[:2]
        if (width, height) != size:
            raise ValueError(f"its mask is {_by((width, height))} pixels, and the picture {_by(size)}")
        return mask


def _key(source: ImageFolder, index: int) -> str:
    path = Path(source.name(index))
    return (path.parent / path.stem).as_posix()


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "_" for character in text)


def _fold(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
