"""The drum machine: its hits are what a musician would call them, and functions of seed and number alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

import mmgan
from mmgan.config import check
from mmgan.data.audio.dataset import AudioData
from mmgan.metrics.audio import LogMel, centroids
from mmgan_wavegan.config import WaveGANConfig
from mmgan_wavegan.drums import INSTRUMENTS, DrumMachine, open_drums

RATE = 16_000
CLASSES = list(INSTRUMENTS)


def hits(instrument: str, count: int = 20, rate: int = RATE) -> list[NDArray[np.float32]]:
    machine = DrumMachine(5 * count, rate, seed=3)
    start = CLASSES.index(instrument)
    return [machine[index][0][0] for index in range(start, 5 * count, 5)]


def centroid(sound: NDArray[np.float32]) -> float:
    return float(centroids(torch.from_numpy(sound)[None], RATE)[0])


def test_a_hit_is_a_function_of_seed_and_number() -> None:
    one, other = DrumMachine(10, RATE, 1), DrumMachine(1000, RATE, 1)
    backwards = {index: one[index][0] for index in reversed(range(10))}
    for index in range(10):
        assert np.array_equal(other[index][0], backwards[index])
    assert not np.array_equal(DrumMachine(10, RATE, 2)[0][0], one[0][0])
    assert not np.array_equal(one[0][0][:, :500], one[5][0][:, :500]), "two kicks differ"
    prints = {DrumMachine(n, r, s).fingerprint for n in (10, 20) for r in (8_000, RATE) for s in (0, 1)}
    assert len(prints) == 8


def test_instruments_take_turns() -> None:
    machine = DrumMachine(23, RATE, 0)
    assert machine.classes == CLASSES == ["kick", "snare", "hat", "clap", "tom"]
    assert [machine[index][2] for index in range(7)] == [0, 1, 2, 3, 4, 0, 1]
    assert machine.name(7) == "hat 7"
    assert len(machine) == 23


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("instrument", CLASSES)
def test_every_hit_is_clean(instrument: str, rate: int) -> None:
    for hit in hits(instrument, 8, rate):
        assert np.isfinite(hit).all()
        assert 0.5 <= np.abs(hit).max() <= 1
        assert 0.05 < len(hit) / rate < 1.6
        assert abs(hit.mean()) < 0.001, "no offset"
        assert np.abs(hit[-5:]).max() < 0.01, "no click at the end"
        loud = np.abs(hit) > 0.05 * np.abs(hit).max()
        assert loud.argmax() / rate < 0.003, "begins at once"


def test_a_kick_is_low_and_falls_in_pitch() -> None:
    for hit in hits("kick"):
        assert centroid(hit) < 300
        begin, end = hit[: round(0.03 * RATE)], hit[round(0.1 * RATE) : round(0.25 * RATE)]

        def pitch(part: NDArray[np.float32]) -> float:
            return float(np.abs(np.diff(np.sign(part))).sum() / 2 / 2 / len(part) * RATE)

        assert pitch(end) < 75
        assert pitch(begin) > pitch(end)


def test_a_hat_is_bright_and_closed_or_open() -> None:
    sounds = hits("hat", 40)
    assert min(map(centroid, sounds)) > 3_000
    lengths = sorted(len(hit) / RATE for hit in sounds)
    assert lengths[0] < 0.3
    assert lengths[-1] > 0.7


def test_a_snare_has_tone_and_noise() -> None:
    for hit in hits("snare"):
        power = np.abs(np.fft.rfft(hit)) ** 2
        at = np.fft.rfftfreq(len(hit), 1 / RATE)
        low, high = power[(at > 120) & (at < 500)].sum(), power[at > 1_000].sum()
        assert low > 0.1 * power.sum()
        assert high > 0.1 * power.sum()


def test_a_clap_is_several() -> None:
    for hit in hits("clap"):
        envelope = np.convolve(np.abs(hit[: round(0.06 * RATE)]), np.ones(32) / 32, "same")
        above = envelope > 0.4 * envelope.max()
        bursts = int((np.diff(above.astype(int)) == 1).sum()) + int(above[0])
        assert bursts >= 2


def test_a_tom_lies_between_kick_and_snare() -> None:
    kick, tom, snare = (np.median([centroid(hit) for hit in hits(name)]) for name in ("kick", "tom", "snare"))
    assert kick < tom < snare


@pytest.mark.slow
def test_instruments_are_told_apart_by_ear() -> None:
    """By a nearest mean of log-mel statistics, trained on other hits."""
    log_mel = LogMel(RATE)

    def described(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        machine = DrumMachine(200, RATE, seed)
        sounds, labels = [], []
        for index in range(200):
            hit, _, label = machine[index]
            sounds.append(pad(torch.from_numpy(hit[0]), (0, 16_384))[:16_384])
            labels.append(label)
        mel = log_mel(torch.stack(sounds))
        return torch.cat([mel.mean(2), mel.amax(2)], dim=1), torch.tensor(labels)

    known, classes = described(0)
    means = torch.stack([known[classes == label].mean(0) for label in range(5)])
    fresh, truth = described(1)
    assert (torch.cdist(fresh, means).argmin(1) == truth).double().mean() > 0.95


def config(**settings: object) -> WaveGANConfig:
    return check(WaveGANConfig, {"plugin": "wavegan"} | settings)


def test_as_data() -> None:
    assert len(open_drums("", config())) == 2_000
    data = AudioData(open_drums("30", config(seed=4)), config(seed=4))
    assert (len(data), data.classes, data.skipped) == (30, CLASSES, [])
    sounds = data.sounds(torch.arange(30))
    assert sounds.shape == (30, 1, 16_384)
    assert torch.allclose(sounds.abs().amax(2), torch.ones(30, 1)), "peaks are made equal"


@pytest.mark.parametrize("argument", ["many", "1", "-3", "1000001", "2.5", "9" * 5000])
def test_an_argument_that_is_no_number_of_hits(argument: str) -> None:
    with pytest.raises(mmgan.DataError, match="must be a number from 2 to 1000000") as caught:
        open_drums(argument, config())
    assert "drums:2000" in caught.value.hint
