"""Sounds as training data: their settings, what ``--data`` may name, and the data set itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
from mmgan.data.audio.av_decoding import has_av
from mmgan.data.audio.blocks import Blocks, Waveform, pieces
from mmgan.data.audio.decoding import Block, CutShortError
from mmgan.data.audio.sources import SoundFolder, SoundSource, blocks_of
from mmgan.data.audio.waveforms import one_shot, resampled
from mmgan.data.cache import CachedArray, are_integers, are_skipped, cache_key, cached_array
from mmgan.data.dataset import Dataset, Draw
from mmgan.data.fingerprints import content_of
from mmgan.data.tree import list_others, list_skipped
from mmgan.errors import DataError

if TYPE_CHECKING:
    from mmgan.data.image.dataset import Progress

#: Hours that a one-shot may last: so long its loudness in each millisecond is held in memory.
_LONGEST_ONE_SHOT = 4


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

    Raises:
        DataError: Fewer than two examples can be read.
    """

    def __init__(self, source: SoundSource, config: AudioConfig, progress: Progress | None = None) -> None:
        look: list[object] = [config.length, config.sample_rate, config.channels, config.normalize]
        look += [config.slice, config.align, config.trim_db] if config.slice == "oneshot" else [config.slice]
        versions = [_version(library) for library in ("soundfile", "torchaudio", "av")]
        self._cached = cached_array(
            cache_key("sounds", *versions, source.fingerprint, *look),
            lambda metadata: _decode_all(source, config, progress, metadata),
            lambda entry: _fits(entry, config),
        )
        metadata = self._cached.metadata
        self._length = config.length
        self._crops = config.slice == "crops"
        # The rows of the array lie end to end, so that a recording is one stretch of frames.
        frames = np.array(metadata["frames"])
        windows = _windows(frames, self._length)
        rows = -(-frames // self._length)
        number = np.arange(windows.sum()) - np.repeat(windows.cumsum() - windows, windows)
        # Of each example: the first frame of its recording and of its window, and how far a crop may move.
        self._first = np.repeat((rows.cumsum() - rows) * self._length, windows)
        self._start = self._first + number * self._length
        self._room = np.repeat(np.maximum(frames - self._length, 0), windows)
        #: int64 (examples,): the class of each one, from 0.
        self.labels = torch.from_numpy(np.repeat(np.array(metadata["labels"], dtype=np.int64), windows))
        #: The name of each class, where the source has names.
        self.classes = list(source.classes)
        #: The name of each sound that was skipped, and why.
        self.skipped = [(str(name), str(reason)) for name, reason in metadata["skipped"]]
        #: The name of each sound that is here but is not whole, and what is missing.
        self.cut_short = [(str(name), str(reason)) for name, reason in metadata["cut_short"]]
        self.fingerprint = metadata["content"]
        self.description = _describe(self, source, config, frames)

    def __len__(self) -> int:
        return len(self._start)

    def sounds(self, indices: Tensor) -> Tensor:
        """Return sounds without augmentation: float32 (batch, channels, length) in [-1, 1].

        Of recordings these are the windows, one after the other. ``indices`` is int64 (batch,).
        """
        return self._cut(self._start[indices.numpy()])

    def batch(self, indices: Tensor, draw: Draw) -> Tensor:
        """Return sounds like :meth:`sounds`, but of recordings crops at random positions.

        Args:
            indices: int64 (batch,).
            draw: Decides where the crops are.
        """
        if not self._crops:
            return self.sounds(indices)
        chosen = indices.numpy()
        position = draw.uniform("crop").numpy() * (self._room[chosen] + 1)
        return self._cut(self._first[chosen] + position.astype(np.int64))

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
    """Whether an entry of the cache holds what :func:`_decode_all` makes."""
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


def _decode_all(
    source: SoundSource, config: AudioConfig, progress: Progress | None, metadata: dict[str, Any]
) -> Iterator[Waveform]:
    """Yield every readable sound in order, in rows (length, channels), the last one padded with zeros.

    The metadata are the labels, how many frames each sound has, and what was skipped or cut short. Of a long
    recording some blocks at a time are in memory, and it is decoded twice.
    """
    labels: list[int] = metadata.setdefault("labels", [])
    lengths: list[int] = metadata.setdefault("frames", [])
    skipped: list[tuple[str, str]] = metadata.setdefault("skipped", [])
    cut_short: list[tuple[str, str]] = metadata.setdefault("cut_short", [])
    metadata["content"] = content_of(source)
    for index in range(len(source)):
        # libsndfile, PyAV and plugins raise nearly anything on a hostile file, and one bad file must not stop
        # a run.
        try:
            sound = _Sound(source, config, index)
        except Exception as error:
            skipped.append((source.name(index), _reason(error)))
        else:
            labels.append(sound.label)
            lengths.append(sound.frames)
            if sound.missing:
                cut_short.append((source.name(index), sound.missing))
            yield from sound.rows()
        if progress:
            progress(index + 1, len(source))
    if (examples := int(_windows(np.array(lengths), config.length).sum())) < 2:
        raise _too_few(source, config, examples, skipped)


class _Sound:
    """A sound of a source, gone through once, and its rows.

    Raises:
        Exception: It can't be read or used.
    """

    def __init__(self, source: SoundSource, config: AudioConfig, index: int) -> None:
        self._name = source.name(index)
        self._config = config
        self._decoded, self.label = blocks_of(source, index)
        #: What is missing of it.
        self.missing = ""
        self._blocks = Blocks(self._waveform)
        if config.slice == "oneshot":
            row = one_shot(self._blocks, config.sample_rate, config.length, config.trim_db, config.align)
            self._blocks = Blocks(lambda: [row])
        # Of a one-shot the peak is that of what was cut, so that each one has it.
        self._peak = max(max(block.max(), -block.min()) for block in self._blocks)
        self.frames = self._blocks.frames

    def rows(self) -> Iterator[Waveform]:
        """Yield it in rows (length, channels)."""
        length = self._config.length
        frames = 0
        try:
            for piece, _ in pieces(self._blocks, length):
                row = piece / self._peak if self._config.normalize == "peak" else np.clip(piece, -1, 1)
                frames += row.shape[1]
                yield np.pad(row.T, ((0, length - row.shape[1]), (0, 0)))
            if frames != self.frames:
                raise ValueError(f"{frames:,} frames instead of {self.frames:,}")
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self._name} changed while it was decoded: {_reason(error)}.",
                hint="Start again when nothing writes to the data any more.",
            ) from error

    def _waveform(self) -> Iterator[Waveform]:
        """Yield blocks at the wanted rate, from the start."""
        hours = _LONGEST_ONE_SHOT if self._config.slice == "oneshot" else math.inf
        most = hours * 3600 * self._config.sample_rate
        frames = 0
        for block in resampled(self._whole_blocks(), self._config.sample_rate, self._config.channels):
            frames += block.shape[1]
            if frames > most:
                raise ValueError(f"longer than {_LONGEST_ONE_SHOT} hours, no one-shot but a recording")
            yield block

    def _whole_blocks(self) -> Iterator[Block]:
        try:
            yield from self._decoded()
        except CutShortError as error:
            self.missing = str(error)


