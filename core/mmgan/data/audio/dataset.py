"""Sounds as training data: their settings, what ``--data`` may name, and the data set itself."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from mmgan.config import Config
from mmgan.counting import counted
from mmgan.data.audio.reading import decode_all, windows_in
from mmgan.data.audio.sources import SoundFolder, SoundSource
from mmgan.data.cache import CachedArray, are_integers, are_skipped, cache_key, cached_array
from mmgan.data.columns import read_columns
from mmgan.data.dataset import Dataset, Draw
from mmgan.data.fingerprints import with_table
from mmgan.data.tree import list_others, list_skipped
from mmgan.errors import DataError

if TYPE_CHECKING:
    from mmgan.data.decoding import Progress


class AudioConfig(Config):
    """The settings of a task that trains on sounds."""

    length: int = Field(16384, ge=1, description="length of a sound, in samples")
    sample_rate: int = Field(16000, ge=1_000, le=192_000, description="samples in a second (Hz)")
    channels: Literal[1, 2] = Field(1, description="1: mono, 2: stereo")
    slice: Literal["oneshot", "crops"] = Field(
        "oneshot", description="a file is one sound, cut or padded; or a recording, of which crops are taken"
    )
    normalize: Literal["peak", "none"] = Field(
        "peak", description="make each one-shot or recording as loud as possible, or clip what is too loud"
    )
    align: bool = Field(True, description="let one-shots start where the sound does")
    trim_db: float = Field(
        60, ge=0, description="cut the ends of one-shots that are this far below their loudest part; 0: keep"
    )


class AudioData(Dataset):
    """Sounds of one length, rate and number of channels, decoded once into the cache.

    Of one-shots (``slice="oneshot"``) each file is one example. Of recordings (``slice="crops"``) each
    window of ``length`` is one, so that a long recording counts for more, and a batch takes crops at random
    positions instead of the windows.
    A sound that can't be read (torn, empty, silent, no sound at all) is skipped, counted and named. One that
    is not whole, in a format that does not say how long it is, is taken as it is, counted and named.

    Args:
        source: Where the sounds come from.
        config: Their length and the like.
        progress: Called now and then while sounds are decoded, which only happens the first time.
        holds: What a batch holds: ("sounds", "label") makes it a dict with these names; see
            :attr:`mmgan.Task.holds`. A sound without a value that is held is left out, counted and named.

    Raises:
        DataError: Fewer than two examples can be read, or have what is held.
    """

    def __init__(
        self,
        source: SoundSource,
        config: AudioConfig,
        progress: Progress | None = None,
        holds: Sequence[str] = (),
    ) -> None:
        look: list[object] = [config.length, config.sample_rate, config.channels, config.normalize]
        look += [config.slice, config.align, config.trim_db] if config.slice == "oneshot" else [config.slice]
        versions = [_version(library) for library in ("soundfile", "torchaudio", "av")]
        self._cached = cached_array(
            cache_key("sounds", *versions, source.fingerprint, *look),
            lambda metadata: decode_all(source, config, progress, metadata),
            lambda entry: _fits(entry, config),
        )
        metadata = self._cached.metadata
        self._length = config.length
        self._crops = config.slice == "crops"
        # The rows of the array lie end to end, so that a recording is one stretch of frames.
        frames = np.array(metadata["frames"])
        #: The name of each sound that was skipped, and why.
        self.skipped = [(str(name), str(reason)) for name, reason in metadata["skipped"]]
        columns = read_columns("sounds", holds, source, metadata["labels"], self.skipped)
        rows = -(-frames // self._length)
        first = ((rows.cumsum() - rows) * self._length)[columns.kept]
        frames = frames[columns.kept]
        windows = windows_in(frames, self._length)
        number = np.arange(windows.sum()) - np.repeat(windows.cumsum() - windows, windows)
        # Of each example: the first frame of its recording and of its window, and how far a crop may move.
        self._first = np.repeat(first, windows)
        self._start = self._first + number * self._length
        self._room = np.repeat(np.maximum(frames - self._length, 0), windows)
        self._columns = columns.repeated(windows)
        #: int64 (examples,): the class of each one, from 0.
        self.labels = self._columns.labels
        #: The name of each class, where the source has names.
        self.classes = list(self._columns.classes)
        #: What is known of the sounds as a whole.
        self.info = self._columns.info((config.channels, config.length))
        #: The name of each sound that is here but is not whole, and what is missing.
        self.cut_short = [(str(name), str(reason)) for name, reason in metadata["cut_short"]]
        self.fingerprint = with_table(metadata["content"], source, holds)
        self.description = _describe(self, source, config, frames)

    def __len__(self) -> int:
        return len(self._start)

    def sounds(self, indices: Tensor) -> Tensor:
        """Return sounds without augmentation: float32 (batch, channels, length) in [-1, 1].

        Of recordings these are the windows, one after the other. ``indices`` is int64 (batch,).
        """
        return self._cut(self._start[indices.numpy()])

    def batch(self, indices: Tensor, draw: Draw) -> Any:
        """Return sounds like :meth:`sounds`, but of recordings crops at random positions.

        Args:
            indices: int64 (batch,).
            draw: Decides where the crops are.

        Returns:
            The sounds, or a dict of all that a batch holds: "sounds", "label" (int64 (batch,)), ….
        """
        chosen = indices.numpy()
        starts = self._start[chosen]
        if self._crops:
            position = draw.uniform("crop").numpy() * (self._room[chosen] + 1)
            starts = self._first[chosen] + position.astype(np.int64)
        return self._columns.batch(self._cut(starts), indices)

    def _cut(self, starts: NDArray[np.int64]) -> Tensor:
        frames = self._cached.array.reshape(-1, self._cached.array.shape[-1])
        sounds = np.stack([frames[start : start + self._length] for start in starts])
        return torch.from_numpy(np.ascontiguousarray(sounds.transpose(0, 2, 1)))


def open_folder(path: str, config: AudioConfig) -> SoundSource:
    """Open a folder of sounds, or one recording.

    Raises:
        DataError: There is no such folder or file.
    """
    if not Path(path).exists():
        raise DataError(f"There is no folder or file {path!r}.", hint="Give --data a folder of sounds.")
    return SoundFolder(Path(path))


def _fits(entry: CachedArray, config: AudioConfig) -> bool:
    """Whether an entry of the cache holds what :func:`decode_all` makes."""
    names = ("labels", "frames", "skipped", "cut_short", "content")
    labels, frames, skipped, cut_short, content = (entry.metadata.get(name) for name in names)
    return (
        entry.array.dtype == np.float32
        and entry.array.shape[1:] == (config.length, config.channels)
        and (are_integers(labels) and are_integers(frames, least=1) and len(labels) == len(frames))
        and sum(-(-count // config.length) for count in frames) == len(entry.array)
        and (are_skipped(skipped) and are_skipped(cut_short))
        and isinstance(content, str)
    )


def _version(library: str) -> str:
    """Return which version is installed, if any, without importing it, which takes seconds."""
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def _describe(data: AudioData, source: SoundSource, config: AudioConfig, frames: NDArray[np.int64]) -> str:
    classes = len(set(data.labels.tolist()))
    in_classes = f" in {classes:,} classes" if classes > 1 else ""
    recordings = f"{len(frames):,} recording{'s' * (len(frames) > 1)}"
    whole = f" from {recordings} of {frames.sum() / config.sample_rate:,.1f} s in all"
    return (
        f"{counted(len(data), 'sound')}{whole if config.slice == 'crops' else ''}{in_classes}, "
        f"{config.length / config.sample_rate:.3g} s each, {config.sample_rate:,} Hz, "
        f"{'mono' if config.channels == 1 else 'stereo'}"
        f"{list_skipped(data.cut_short, 'cut short')}{list_skipped(data.skipped)}"
        f"{data._columns.told}{list_others(source)}"
    )
