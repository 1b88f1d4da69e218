"""Sources of pairs: the known layouts of folders, and pictures side by side or alone.

A source here returns a function for an index, which takes a decoder and returns squares: for each size that
of one picture, or those of a pair.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmgan.data.decoding import reason
from mmgan.data.fingerprints import content_of
from mmgan.data.image.dataset import check_foreign
from mmgan.data.image.look import Look, Squares
from mmgan.data.image.sources import ImageFolder, ImageSource
from mmgan.data.image.squares import Decoder, usual_bits
from mmgan.data.pairs.folders import TWO_FOLDERS, train_and_validation, two_folders
from mmgan.data.pairs.matching import match
from mmgan.errors import DataError

if TYPE_CHECKING:
    from mmgan.data.pairs.config import PairConfig

#: uint8 (channels, size, size): for each size, those of each picture.
Pixels = list[NDArray[np.uint8]]
Decode = Callable[[Decoder], Pixels]

_DERIVE = "make them from single pictures, by --set derive=edges or another"
_PAIRS_HINT = (
    "Give pictures A|B side by side, in FOLDER or in FOLDER/train; or files of equal names in "
    f"{TWO_FOLDERS}; or {_DERIVE}."
)
_UNPAIRED_HINT = f"Give {TWO_FOLDERS}; or {_DERIVE}."


class Singles:
    """Single pictures.

    Args:
        source: Where the pictures are.
        config: Their size and the like.
        folder: A prefix of their names, such as ``"train/"``.
        hint: What to do if there are too few.
    """

    #: How many pictures an item has, and the noun for an item.
    sides, what = 1, "picture"
    #: Whether it is cut into halves, so that a draft's rounding would move the middle.
    _halves = False

    def __init__(self, source: ImageSource, config: PairConfig, folder: str = "", hint: str = "") -> None:
        self._source = source
        self._folder = folder
        check_foreign(source)
        self._usual = usual_bits(source)
        #: The options of the decoder.
        self.look = _look(config, self._halves, exact=self._halves)
        self.others = source.others
        self.endings = Counter[str](getattr(source, "endings", {}))
        self.hint = hint or "Put more pictures there that Pillow reads, such as .png or .jpg."
        #: Names of what is missing, as far as known before anything is decoded, and why.
        self.missing: list[tuple[str, str]] = []
        #: Identifies what is decoded, apart from the config: for the cache.
        self.key: list[object] = [type(self).__name__, folder, source.fingerprint]

    def __str__(self) -> str:
        return str(self._source)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Decode:
        return partial(self._squares, index)

    @property
    def content(self) -> str:
        """Identifies the pictures by content, wherever they lie."""
        return content_of(self._source)

    def name(self, index: int) -> str:
        """Return the name of a picture below the folder that was given."""
        return self._folder + self._source.name(index)

    def _squares(self, index: int, decoder: Decoder) -> Pixels:
        image, _ = self._source[index]
        with image:
            return decoder(image, self._usual).pixels


class Halves(Singles):
    """Pictures that hold a pair side by side, in equal halves: A on the left, B on the right."""

    sides, what = 2, "pair side by side"
    _halves = True


class Partners:
    """Pictures of two folders that have equal names: ``a/x.jpg`` and ``b/x.png`` are a pair.

    Names are compared below each folder: exactly, then without suffix, then in lower case too.

    Args:
        a: The folder of domain A.
        b: The folder of domain B.
        config: The pictures' size and the like.
    """

    sides, what = 2, "pair of equal names"
    hint = _PAIRS_HINT

    def __init__(self, a: ImageFolder, b: ImageFolder, config: PairConfig) -> None:
        self._folders = a, b
        self._labels = _labels(a.path, b.path)
        for source in (a, b):
            check_foreign(source)
        self._usual = usual_bits(a), usual_bits(b)
        #: The options of the decoder. Exact, since the shapes of the two are compared.
        self.look = _look(config, exact=True)
        self.others = a.others + b.others
        self.endings = a.endings + b.endings
        self._pairs, self.missing = match(a, b, self._labels)
        self.key: list[object] = ["Partners", self._labels, a.fingerprint, b.fingerprint]

    def __str__(self) -> str:
        return f"The pair of folders {self._folders[0]} and {self._folders[1]}"

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Decode:
        return partial(self._squares, index)

    @property
    def content(self) -> str:
        """Identifies the pictures by content, wherever they lie."""
        return " ".join(map(content_of, self._folders))

    def name(self, index: int) -> str:
        """Return the name of a pair: that of its picture in A."""
        return f"{self._labels[0]}/{self._folders[0].name(self._pairs[index][0])}"

    def _squares(self, index: int, decoder: Decoder) -> Pixels:
        a, b = (self._decode(side, number, decoder) for side, number in enumerate(self._pairs[index]))
        # One may be a larger copy with rounded sides: half a pixel of the smaller one is tolerated.
        if abs(a.size[0] * b.size[1] - b.size[0] * a.size[1]) > max(*a.size, *b.size) / 2:
            sizes = (
                f"{label} {squares.size[0]}x{squares.size[1]}"
                for label, squares in zip(self._labels, (a, b), strict=True)
            )
            raise DataError(f"not of one shape: {', '.join(sizes)}")
        return [side for both in zip(a.pixels, b.pixels, strict=True) for side in both]

    def _decode(self, side: int, number: int, decoder: Decoder) -> Squares:
        try:
            image, _ = self._folders[side][number]
            with image:
                return decoder(image, self._usual[side])
        except Exception as error:
            # Names the one of the two that can't be read.
            raise DataError(f"{self._labels[side]}: {reason(error)}") from error


#: A source of pictures, alone or in pairs.
PictureSource = Singles | Partners


def single_parts(source: ImageSource, config: PairConfig) -> list[Singles]:
    """Open single pictures, from which pairs will be derived: ``train`` and ``val`` or ``test``, or all.

    Returns:
        Those to train on, and, if the data has a validation part, those to validate on."""
    parts = _train_and_validation(source)
    return [Singles(part, config, f"{part.path.name}/") for part in parts] or [Singles(source, config)]


def pair_parts(source: ImageSource, config: PairConfig) -> Sequence[PictureSource]:
    """Open pairs, which are side by side, or of equal names in two folders.

    Returns:
        The pairs to train on, and, if the data has a validation part, those to validate on.

    Raises:
        DataError: The data is not a folder of pairs, or one of the two sides is missing.
    """
    if not isinstance(source, ImageFolder):
        raise DataError(f"{source} has single pictures, and pairs are needed.", hint=_PAIRS_HINT)
    if twos := _two_folders(source.path, config):
        return [Partners(ImageFolder(a), ImageFolder(b), config) for a, b in twos]
    parts = _train_and_validation(source)
    halves = [Halves(part, config, f"{part.path.name}/", _PAIRS_HINT) for part in parts]
    return halves or [Halves(source, config, hint=_PAIRS_HINT)]


def unpaired_parts(source: ImageSource, config: PairConfig) -> tuple[list[Singles], list[Singles]]:
    """Open the unpaired pictures of two domains.

    Returns:
        Of A and of B: those to train on, and, if the data has a validation part, those to validate on.

    Raises:
        DataError: One of the two folders is missing, or both.
    """
    if isinstance(source, ImageFolder):
        twos = _two_folders(source.path, config)
        labels = [_labels(a, b) for a, b in twos]
        a, b = (
            [
                Singles(ImageFolder(two[side]), config, f"{label[side]}/")
                for two, label in zip(twos, labels, strict=True)
            ]
            for side in (0, 1)
        )
    elif config.data_b:
        folder = _existing(config.data_b)
        a, b = [Singles(source, config)], [Singles(ImageFolder(folder), config, f"{folder.name}/")]
    else:
        a, b = [], []
    if not a:
        raise DataError(
            f"{source} has the pictures of one domain, and those of two are needed.", hint=_UNPAIRED_HINT
        )
    return a, b


def _two_folders(path: Path, config: PairConfig) -> list[tuple[Path, Path]]:
    """Find A and B to train on, and, where there are any, A and B to validate on; or nothing."""
    if config.data_b:
        return [_different(path, _existing(config.data_b))]
    return [_different(a, b) for a, b in two_folders(path)]


def _different(a: Path, b: Path) -> tuple[Path, Path]:
    if os.path.samefile(a, b):
        raise DataError(f"{str(a)!r} and {str(b)!r} are one and the same folder.", hint=_UNPAIRED_HINT)
    return a, b


def _existing(path: str) -> Path:
    if not os.path.isdir(path):
        raise DataError(f"data_b = {path!r} is not a folder.", hint="Give the folder of domain B.")
    return Path(path)


def _train_and_validation(source: ImageSource) -> list[ImageFolder]:
    """Open a folder's parts ``train`` and ``val`` (or else ``test``); nothing if it lacks one."""
    if not isinstance(source, ImageFolder):
        return []
    return [ImageFolder(part) for part in train_and_validation(source.path)]


def _look(config: PairConfig, halves: bool = False, exact: bool = False) -> Look:
    return Look(config.sizes, config.channels, config.crop, config.background, halves, exact)


def _labels(a: Path, b: Path) -> tuple[str, str]:
    """Return short names of two folders, or full ones if the short ones are equal."""
    short = a.absolute().name, b.absolute().name
    return short if short[0] != short[1] else (str(a), str(b))
