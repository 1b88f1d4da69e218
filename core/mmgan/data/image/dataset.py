"""Pictures as training data: their settings, what ``--data`` may name, and the data set itself."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor
from pydantic import Field, field_validator
from torch import Tensor

from mmgan.config import Config
from mmgan.counting import counted
from mmgan.data.cache import CachedArray, are_integers, are_skipped, cache_key, cached_array
from mmgan.data.columns import read_columns
from mmgan.data.dataset import Dataset, Draw

# Plugins import them from here.
from mmgan.data.decoding import Progress as Progress
from mmgan.data.decoding import Source as Source
from mmgan.data.decoding import decode_all as decode_all
from mmgan.data.decoding import reason as reason
from mmgan.data.decoding import strict_pillow as strict_pillow
from mmgan.data.fingerprints import content_of, with_table
from mmgan.data.image.foreign import check_foreign as check_foreign
from mmgan.data.image.holdout import check_rest, chosen
from mmgan.data.image.look import Look
from mmgan.data.image.scaling import shrunk as shrunk
from mmgan.data.image.scaling import to_float as to_float
from mmgan.data.image.sources import Digits, ImageFolder, ImageSource, Judge, TorchvisionImages
from mmgan.data.image.squares import VERSION, Decoder, usual_bits
from mmgan.data.tree import list_others, list_skipped
from mmgan.errors import DataError, did_you_mean


class ImageConfig(Config):
    """The settings of a task that trains on pictures."""

    size: int = Field(32, ge=1, description="side of the square pictures, in pixels")
    channels: Literal[1, 3] = Field(3, description="1: grey, 3: RGB")
    crop: Literal["center", "pad"] = Field(
        "center", description="how a picture becomes square: cut to its centre, or padded with the background"
    )
    background: str = Field(
        "white", description="colour behind transparent pictures and padding: a name or #rrggbb"
    )
    flip: bool = Field(False, description="flip each picture horizontally with probability 0.5")
    data_root: str = Field("data", description="the folder in which torchvision keeps its data sets")
    # Never taken from a run's folder: its author would choose what is downloaded, and where it is put.
    download: bool = Field(
        False,
        description="let torchvision download a data set that is missing",
        json_schema_extra={"only_new_runs": True},
    )

    @field_validator("data_root")
    @classmethod
    def _wherever_it_is_resumed(cls, value: str) -> str:
        return str(Path(os.path.expanduser(value)).absolute())

    @field_validator("background")
    @classmethod
    def _opaque_colour(cls, value: str) -> str:
        try:
            colour = ImageColor.getrgb(value)
        except ValueError:
            suggestion = did_you_mean(value, ImageColor.colormap)
            raise ValueError(
                f"Not a colour: give a name such as white, or #rrggbb. {suggestion}".rstrip()
            ) from None
        if len(colour) == 4:
            raise ValueError("A background can't be transparent: give a name such as white, or #rrggbb")
        return value


class ImageData(Dataset):
    """Square pictures of one size, decoded once into the cache.

    A picture that can't be read (torn, empty, too large, no picture at all) is skipped, counted and named.

    Args:
        source: Where the pictures come from.
        config: Their size and the like.
        progress: Called now and then while pictures are decoded, which only happens the first time.
        holds: What a batch holds: ("images", "label") makes it a dict with these names; see
            :attr:`mmgan.Task.holds`. A picture without a value that is held is left out, counted and named.

    Raises:
        DataError: Fewer than two pictures can be read, or have what is held.
    """

    def __init__(
        self,
        source: ImageSource,
        config: ImageConfig,
        progress: Progress | None = None,
        holds: Sequence[str] = (),
    ) -> None:
        check_foreign(source)
        look = (config.size, config.channels, config.crop, ImageColor.getrgb(config.background))
        self._cached = cached_array(
            cache_key("images", VERSION, PIL.__version__, source.fingerprint, *look),
            lambda metadata: _rows(source, config, progress, metadata),
            lambda entry: _fits(entry, config),
        )
        self.judge: Judge | None = getattr(source, "judge", None)  #: gives scores that only these data have
        self._flip = config.flip
        self._size = config.size
        #: The name of each picture that was skipped, and why.
        self.skipped = [(str(name), str(reason)) for name, reason in self._cached.metadata["skipped"]]
        self._columns = read_columns("images", holds, source, self._cached.metadata["labels"], self.skipped)
        #: int64 (pictures,): the class of each one, from 0.
        self.labels = self._columns.labels
        #: The name of each class, where the source has names.
        self.classes = list(self._columns.classes)
        #: What is known of the pictures as a whole.
        self.info = self._columns.info(self._cached.array.shape[1:])
        self.fingerprint = with_table(self._cached.metadata["content"], source, holds)
        self.description = _describe(self, source, self._cached.array.shape)
        #: The pictures that :meth:`hold_out` has taken away.
        self.held_out: ImageData | None = None

    def __len__(self) -> int:
        return len(self._columns.kept)

    def hold_out(self, part: float, seed: int) -> None:
        """Take pictures away, never to be trained on: they become :attr:`held_out`.

        Which ones, their pixels and the seed decide; see :func:`mmgan.data.image.holdout.chosen`.

        Args:
            part: A share below 1, or a number of pictures.
            seed: Another one chooses others.

        Raises:
            DataError: Fewer than two are left on either side, or none of a class that a batch holds.
        """
        before = counted(len(self), "picture")
        away, mark = chosen((self._rows(torch.tensor([index])) for index in range(len(self))), part, seed)
        held = copy.copy(self)
        held._take(away)
        self._take(~away)
        learned = self.info if "label" in self._columns.values else None
        classes = dict(zip(learned.classes, learned.counts, strict=True)) if learned else {}
        check_rest(len(self), len(held), part, classes)
        self.held_out = held
        self.fingerprint += f" {mark}"
        rest = self.description.removeprefix(before)
        self.description = f"{counted(len(self), 'picture')}{rest}, and {len(held):,} held out"

    def _take(self, which: Tensor) -> None:
        self._columns = self._columns.only(which)
        self.labels, self.info = self._columns.labels, self._columns.info(self.info.shape)

    def pixels(self, indices: Tensor) -> Tensor:
        """Return pictures as they are in the cache: uint8 (batch, channels, size, size).

        Args:
            indices: int64 (batch,).
        """
        return torch.from_numpy(self._rows(indices))

    def resize(self, size: int) -> None:
        """Give pictures with this side in pixels: averages over blocks of the stored ones.

        Raises:
            DataError: It does not divide their size.
        """
        stored = self._cached.array.shape[-1]
        if size < 1 or stored % size:
            raise DataError(
                f"Pictures of {stored} pixels a side can't be averaged to {size}.",
                hint=f"Sizes that divide {stored} can be had.",
            )
        self._size = size
        if self.held_out is not None:
            self.held_out.resize(size)

    def pictures(self, indices: Tensor) -> Tensor:
        """Return pictures without augmentation: float32 (batch, channels, size, size) in [-1, 1].

        Args:
            indices: int64 (batch,).
        """
        return to_float(shrunk(self._rows(indices), self._size))

    def batch(self, indices: Tensor, draw: Draw) -> Any:
        """Return pictures as :meth:`pictures` does, each flipped with probability 0.5 where ``flip`` is on.

        Args:
            indices: int64 (batch,).
            draw: Decides which pictures are flipped.

        Returns:
            The pictures, or a dict of all that a batch holds: "images", "label" (int64 (batch,)), ….
        """
        pixels = self._rows(indices)
        if self._flip:
            mirrored = draw.uniform("flip").numpy() < 0.5
            pixels[mirrored] = pixels[mirrored, ..., ::-1]
        return self._columns.batch(to_float(shrunk(pixels, self._size)), indices)

    def _rows(self, indices: Tensor) -> NDArray[np.uint8]:
        rows: NDArray[np.uint8] = self._cached.array[self._columns.kept[indices.numpy()]]
        return rows


def open_folder(path: str, config: ImageConfig) -> ImageSource:
    """Open a folder of pictures (or one picture, which is too few to train on, and says so).

    Raises:
        DataError: There is no such folder or file.
    """
    if not Path(path).exists():
        raise DataError(f"There is no folder or file {path!r}.", hint="Give --data a folder of pictures.")
    return ImageFolder(Path(path))


def open_digits(argument: str, config: ImageConfig) -> ImageSource:
    """Open scikit-learn's digits.

    Raises:
        DataError: There is an argument: digits takes none.
    """
    if argument:
        raise DataError(
            f"The data set digits takes no argument, not {argument!r}.", hint="Try: --data digits"
        )
    return Digits()


def open_torchvision(name: str, config: ImageConfig) -> ImageSource:
    """Open one of torchvision's data sets below ``config.data_root``.

    Raises:
        DataError: The name is unknown, or the data is missing.
    """
    return TorchvisionImages(name, config.data_root, config.download)


def _fits(entry: CachedArray, config: ImageConfig) -> bool:
    """Whether an entry of the cache holds what :func:`_rows` makes."""
    labels, skipped, content = (entry.metadata.get(name) for name in ("labels", "skipped", "content"))
    return (
        entry.array.dtype == np.uint8
        and entry.array.shape[1:] == (config.channels, config.size, config.size)
        and (are_integers(labels) and len(labels) == len(entry.array))
        and (are_skipped(skipped) and isinstance(content, str))
    )


def _rows(
    source: ImageSource, config: ImageConfig, progress: Progress | None, metadata: dict[str, Any]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the pixels of every readable picture; the metadata are the labels and what was skipped."""
    look = Look((config.size,), config.channels, config.crop, config.background)
    labels: list[int] = metadata.setdefault("labels", [])
    skipped: list[tuple[str, str]] = metadata.setdefault("skipped", [])
    metadata["content"] = content_of(source)
    with Decoder(look) as decoder:
        usual = usual_bits(source)

        def convert(item: tuple[Image.Image, int]) -> tuple[NDArray[np.uint8], int]:
            image, label = item
            with image:
                return decoder(image, usual).pixels[0], label

        for pixels, label in decode_all(source, convert, progress, skipped):
            labels.append(label)
            yield pixels


def _describe(data: ImageData, source: ImageSource, shape: tuple[int, ...]) -> str:
    _, channels, height, width = shape
    classes = len(set(data.labels.tolist()))
    in_classes = f" in {classes:,} classes" if classes > 1 else ""
    size = f"{width}x{height}x{channels}"
    pictures = counted(len(data), "picture")
    told = f"{list_skipped(data.skipped)}{data._columns.told}{list_others(source)}"
    return f"{pictures}{in_classes} at {size}{told}"
