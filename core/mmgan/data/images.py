"""Pictures as training data: their settings, what ``--data`` may name, and the data set itself."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor, UnidentifiedImageError
from pydantic import Field, field_validator
from torch import Tensor

from mmgan.config import Config
from mmgan.data.cache import cache_key, cached_array
from mmgan.data.dataset import Dataset, Draw
from mmgan.data.pixels import to_pixels
from mmgan.data.sources import Digits, ImageFolder, ImageSource, TorchvisionImages
from mmgan.data.tree import list_skipped
from mmgan.errors import DataError, did_you_mean

#: Told how many pictures are decoded, of how many.
Progress = Callable[[int, int], None]

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)
Row = TypeVar("Row")

# Pillow decodes and resizes outside the interpreter's lock. A thread takes many pictures at once: handing
# over small ones (28x28) one by one was measured to take three times as long as one thread alone.
_THREADS = min(4, os.cpu_count() or 1)
_SHARE = 64
_HINT = (
    "Give --data a folder of pictures that Pillow reads, such as .png or .jpg; subfolders are searched too."
)


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
    flip: bool = Field(False, description="mirror each picture from left to right, half of the times")
    data_root: str = Field("data", description="the folder in which torchvision keeps its data sets")
    download: bool = Field(False, description="let torchvision download a data set that is missing")

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


class Source(Protocol[Item_co]):
    """What :func:`decode_all` takes: an ``ImageSource``, or one of pairs. ``str(source)`` is its name."""

    #: How many files were passed over because their names are not those of pictures.
    others: int

    def __len__(self) -> int:
        """Return how many there are, readable or not."""

    def __getitem__(self, index: int) -> Item_co:
        """Open one. May raise anything where it is damaged."""

    def name(self, index: int) -> str:
        """Name one, for messages."""


class ImageData(Dataset):
    """Square pictures of one size, decoded once into the cache.

    A picture that can't be read (torn, empty, too large, no picture at all) is skipped, counted and named.

    Args:
        source: Where the pictures come from.
        config: Their size and the like.
        progress: Called now and then while pictures are decoded, which only happens the first time.

    Raises:
        DataError: Fewer than two pictures can be read.
    """

    def __init__(self, source: ImageSource, config: ImageConfig, progress: Progress | None = None) -> None:
        look = (config.size, config.channels, config.crop, ImageColor.getrgb(config.background))
        self._cached = cached_array(
            cache_key("images", PIL.__version__, source.fingerprint, *look),
            lambda metadata: _rows(source, config, progress, metadata),
        )
        self._flip = config.flip
        #: int64 (pictures,): the class of each one, from 0.
        self.labels = torch.tensor(self._cached.metadata["labels"], dtype=torch.int64)
        #: The name of each picture that was skipped, and why.
        self.skipped = [(str(name), str(reason)) for name, reason in self._cached.metadata["skipped"]]
        self.description = _describe(self, source, self._cached.array.shape)

    def __len__(self) -> int:
        return len(self._cached.array)

    def pixels(self, indices: Tensor) -> Tensor:
        """Return pictures as they are in the cache: uint8 (batch, channels, size, size)."""
        return torch.from_numpy(self._cached.array[indices.numpy()])

    def pictures(self, indices: Tensor) -> Tensor:
        """Return pictures without augmentation: float32 (batch, channels, size, size) in [-1, 1]."""
        return to_float(self._cached.array[indices.numpy()])

    def batch(self, indices: Tensor, draw: Draw) -> Tensor:
        """Return pictures, mirrored if the config and ``draw`` say so, otherwise like :meth:`pictures`."""
        pixels = self._cached.array[indices.numpy()]
        if self._flip:
            mirrored = draw.uniform("flip").numpy() < 0.5
            pixels[mirrored] = pixels[mirrored, ..., ::-1]
        return to_float(pixels)


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


def _rows(
    source: ImageSource, config: ImageConfig, progress: Progress | None, metadata: dict[str, Any]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the pixels of every readable picture; the metadata are the labels and what was skipped."""

    def convert(item: tuple[Image.Image, int]) -> tuple[NDArray[np.uint8], int]:
        image, label = item
        with image:
            return to_pixels(image, config.size, config.channels, config.crop, config.background), label

    labels: list[int] = metadata.setdefault("labels", [])
    skipped: list[tuple[str, str]] = metadata.setdefault("skipped", [])
    for pixels, label in decode_all(source, convert, progress, skipped):
        labels.append(label)
        yield pixels


