"""Reading every sound of a source in rows of equal length, at the wanted rate and loudness."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmgan.data.audio.av_decoding import has_av
from mmgan.data.audio.blocks import Blocks, Waveform, pieces
from mmgan.data.audio.decoding import Block, CutShortError
from mmgan.data.audio.library import torchaudio
from mmgan.data.audio.sources import SoundSource, blocks_of
from mmgan.data.audio.waveforms import one_shot, resampled
from mmgan.data.fingerprints import content_of
from mmgan.data.tree import list_others, list_skipped
from mmgan.errors import DataError

if TYPE_CHECKING:
    from mmgan.data.audio.dataset import AudioConfig
    from mmgan.data.decoding import Progress

#: Hours that a one-shot may last: so long its loudness in each millisecond is held in memory.
_LONGEST_ONE_SHOT = 4


def decode_all(
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
    torchaudio()  # One that does not fit torch fails here, and not with each sound.
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
    if (examples := int(windows_in(np.array(lengths), config.length).sum())) < 2:
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


def windows_in(frames: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Count the windows that fit into each recording; a shorter one is padded to one."""
    return np.maximum(frames // length, 1)


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
