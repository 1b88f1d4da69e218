"""Pictures as training data: their settings, what ``--data`` may name, and the data set itself."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, Literal

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

# Pillow decodes and resizes outside the interpreter's lock. A thread takes many pictures at once: handing
# over small ones (28x28) one by one was measured to take three times as long as one thread alone.
_THREADS = min(4, os.cpu_count() or 1)
_SHARE = 64


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
        return str(Path(value).expanduser().absolute())

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

    Raises:
        DataError: Fewer than two pictures can be read.
    """

    def __init__(self, source: ImageSource, config: ImageConfig, progress: Progress | None = None) -> None:
        look = (config.size, config.channels, config.crop, ImageColor.getrgb(config.background))
        self._cached = cached_array(
            cache_key("images", PIL.__version__, source.fingerprint, *look),
            lambda metadata: _decode_all(source, config, progress, metadata),
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
        return _to_float(self._cached.array[indices.numpy()])

    def batch(self, indices: Tensor, draw: Draw) -> Tensor:
        """Return pictures, mirrored if the config and ``draw`` say so, otherwise like :meth:`pictures`."""
        pixels = self._cached.array[indices.numpy()]
        if self._flip:
            mirrored = draw.uniform("flip").numpy() < 0.5
            pixels[mirrored] = pixels[mirrored, ..., ::-1]
        return _to_float(pixels)


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


def _decode_all(
    source: ImageSource, config: ImageConfig, progress: Progress | None, metadata: dict[str, Any]
) -> Iterator[NDArray[np.uint8]]:
    """Yield every readable picture in order; the metadata are the labels and what was skipped."""
    labels: list[int] = metadata.setdefault("labels", [])
    skipped: list[tuple[str, str]] = metadata.setdefault("skipped", [])
    with ThreadPoolExecutor(_THREADS) as pool:
        for block in _split(range(len(source)), _THREADS * _SHARE):
            for index, result in zip(block, _decode(source, config, block, pool), strict=True):
                if isinstance(result, str):
                    skipped.append((source.name(index), result))
                else:
                    pixels, label = result
                    labels.append(label)
                    yield pixels
            if progress:
                progress(block.stop, len(source))
    if len(labels) < 2:
        others = f"; {source.others:,} other files" if source.others else ""
        readable = "1 readable picture" if labels else "no readable picture"
        raise DataError(
            f"{source} has {readable}, and a GAN needs at least 2 to learn from "
            f"({len(source):,} found{list_skipped(skipped)}{others}).",
            hint="Give --data a folder of pictures that Pillow reads, such as .png or .jpg; "
            "subfolders are searched too.",
        )


def _decode(
    source: ImageSource, config: ImageConfig, block: range, pool: ThreadPoolExecutor
) -> list[tuple[NDArray[np.uint8], int] | str]:
    """Decode a block: pixels and label of each picture, or why it has to be skipped."""

    def decode(index: int) -> tuple[NDArray[np.uint8], int] | str:
        # Pillow's readers raise nearly anything on a hostile file, and one bad file must not stop a run.
        try:
            image, label = source[index]
            with image:
                return to_pixels(image, config.size, config.channels, config.crop, config.background), label
        except Exception as error:
            return _reason(error)

    with warnings.catch_warnings():
        # Filters are shared by all threads, so they are set here, around the block, and not in each thread.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        shares = pool.map(lambda share: [decode(index) for index in share], _split(block, _SHARE))
        return list(chain.from_iterable(shares))


def _split(indices: range, length: int) -> Iterator[range]:
    return (indices[start : start + length] for start in range(0, len(indices), length))


def _reason(error: Exception) -> str:
    """Say in a few words why a picture can't be read."""
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"too large: more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "not a picture"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
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


def _to_float(pixels: NDArray[np.uint8]) -> Tensor:
    """Scale to [-1, 1]. NumPy's one thread takes 0.1 ms, and needn't wait for a core that others use."""
    values = np.divide(pixels, np.float32(127.5), dtype=np.float32)
    return torch.from_numpy(np.subtract(values, np.float32(1.0), out=values))
