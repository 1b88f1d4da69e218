"""A drum machine: five instruments, synthesised from random parameters.

The recipes are those of the analogue machines of around 1980 (Roland's TR-808 and TR-909): sums of a few
decaying tones and bursts of filtered noise. See Reid, "Synth Secrets" (Sound on Sound, 2002, on percussion),
and Werner, Abel and Smith, "A Physically-Informed, Circuit-Bendable, Digital Model of the Roland TR-808 Bass
Drum Circuit" (DAFx 2014).

Signals are float64 arrays at a rate in Hz, times are in seconds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mmgan import DataError
from mmgan.data.audio.waveforms import without_rumble
from mmgan_wavegan.config import WaveGANConfig

Signal = NDArray[np.float64]

#: Raise it whenever the same seed must stand for other sounds.
VERSION = 1
COUNT = 2_000
#: How much faster than the wanted rate the hits are made: what would fold back to audible frequencies is
#: filtered away before they are decimated.
OVERSAMPLING = 2
#: The hi-hat's six oscillators in the TR-808, in Hz: no two of them are in harmony.
METAL = (205.3, 304.4, 369.6, 522.7, 540.0, 800.0)


class DrumMachine:
    """So many drum hits, the five instruments in turn.

    A hit is a function of (seed, index, rate) alone.

    Args:
        count: How many.
        rate: Samples in a second (Hz).
        seed: Of all parameters.
    """

    others = 0

    def __init__(self, count: int, rate: int, seed: int) -> None:
        self.count, self.rate, self.seed = count, rate, seed
        self.classes = list(INSTRUMENTS)
        self.fingerprint = f"drums {VERSION} {count} {rate} {seed}"

    def __str__(self) -> str:
        return "synthesised drums"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], int, int]:
        """Return a hit (1, frames), its rate, and which instrument it is."""
        rng = np.random.default_rng([self.seed, index])
        label = index % len(self.classes)
        hit = INSTRUMENTS[self.classes[label]](rng, self.rate * OVERSAMPLING)
        hit = _finish(hit, self.rate)
        velocity = rng.uniform(0.5, 1.0)
        return (velocity * hit / np.abs(hit).max())[None].astype(np.float32), self.rate, label

    def name(self, index: int) -> str:
        """Return a hit's instrument and number."""
        return f"{self.classes[index % len(self.classes)]} {index}"


def open_drums(argument: str, config: WaveGANConfig) -> DrumMachine:
    """Open ``drums`` or ``drums:COUNT``.

    Raises:
        DataError: What follows the colon is no number of hits.
    """
    if argument and (not argument.isdecimal() or len(argument) > 7 or not 2 <= int(argument) <= 1_000_000):
        raise DataError(
            f"data = {f'drums:{argument}'!r}: what follows the colon must be a number from 2 to 1000000.",
            hint=f"--data drums:{COUNT} is the default.",
        )
    return DrumMachine(int(argument or COUNT), config.sample_rate, config.seed)


# The instruments.


def kick(rng: Generator, rate: int) -> Signal:
    """A bass drum: a sine whose pitch falls fast to a low note, and the click of the beater."""
    decay = rng.uniform(0.05, 0.18)
    time = _time(decay, rate)
    body = _sweep(time, rng.uniform(110, 350), rng.uniform(42, 60), rng.uniform(0.015, 0.05), rate)
    click = _noise(rng, time, rate, 800, 5_000) * _decay(time, 0.004)
    # A little overdrive adds the overtones by which small loudspeakers let a bass drum be heard.
    drive = rng.uniform(1.0, 3.0)
    return np.tanh(drive * (body * _decay(time, decay) + rng.uniform(0.02, 0.25) * click))


def snare(rng: Generator, rate: int) -> Signal:
    """A snare drum: the two lowest modes of its head, and the wires below it, which rattle longer."""
    decay = rng.uniform(0.05, 0.15)
    time = _time(decay, rate)
    tuning = rng.uniform(160, 240)
    head = _sweep(time, 1.3 * tuning, tuning, 0.01, rate)
    head += 0.6 * _sweep(time, 2.1 * tuning, rng.uniform(1.6, 1.85) * tuning, 0.01, rate)
    wires = _noise(rng, time, rate, rng.uniform(900, 2_000), rng.uniform(6_500, 9_000))
    tone = head * _decay(time, rng.uniform(0.4, 0.8) * decay)
    return tone + rng.uniform(0.6, 1.3) * wires * _decay(time, decay)