def _windows(frames: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Count the windows that fit into each recording; a shorter one is padded to one."""
    return np.maximum(frames // length, 1)


def _version(library: str) -> str:
    """Return which version is installed, if any, without importing it, which takes seconds."""
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def _reason(error: Exception) -> str:
    """Say in a few words why a sound can't be read."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _too_few(
    source: SoundSource, config: AudioConfig, examples: int, skipped: list[tuple[str, str]]
) -> DataError:
    found = f"{examples or 'no'} readable sound"
    if config.slice == "crops":
        found = f"readable sound for {examples or 'no'} example of {config.length / config.sample_rate:.3g} s"
    hint = (
        "Give --data a folder of sounds that soundfile reads, such as .wav, .flac, .ogg or .mp3; "
        "subfolders are searched too."
    )
    if not has_av():
        hint += " PyAV reads .m4a, .aac, the sound of videos and more: pip install 'mmgan[audio]'."
    if examples and config.slice == "oneshot":
        hint += " Of a long recording, crops are taken with --set slice=crops."
    return DataError(
        f"{source} has {found}, and a GAN needs at least 2 to learn from "
        f"({len(source):,} found{list_skipped(skipped)}{list_others(source)}).",
        hint=hint,
    )


def _describe(data: AudioData, source: SoundSource, config: AudioConfig, frames: NDArray[np.int64]) -> str:
    classes = len(set(data.labels.tolist()))
    in_classes = f" in {classes:,} classes" if classes > 1 else ""
    recordings = f"{len(frames):,} recording{'s' * (len(frames) > 1)}"
    whole = f" from {recordings} of {frames.sum() / config.sample_rate:,.1f} s in all"
    return (
        f"{counted(len(data), 'sound')}{whole if config.slice == 'crops' else ''}{in_classes}, "
        f"{config.length / config.sample_rate:.3g} s each, {config.sample_rate:,} Hz, "
        f"{'mono' if config.channels == 1 else 'stereo'}"
        f"{list_skipped(data.cut_short, 'cut short')}{list_skipped(data.skipped)}{list_others(source)}"
    )
