"""Onset and end of a one-shot.

The methods are those of librosa's ``trim``, ``onset_detect`` and ``onset_backtrack``, with the same results,
but they go through a sound block by block. librosa would also take 200 MB of memory and seconds to import.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mmgan.data.audio.blocks import Waveform

#: What may be lost before a hit: 20 dB below the loudest part.
_ATTACK = 0.1
#: Where an attack has begun at the latest: 40 dB below the loudest part.
_FAINT = 0.01
#: Power below this counts as silence.
_LEAST = 1e-10


def audible(blocks: Iterable[Waveform], window: int, trim_db: float) -> tuple[int, int]:
    """Find what is less than ``trim_db`` below the loudest window.

    Args:
        blocks: All of a sound.
        window: Frames whose loudness is taken together.
        trim_db: In dB.

    Returns:
        The first frame and the one after the last, in steps of a quarter of a window; maybe beyond the end.
    """
    hop = window // 4
    power = np.square(loudness(blocks, window, hop).max(axis=0))
    decibels = 10.0 * np.log10(np.maximum(_LEAST, power))
    decibels -= 10.0 * np.log10(np.maximum(_LEAST, power.max()))
    heard = np.flatnonzero(decibels > -trim_db)
    return int(heard[0]) * hop, int(heard[-1] + 1) * hop


def first_onset(blocks: Iterable[Waveform], rate: int) -> int:
    """Find the frame where a hit starts, or 0 where it starts at once.

    That is the first sudden rise of loudness, on an envelope of 1 ms steps, or whatever comes within 20 dB of
    the peak if that is earlier (a swell has no sudden rise, or a late one); then back to where the loudness
    was least, or 40 dB below the peak, so that the attack is whole. A noise floor or the tone of a room is
    cut off, since its own rises are small beside the hit's: the envelope is of amplitudes, where librosa's
    usual one, of decibels, would start at the noise.
    """
    step = rate // 1000
    level = loudness(blocks, 4 * step, step).max(axis=0)
    peak = level.max()
    loud = int(np.argmax(level >= _ATTACK * peak))
    first = _sudden_rise(level, loud, rate, step)
    before = level[: first + 2]
    least = np.flatnonzero((before[1:-1] <= before[:-2]) & (before[1:-1] < before[2:]))
    quiet = np.flatnonzero(level[:first] < _FAINT * peak)
    return int(max([0, *(least[-1:] + 1), *quiet[-1:]])) * step


def _sudden_rise(level: NDArray[np.float32], loud: int, rate: int, step: int) -> int:
    """Return the first peak of the rises of loudness (Böck et al. 2012), but at the latest ``loud``."""
    # Steps to look at before and after: 30 ms for the highest, 100 ms for the mean.
    highest, mean, after = 0.03 * rate // step, 0.1 * rate // step, 0.1 * rate // step + 1
    rises = np.diff(level, prepend=np.float32(0))
    np.maximum(0, rises, out=rises)
    rises -= rises.min()
    rises /= rises.max() + np.finfo(np.float32).tiny
    for number in np.flatnonzero(rises[: loud + 1] >= _ATTACK):
        value = rises[number]
        if number and value < rises[max(0, number - int(highest)) : number].max():
            continue
        around = rises[max(0, number - int(mean)) : number + int(after)]
        if value >= around.mean(dtype=np.float64) + _ATTACK:
            return int(number)
    return loud


def loudness(blocks: Iterable[Waveform], window: int, hop: int) -> NDArray[np.float32]:
    """Return the root mean square of windows centred at the frames 0, hop, 2 hop, …: (channels, n)."""
    found = []
    held: Waveform | None = None
    for block in itertools.chain(blocks, [None]):
        if held is None:
            assert block is not None
            held = np.zeros((len(block), window // 2), dtype=np.float32)
        end = np.zeros((len(held), window // 2), dtype=np.float32)
        held = np.concatenate([held, end if block is None else block], axis=1)
        count = (held.shape[1] - window) // hop + 1
        if count > 0:
            windows = sliding_window_view(held, window, axis=1)[:, : count * hop : hop]
            found.append(np.sqrt(np.square(windows).mean(axis=-1)))
            held = held[:, count * hop :]
    return np.concatenate(found, axis=1)