def decode_all(
    source: Source[Item],
    convert: Callable[[Item], Row],
    progress: Progress | None,
    skipped: list[tuple[str, str]],
    *,
    what: str = "picture",
    least: int = 2,
    hint: str = _HINT,
    share: int = _SHARE,
) -> Iterator[Row]:
    """Decode everything in a source, several at once, and yield what can be read, in order.

    Args:
        source: Pictures, pairs of them, or the like. One that can't be read may raise anything.
        convert: Turns what ``source[index]`` gave into what is yielded. Called in several threads.
        progress: Called now and then.
        skipped: The name of each one that can't be read, and why, is added here.
        what: What one of them is called in a message.
        least: How many are needed.
        hint: What to do where there are fewer.
        share: How many a thread takes at once. Four threads' shares are in memory, so fewer where they are
            large.

    Raises:
        DataError: Fewer than ``least`` can be read.
    """
    readable = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for block in _split(range(len(source)), _THREADS * share):
            for index, (row, problem) in zip(
                block, _decode(source, convert, _split(block, share), pool), strict=True
            ):
                if row is None:
                    skipped.append((source.name(index), problem))
                else:
                    readable += 1
                    yield row
            if progress:
                progress(block.stop, len(source))
    if readable < least:
        others = f"; {source.others:,} other files" if source.others else ""
        count = f"{readable} readable {what}{'s' * (readable > 1)}" if readable else f"no readable {what}"
        need = f"a GAN needs at least {least} to learn from" if least > 1 else "at least 1 is needed"
        raise DataError(
            f"{source} has {count}, and {need} ({len(source):,} found{list_skipped(skipped)}{others}).",
            hint=hint,
        )


def _decode(
    source: Source[Item], convert: Callable[[Item], Row], shares: Iterator[range], pool: ThreadPoolExecutor
) -> list[tuple[Row | None, str]]:
    """Decode shares of a block: each one converted, or None and why it has to be skipped."""

    def decode(index: int) -> tuple[Row | None, str]:
        # Pillow's readers raise nearly anything on a hostile file, and one bad file must not stop a run.
        try:
            return convert(source[index]), ""
        except Exception as error:
            return None, reason(error)

    # Filters are shared by all threads, so they are set here, around the block, and not in each thread.
    with strict_pillow():
        results = pool.map(lambda share: [decode(index) for index in share], shares)
        return list(chain.from_iterable(results))


@contextlib.contextmanager
def strict_pillow() -> Iterator[None]:
    """Refuse pictures that are too large, and let no other of Pillow's warnings through."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _split(indices: range, length: int) -> Iterator[range]:
    return (indices[start : start + length] for start in range(0, len(indices), length))


def reason(error: Exception) -> str:
    """Say in a few words why a picture can't be read."""
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"too large: more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "not a picture"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, DataError):
        return error.message
    if "truncated" in str(error).lower():
        return "truncated"
    return str(error) or type(error).__name__


def _describe(data: ImageData, source: ImageSource, shape: tuple[int, ...]) -> str:
    count, channels, height, width = shape
    classes = len(set(data.labels.tolist()))
    in_classes = f" in {classes:,} classes" if classes > 1 else ""
    others = f"; {source.others:,} other files" if source.others else ""
    size = f"{width}x{height}x{channels}"
    return f"{count:,} pictures{in_classes} at {size}{list_skipped(data.skipped)}{others}"


def to_float(pixels: NDArray[np.uint8]) -> Tensor:
    """Scale bytes to float32 in [-1, 1], of the same shape.

    NumPy's one thread takes 0.1 ms, and needn't wait for a core that others use.
    """
    values = np.divide(pixels, np.float32(127.5), dtype=np.float32)
    return torch.from_numpy(np.subtract(values, np.float32(1.0), out=values))
