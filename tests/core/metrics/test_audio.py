"""Metrics of sounds: known answers, closed forms, and what must not fool them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from mmgan.data.audio.library import torchaudio
from mmgan.errors import DivergedError, UsageError
from mmgan.metrics import audio
from mmgan.metrics.audio import LogMel, audio_scores, centroids, envelopes
from mmgan.metrics.scores import Scores

RATE, FRAMES = 16_000, 8_192
TIME = torch.arange(FRAMES) / RATE


def plucked(count: int, seed: int = 0, low: float = 200, high: float = 2_000) -> Tensor:
    """Decaying tones of random pitch and decay, (count, 1, frames)."""
    draw = torch.Generator().manual_seed(seed)
    pitch = low + (high - low) * torch.rand(count, 1, generator=draw)
    decay = 4 + 20 * torch.rand(count, 1, generator=draw)
    return (torch.sin(2 * torch.pi * pitch * TIME) * torch.exp(-decay * TIME))[:, None]


def scores(generated: Tensor, real: Tensor, **options: object) -> Scores:
    return audio_scores(generated.split(16), real.split(16), RATE, **{"metrics": {}} | options)  # type: ignore[arg-type]


def test_fresh_samples_of_the_same_kind_score_well() -> None:
    found = scores(plucked(300, 1), plucked(300, 2))
    assert found["spectrum_distance_db"] < 0.5
    assert found["diversity_logmel"] == pytest.approx(1, abs=0.15)
    assert found["copied_logmel"] < 0.2
    assert found["centroid_distance_hz"] < 100
    assert found["attack_distance_ms"] < 5
    assert found["decay_distance_ms"] < 20


def test_equal_sets_are_copies_at_no_distance() -> None:
    sounds = plucked(60)
    found = scores(sounds, sounds)
    assert found.pop("copied_logmel") == 1
    assert found.pop("diversity_logmel") == pytest.approx(1)
    assert found == pytest.approx(dict.fromkeys(found, 0), abs=1e-5)


def test_one_sound_repeated_has_no_diversity() -> None:
    found = scores(plucked(1, 5).expand(40, -1, -1), plucked(40, 6))
    assert found["diversity_logmel"] == 0


def test_a_quieter_set_is_at_the_distance_of_its_decibels() -> None:
    """10 log10 of a power that is 100 times less, where both are far above the floor of 0.1."""
    noise = torch.randn(40, 1, FRAMES, generator=torch.Generator().manual_seed(0))
    assert scores(10 * noise, 100 * noise)["spectrum_distance_db"] == pytest.approx(20, abs=0.1)


def test_what_a_musician_would_name() -> None:
    low, high = plucked(50, 0, 300, 310), plucked(50, 1, 1_300, 1_310)
    assert scores(low, high)["centroid_distance_hz"] == pytest.approx(1_000, rel=0.1)
    at = torch.arange(FRAMES) / RATE
    tone = torch.sin(2 * torch.pi * 1_000 * at)
    short, long = (tone * torch.exp(-at / (2 * constant)) for constant in (0.02, 0.05))
    # Power falls by 20 dB in ln(100) time constants of power.
    distance = scores(short.expand(9, 1, -1), long.expand(9, 1, -1))["decay_distance_ms"]
    assert distance == pytest.approx(1000 * 0.03 * math.log(100), rel=0.1)
    late = torch.roll(short, 1_600)
    assert scores(short.expand(9, 1, -1), late.expand(9, 1, -1))["attack_distance_ms"] == pytest.approx(
        100, abs=8
    )


def test_centroid_and_envelope_of_known_sounds() -> None:
    tone = torch.sin(2 * torch.pi * 1_000 * TIME)
    assert float(centroids(tone[None], RATE)[0]) == pytest.approx(1_000, rel=0.01)
    assert centroids(torch.zeros(1, FRAMES), RATE).tolist() == [0]
    assert [float(value) for value in envelopes(torch.zeros(1, FRAMES), RATE)] == [0, 0]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_windows_are_about_64_ms_at_every_rate(rate: int) -> None:
    log_mel = LogMel(rate)
    assert 0.045 <= log_mel.window / rate <= 0.1
    assert log_mel(torch.zeros(1, 100)).shape[:2] == (1, 64)
    assert torch.allclose(log_mel(torch.zeros(1, 9_000)), torch.tensor(-10.0))


def test_the_distances_of_the_house_are_named_after_what_they_compare() -> None:
    names = {"frechet_logmel", "kernel_logmel", "precision_logmel", "recall_logmel"}
    found = scores(plucked(140, 1), plucked(140, 2), metrics=None)
    assert names < set(found)
    far = scores(plucked(140, 1, 3_000, 4_000), plucked(140, 2), metrics=None)
    assert found["frechet_logmel"] < far["frechet_logmel"]
    few = scores(plucked(20), plucked(140), metrics=None)
    assert few.missing["frechet_logmel"].startswith(
        "The Fréchet distance in 128 feature dimensions can't be computed from 20 generated and 140 real"
    )
    assert set(found) - set(few) == set(few.missing) == {"frechet_logmel"}, "what can be computed is"


def test_a_metric_gets_mean_and_deviation_of_each_band() -> None:
    seen: list[torch.Size] = []

    def mine(generated: Tensor, real: Tensor) -> float:
        seen.extend([generated.shape, real.shape])
        return 1.5

    assert scores(plucked(3), plucked(4), metrics={"mine": mine})["mine_logmel"] == 1.5
    assert seen == [(3, 128), (4, 128)]


def test_stereo_is_mixed() -> None:
    mono = plucked(10)
    assert scores(mono.expand(-1, 2, -1), mono) == pytest.approx(scores(mono, mono), abs=1e-5)


def test_silence_has_scores() -> None:
    found = scores(torch.zeros(10, 1, FRAMES), plucked(10))
    assert all(math.isfinite(value) for value in found.values())
    both = scores(torch.zeros(10, 1, FRAMES), torch.zeros(10, 1, FRAMES))
    assert all(math.isfinite(value) for value in both.values())


def test_nan_and_too_few_are_refused() -> None:
    with pytest.raises(DivergedError, match="NaN or infinity"):
        scores(torch.full((4, 1, FRAMES), torch.nan), plucked(4))
    with pytest.raises(UsageError, match="there are 0 generated and 4 real"):
        audio_scores([], plucked(4).split(2), RATE, {})


def test_one_sound_has_the_scores_that_need_no_other_one() -> None:
    one = scores(plucked(1), plucked(1, 1), metrics=None)
    assert set(one) == {f"{n}_distance_{u}" for n, u in (("spectrum", "db"), ("centroid", "hz"))} | {
        "attack_distance_ms",
        "decay_distance_ms",
    }
    assert "at least 2 are needed" in one.missing["diversity_logmel"]
    assert {"copied_logmel", "frechet_logmel", "kernel_logmel", "recall_logmel"} < set(one.missing)
    assert set(scores(plucked(2), plucked(2, 1)).missing) == set()
    beside_many = scores(plucked(1), plucked(9, 1))
    assert set(beside_many.missing) == {"diversity_logmel"}


def test_memory_is_bounded_and_the_sample_fair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_SOUNDS", 50)
    in_order = torch.cat([plucked(200, 0, 200, 300), plucked(200, 1, 3_000, 3_100)])
    mixed = in_order[torch.randperm(400, generator=torch.Generator().manual_seed(0))]
    assert scores(in_order, mixed)["centroid_distance_hz"] < 600
    before = torch.get_rng_state()
    assert scores(in_order, mixed) == scores(in_order, mixed)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_real_drums(shared_data: Path) -> None:
    """Two halves of the drums are near each other, decaying noise is further away, and steady noise far."""
    resample = torchaudio().functional.resample
    sounds = []
    for path in sorted((shared_data / "drums").rglob("*.wav")):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        sound = resample(torch.from_numpy(samples.mean(1)), rate, RATE)[:16_384]
        if sound.abs().max() > 0:
            sound = torch.nn.functional.pad(sound, (0, 16_384 - len(sound)))
            sounds.append(sound / sound.abs().max())
    drums = torch.stack(sounds)[:, None]
    drums = drums[torch.randperm(len(drums), generator=torch.Generator().manual_seed(0))]
    noise = torch.randn(100, 1, 16_384, generator=torch.Generator().manual_seed(0)) / 4
    decaying = noise * torch.exp(-torch.arange(16_384) / 1_600)
    half = len(drums) // 2
    distances = [scores(set_, drums)["spectrum_distance_db"] for set_ in (drums[:half], decaying, noise)]
    assert distances[0] < 1.5
    assert distances == sorted(distances)
    assert distances[2] > 6
