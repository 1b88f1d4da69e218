"""One sound of any kind to a waveform of the wanted rate and channels, and a one-shot to one of fixed length.

Waveforms are float32 (channels, frames).
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from mmgan.audio_library import torchaudio

Waveform = NDArray[np.float32]

#: What stays below 1e-4 (80 dB below full scale) is silence: the dither of 16-bit files reaches 6e-5.
_SILENCE = 1e-4
#: Above this, in float files, a sum of squares might overflow.
_HUGE = 1e15
#: The lowest frequency that is heard, in Hz.
_LOWEST = 20
#: Samples per second that a sound may have. Others come from headers that are no headers.
_RATES = range(1_000, 1_000_001)
#: Seconds that a sound must have at least. Shorter ones are left-overs of editing.
_SHORTEST = 0.001
#: Seconds of the fade at a cut, unless that were more than a quarter of the sound.
_FADE = 0.01
#: Zero crossings of the resampling filter on each side: far sharper than torchaudio's 6, hardly slower.
_CROSSINGS = 64
#: Frames that are resampled at once.
_PIECE = 1 << 20
#: What may be lost before a hit: 20 dB below the loudest part.
_ATTACK = 0.1
#: Where an attack has begun at the latest: 40 dB below the loudest part.
_FAINT = 0.01


def to_waveform(samples: Waveform, rate: int, sample_rate: int, channels: int) -> Waveform:
    """Mix a sound and resample it.

    To one channel, all are averaged. To two, a mono sound is doubled; of more than two channels nobody knows
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
    if rate not in _RATES:
        raise ValueError(f"a sample rate of {rate:,} Hz")
    if samples.shape[1] < rate * _SHORTEST:
        raise ValueError(f"too short: {samples.shape[1]} samples" if samples.size else "no samples")
    # Least and greatest value tell of NaN, too, and need no copy of a recording that lasts for hours.
    if not max(samples.max(), -samples.min()) < _HUGE:
        raise ValueError("samples that are NaN, infinite or huge")
    if is_silent(samples):
        raise ValueError("silent")
    waveform = _resample(samples, rate, sample_rate, channels)
    if is_silent(waveform):
        raise ValueError("silent when its channels are mixed")
    return waveform


def _resample(samples: Waveform, rate: int, sample_rate: int, channels: int) -> Waveform:
    """Resample by torchaudio's windowed sinc (Smith, Digital Audio Resampling), mixing on the way.

    It is done in pieces, so that of a long recording only the result is held besides. They overlap by the
    filter's length, so that nothing shows where they meet.
    """
    import torch

    resample = torchaudio().functional.resample
    # torchaudio builds a filter for each phase: for 44,101 to 16,000 Hz that would be gigabytes. A ratio of
    # small numbers is off by less than a millionth there, and not at all for rates that are in use.
    ratio = Fraction(rate, sample_rate).limit_denominator(1000)
    old, new = ratio.numerator, ratio.denominator
    frames = samples.shape[1]
    waveform = np.empty((channels, math.ceil(frames * new / old)), dtype=np.float32)
    # Pieces begin at multiples of the old period, where an old and a new sample coincide.
    margin = old * math.ceil(2 * _CROSSINGS / min(old, new))
    piece = old * math.ceil(_PIECE / old)
    for start in range(0, frames, piece):
        first = max(0, start - margin)
        part = samples[:, first : start + piece + margin]
        if len(part) != channels:
            part = part.mean(axis=0, keepdims=True)
        part = resample(torch.from_numpy(np.array(part)), old, new, lowpass_filter_width=_CROSSINGS).numpy()
        skip, begin = (start - first) // old * new, start // old * new
        target = waveform[:, begin : begin + piece // old * new]
        target[:] = part[:, skip : skip + target.shape[1]]
    return waveform


def one_shot(waveform: Waveform, rate: int, length: int, trim_db: float, align: bool) -> Waveform:
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
    start, end = 0, waveform.shape[1]
    if trim_db:
        from librosa.effects import trim

        window = rate // 50
        start, end = trim(waveform, top_db=trim_db, frame_length=window, hop_length=window // 4)[1]
    if align:
        start += onset(waveform[:, start:end], rate)
    end = min(end, start + length)
    row = np.zeros((len(waveform), length), dtype=np.float32)
    row[:, : end - start] = waveform[:, start:end]
    if end < waveform.shape[1]:
        # A sound that breaks off ends in a click, and a network would learn clicks.
        fade = min(round(_FADE * rate), (end - start) // 4)
        row[:, end - start - fade : end - start] *= np.cos(np.linspace(0, np.pi / 2, fade, dtype=np.float32))
    if is_silent(row):
        raise ValueError("silent where it would be heard")
    return row


def onset(waveform: Waveform, rate: int) -> int:
    """Find the frame where a hit starts, or 0 where it starts at once.

    That is the first sudden rise of loudness, found by librosa on an envelope of 1 ms steps, or whatever
    comes within 20 dB of the peak if that is earlier (a swell has no sudden rise, or a late one); then back
    to where the loudness was least, or 40 dB below the peak, so that the attack is whole. A noise floor or
    the tone of a room is cut off, since its own rises are small beside the hit's: the envelope is of
    amplitudes, where librosa's usual one, of decibels, would start at the noise.
    """
    from librosa.feature import rms
    from librosa.onset import onset_backtrack, onset_detect

    step = rate // 1000
    loudness = rms(y=waveform, frame_length=4 * step, hop_length=step).max(axis=0)[0]
    rises = np.maximum(0, np.diff(loudness, prepend=0))
    sudden = onset_detect(onset_envelope=rises, sr=rate, hop_length=step, delta=_ATTACK)
    loud = np.flatnonzero(loudness >= _ATTACK * loudness.max())
    first = min([*sudden[:1], loud[0]])
    least = onset_backtrack(np.array([first]), loudness)
    quiet = np.flatnonzero(loudness[:first] < _FAINT * loudness.max())
    return int(max([*least, *quiet[-1:]])) * step


def is_silent(waveform: Waveform) -> bool:
    """Whether nothing is to be heard, which is so of any constant: each channel's range is looked at."""
    return bool((np.ptp(waveform, axis=1) <= 2 * _SILENCE).all())


def without_rumble(samples: NDArray[np.floating], rate: int) -> NDArray[np.float64]:
    """Take away what is too low to be heard, as the capacitor at an amplifier's input does (6 dB an octave).

    Args:
        samples: (…, frames).
        rate: Samples in a second (Hz).
    """
    from scipy.signal import butter, sosfilt  # type: ignore[import-untyped]

    heard: NDArray[np.float64] = sosfilt(butter(1, _LOWEST, "highpass", fs=rate, output="sos"), samples)
    return heard