def hat(rng: Generator, rate: int) -> Signal:
    """A hi-hat, closed or open: six square waves out of tune with each other, of which the top is left."""
    is_open = rng.random() < 0.4
    decay = rng.uniform(0.12, 0.25) if is_open else rng.uniform(0.015, 0.05)
    time = _time(decay, rate)
    tuning = rng.uniform(0.9, 1.4)
    metal = np.zeros(len(time))
    for pitch in METAL:
        phase = tuning * pitch * rng.uniform(0.98, 1.02) * time + rng.random()
        metal += np.sign(np.sin(2 * np.pi * phase)) / len(METAL)
    hiss = _noise(rng, time, rate, 4_000, 12_000)
    bright = _filter(metal, rate, rng.uniform(4_500, 6_500), 12_000)
    return (bright + rng.uniform(0.1, 0.5) * hiss) * _decay(time, decay)


def clap(rng: Generator, rate: int) -> Signal:
    """Hand claps: three or four bursts of noise, since no crowd claps at once, and a short room."""
    decay = rng.uniform(0.03, 0.09)
    time = _time(decay, rate)
    centre = rng.uniform(950, 1_700)
    envelope = np.zeros(len(time))
    starts = np.arange(rng.integers(3, 5)) * rng.uniform(0.009, 0.014) * rng.uniform(0.95, 1.05)
    for start in starts:
        envelope += _decay(time - start, 0.003)
    envelope += rng.uniform(0.4, 0.8) * _decay(time - starts[-1], decay)
    return _noise(rng, time, rate, centre / 1.5, centre * 2) * envelope


def tom(rng: Generator, rate: int) -> Signal:
    """A tom: a tuned head whose pitch falls a little, an overtone, and the stroke of the stick."""
    decay = rng.uniform(0.06, 0.16)
    time = _time(decay, rate)
    tuning = rng.uniform(85, 230)
    body = _sweep(time, rng.uniform(1.2, 1.6) * tuning, tuning, rng.uniform(0.03, 0.08), rate)
    # 1.59: the ratio of a round membrane's second mode to its first.
    overtone = _sweep(time, 1.9 * tuning, 1.59 * tuning, 0.03, rate) * _decay(time, decay / 3)
    stick = _noise(rng, time, rate, 600, 4_000) * _decay(time, rng.uniform(0.006, 0.015))
    drum = (body + rng.uniform(0.1, 0.3) * overtone) * _decay(time, decay)
    return drum + rng.uniform(0.1, 0.35) * stick


INSTRUMENTS: dict[str, Callable[[Generator, int], Signal]] = {
    "kick": kick,
    "snare": snare,
    "hat": hat,
    "clap": clap,
    "tom": tom,
}

# What they are made of.


def _time(decay: float, rate: int) -> Signal:
    """The times of a hit that falls by 52 dB: six time constants."""
    return np.arange(round(6 * decay * rate)) / rate


def _decay(time: Signal, constant: float) -> Signal:
    """Fall exponentially from time 0, to 1/e in the time constant: as a capacitor does, and a drum's head."""
    return np.where(time < 0, 0, np.exp(-time.clip(min=0) / constant))


def _sweep(time: Signal, start: float, end: float, constant: float, rate: int) -> Signal:
    """A sine whose frequency falls exponentially from ``start`` to ``end`` (Hz)."""
    frequency = end + (start - end) * np.exp(-time / constant)
    return np.sin(2 * np.pi * np.cumsum(frequency) / rate)


def _noise(rng: Generator, time: Signal, rate: int, low: float, high: float) -> Signal:
    """White noise between two frequencies (Hz), of the loudness of a sine."""
    noise = _filter(rng.standard_normal(len(time)), rate, low, high)
    white: Signal = noise / (np.sqrt(2 * np.mean(noise**2)) + 1e-12)
    return white


def _filter(signal: Signal, rate: int, low: float, high: float) -> Signal:
    """Pass what lies between two frequencies (Hz), with 12 dB an octave on either side (Butterworth)."""
    from scipy.signal import butter, sosfilt  # type: ignore[import-untyped]

    # Below half the rate that the sound will have, or there is nothing left of it.
    top = 0.45 * rate / OVERSAMPLING
    band = min(low, 0.5 * top), min(high, top)
    filtered: Signal = sosfilt(butter(2, band, "bandpass", fs=rate, output="sos"), signal)
    return filtered


def _finish(hit: Signal, rate: int) -> Signal:
    """Decimate to the wanted rate, take away what is below hearing, and fade the end out."""
    from scipy.signal import resample_poly

    hit = resample_poly(hit, 1, OVERSAMPLING)
    hit = without_rumble(hit, rate)
    fade = min(len(hit), round(0.01 * rate))
    hit[-fade:] *= np.linspace(1, 0, fade)
    # The filter's offset that a short hit may have kept.
    window = np.hanning(len(hit) + 2)[1:-1]
    centred: Signal = hit - hit.sum() * window / window.sum()
    return centred
