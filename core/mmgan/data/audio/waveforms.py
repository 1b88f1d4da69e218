"""One sound of any kind to a waveform of the wanted rate and channels, and a one-shot to one of fixed length.

Waveforms are float32 (channels, frames), and pass in blocks: a recording of hours needs little memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from mmgan.counting import counted
from mmgan.data.audio.blocks import Blocks, Waveform, in_blocks, pieces
from mmgan.data.audio.library import torchaudio
from mmgan.data.audio.onsets import audible, first_onset

#: What stays below 1e-4 (80 dB below full scale) is silence: the dither of 16-bit files reaches 6e-5.
_SILENCE = 1e-4
#: Above this, in float files, a sum of squares might overflow.
_HUGE = 1e15
#: The cutoff of the high-pass: the lowest audible frequency, in Hz.
_LOWEST = 20
#: Samples per second that a sound may have. Others come from corrupt headers.
_RATES = range(1_000, 1_000_001)
#: Seconds that a sound must have at least. Shorter ones are left-overs of editing.
_SHORTEST = 0.001
#: Seconds of the fade at a cut, unless that were more than a quarter of the sound.
_FADE = 0.01
#: Zero crossings of the resampling filter on each side: far sharper than torchaudio's 6, hardly slower.
_CROSSINGS = 64
#: Frames that are resampled at once, before or after, whichever are more.
_PIECE = 1 << 20


def to_waveform(samples: Waveform, rate: int, sample_rate: int, channels: int) -> Waveform:
    """Mix a sound and resample it.

    To one channel, all are averaged. To two, a mono sound is doubled; of more than two channels it is unknown
    which loudspeakers they are for, so that their average is doubled, too.

    Args:
        samples: (channels, frames).
        rate: Its frames per second.
        sample_rate: The wanted frames per second.
        channels: 1 or 2.

    Returns:
        (``channels``, frames * sample_rate / rate), as loud as it was, beyond [-1, 1] if it was.

    Raises:
        ValueError: It can't be used: too short, silent, NaN, or at a rate that can't be true.
    """
    return np.concatenate(list(resampled([(samples, rate)], sample_rate, channels)), axis=1)


def resampled(sound: Iterable[tuple[Waveform, int]], sample_rate: int, channels: int) -> Iterator[Waveform]:
    """Mix and resample a sound that comes in blocks, as :func:`to_waveform` does.

    It is done by torchaudio's windowed sinc (Smith, Digital Audio Resampling), in pieces that overlap by the
    filter's length, so that nothing shows where they meet.

    Args:
        sound: Blocks (channels, frames), each with its frames per second.
        sample_rate: The wanted frames per second.
        channels: 1 or 2.

    Yields:
        Blocks (``channels``, frames).

    Raises:
        ValueError: It can't be used, which may show only at its end.
    """
    import torch

    sound = iter(sound)
    first = next(sound, None)
    if first is None:
        raise ValueError("no samples")
    rate = first[1]
    if rate not in _RATES:
        raise ValueError(f"a sample rate of {rate:,} Hz")
    resample = torchaudio().functional.resample
    # torchaudio builds a filter for each phase: for 44,101 to 16,000 Hz that would be gigabytes. A ratio of
    # small numbers is off by less than a millionth there, and not at all for rates that are in use.
    ratio = Fraction(rate, sample_rate).limit_denominator(1000)
    old, new = ratio.numerator, ratio.denominator
    # Pieces begin at multiples of the old period, where an old and a new sample coincide.
    margin = old * math.ceil(2 * _CROSSINGS / min(old, new))
    size = old * math.ceil(_PIECE / max(old, new))
    heard = _Range()
    for piece, before in pieces(_mixed(itertools.chain([first], sound), channels), size, margin):
        frames = math.ceil(Fraction(min(size, piece.shape[1] - before) * new, old))
        skipped = before // old * new
        part = torch.from_numpy(np.array(piece))
        result = resample(part, old, new, lowpass_filter_width=_CROSSINGS)
        if result.shape[1] < skipped + frames:
            # torchaudio rounds the length to a float32, by which the last frame may be lost.
            part = torch.nn.functional.pad(part, (0, old))
            result = resample(part, old, new, lowpass_filter_width=_CROSSINGS)
        block = result[:, skipped : skipped + frames].numpy().astype(np.float32, copy=False)
        block = np.repeat(block, channels // len(block), axis=0)
        heard.add(block)
        yield block
    if heard.silent:
        raise ValueError("silent when its channels are mixed")


def _mixed(sound: Iterable[tuple[Waveform, int]], channels: int) -> Iterator[Waveform]:
    """Look at a sound, and yield it with the wanted channels, or with one where they would be the same."""
    frames = 0
    kind = None
    heard = _Range()
    for samples, rate in sound:
        kind = kind or (rate, len(samples))
        if kind != (rate, len(samples)):
            raise ValueError("its sample rate or its number of channels changes")
        for block in in_blocks(samples):
            frames += block.shape[1]
            # Minimum and maximum are NaN if any value is.
            if not heard.add(block) < _HUGE:
                raise ValueError("samples that are NaN, infinite or huge")
            yield block if len(block) == channels else block.mean(axis=0, keepdims=True)
    if kind is None or not frames:
        raise ValueError("no samples")
    if frames < kind[0] * _SHORTEST:
        raise ValueError(f"too short: {counted(frames, 'sample')}")
    if heard.silent:
        raise ValueError("silent")


class _Range:
    """The least and the greatest value of each channel, of all blocks."""

    def __init__(self) -> None:
        self._least: NDArray[np.float32] | None = None
        self._greatest: NDArray[np.float32] | None = None

    def add(self, block: Waveform) -> float:
        """Look at a block, and return its greatest absolute value, or NaN where there is any."""
        block = np.ascontiguousarray(block)  # by far faster where the channels lie side by side
        least, greatest = block.min(axis=1), block.max(axis=1)
        self._least = least if self._least is None else np.minimum(self._least, least)
        self._greatest = greatest if self._greatest is None else np.maximum(self._greatest, greatest)
        return float(np.maximum(greatest, -least).max())

    @property
    def silent(self) -> bool:
        if self._least is None or self._greatest is None:
            return True
        return bool((self._greatest - self._least <= 2 * _SILENCE).all())


def one_shot(waveform: Waveform | Blocks, rate: int, length: int, trim_db: float, align: bool) -> Waveform:
    """Cut a single hit, note or word to a fixed length, starting where it starts.

    Args:
        waveform: (channels, frames).
        rate: Its frames per second.
        length: Frames wanted. What is longer is cut, what is shorter is filled up with zeros.
        trim_db: Cut off at both ends what is this far below the loudest 20 ms; 0: nothing.
        align: Start at the onset, see :func:`onset`.

    Returns:
        (channels, ``length``).

    Raises:
        ValueError: What is left is silent.
    """
    sound = waveform if isinstance(waveform, Blocks) else Blocks(lambda: in_blocks(waveform))
    start, end = audible(sound, rate // 50, trim_db) if trim_db else (0, sound.frames)
    if align:
        start += first_onset(sound.part(start, end), rate)
    end = min(end, start + length, sound.frames)
    kept = np.concatenate([next(iter(sound))[:, :0], *sound.part(start, end)], axis=1)
    row = np.zeros((len(kept), length), dtype=np.float32)
    row[:, : end - start] = kept
    if end < sound.frames:
        # A sound that breaks off ends in a click, and a network would learn clicks.
        fade = min(round(_FADE * rate), (end - start) // 4)
        row[:, end - start - fade : end - start] *= np.cos(np.linspace(0, np.pi / 2, fade, dtype=np.float32))
    if is_silent(row):
        raise ValueError("silent where it would be heard")
    return row


def onset(waveform: Waveform, rate: int) -> int:
    """Find the frame where a hit starts, or 0 where it starts at once: see :func:`first_onset`."""
    return first_onset(in_blocks(waveform), rate)


def is_silent(waveform: Waveform) -> bool:
    """Whether a sound is silent, judged by each channel's range: any constant is."""
    return bool((np.ptp(waveform, axis=1) <= 2 * _SILENCE).all())


def without_rumble(samples: NDArray[np.floating], rate: int) -> NDArray[np.float64]:
    """Apply a first-order high-pass at 20 Hz (6 dB an octave), which also removes DC.

    Args:
        samples: (…, frames).
        rate: Samples in a second (Hz).
    """
    from scipy.signal import butter, sosfilt  # type: ignore[import-untyped]

    heard: NDArray[np.float64] = sosfilt(butter(1, _LOWEST, "highpass", fs=rate, output="sos"), samples)
    return heard
