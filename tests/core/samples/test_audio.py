"""Sounds as samples: the WAVs hold what was generated, and the picture shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from mmgan import AudioSamples
from mmgan.samples import audio

RATE = 8_000


def tones(count: int, channels: int = 1, frames: int = 4_000) -> Tensor:
    """Decaying tones, each higher than the one before."""
    at = torch.arange(frames) / RATE
    pitches = 200.0 * torch.arange(1, count + 1)[:, None]
    sounds = torch.sin(2 * torch.pi * pitches * at) * torch.exp(-5 * at)
    return sounds[:, None].expand(-1, channels, -1)


@pytest.mark.parametrize("channels", [1, 2])
def test_all_sounds_in_a_row_with_gaps(tmp_path: Path, channels: int) -> None:
    samples = AudioSamples(tones(3, channels), RATE)
    assert (len(samples), samples.suffix) == (3, ".wav")
    samples.save(tmp_path / "row.wav")
    info = soundfile.info(tmp_path / "row.wav")
    assert (info.samplerate, info.channels, info.subtype) == (RATE, channels, "PCM_16")
    heard, _ = soundfile.read(tmp_path / "row.wav", always_2d=True)
    assert len(heard) == 3 * 4_000 + 2 * 2_000
    for number in range(3):
        sound = heard[number * 6_000 :][:4_000]
        assert np.abs(sound - samples.waveforms[number].T.numpy()).max() < 1e-4
    assert not heard[4_000:6_000].any()


def test_one_file_for_each_sound(tmp_path: Path) -> None:
    paths = AudioSamples(tones(3), RATE).save_each(tmp_path)
    assert [path.name for path in paths] == ["0000.wav", "0001.wav", "0002.wav"]
    assert all(soundfile.info(path).frames == 4_000 for path in paths)


def test_what_is_too_loud_is_clipped_and_never_wraps_around(tmp_path: Path) -> None:
    AudioSamples(torch.tensor([[[1.0, -1.0, 1.5, -7.0, 0.5]]]), RATE).save_each(tmp_path)
    heard, _ = soundfile.read(tmp_path / "0000.wav", dtype="int16")
    assert heard.tolist() == [32_767, -32_767, 32_767, -32_767, 16_384]


def test_a_walk(tmp_path: Path) -> None:
    files = AudioSamples(tones(10), RATE).save_walk(tmp_path)
    assert [path.name for path in files] == ["walk.wav", "walk.png"]
    assert soundfile.info(files[0]).frames == 10 * 4_000 + 9 * 2_000


@pytest.mark.slow
def test_the_picture_shows_eight_of_either_kind() -> None:
    alone = AudioSamples(tones(20), RATE).picture()
    both = AudioSamples(tones(20), RATE, real=tones(9)).picture()
    few = AudioSamples(tones(2), RATE, real=tones(3)).picture()
    assert both.width == alone.width > few.width
    assert both.height == 2 * alone.height
    assert np.asarray(both).std() > 20


@pytest.mark.slow
def test_the_picture_shows_where_a_tone_is() -> None:
    """A tone an octave higher is drawn higher."""

    def height(pitch: float) -> float:
        at = torch.arange(8_000) / RATE
        pixels = np.asarray(AudioSamples(torch.sin(2 * torch.pi * pitch * at)[None, None], RATE).picture())
        bright = (pixels[:, :, 0] > 240) & (pixels[:, :, 2] < 200)
        # The scale at the right shows the same colours.
        return float(np.nonzero(bright[:, : int(0.6 * bright.shape[1])])[0].mean())

    assert height(2_000) < height(500)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sounds", [torch.zeros(2, 1, 4_000), torch.zeros(1, 2, 7), 1e-9 * torch.randn(1, 1, 512)]
)
def test_silence_and_short_sounds_are_drawn_too(sounds: Tensor) -> None:
    AudioSamples(sounds, RATE).picture()


def test_spectrograms_are_librosas() -> None:
    librosa = pytest.importorskip("librosa")
    for rate, frames in ((8_000, 4_000), (16_000, 16_384), (44_100, 9_999)):
        sound = np.random.default_rng(rate).standard_normal(frames).astype(np.float32)
        mel = librosa.feature.melspectrogram(y=sound, sr=rate, n_fft=1024, hop_length=256, n_mels=64)
        expected = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None)
        np.testing.assert_allclose(audio._log_mel(sound, rate), expected, atol=1e-2)


def test_the_scale_beside_a_spectrogram_says_where_a_tone_is() -> None:
    for frequency in (200.0, 1_000.0, 3_000.0, 7_000.0):
        sound = np.sin(2 * np.pi * frequency * np.arange(16_000) / 16_000).astype(np.float32)
        band = audio._log_mel(sound, 16_000).mean(1).argmax() + 1
        place = (audio.BANDS + 1) * audio._mel(frequency) / audio._mel(8_000)
        assert abs(band - place) < 1


def test_tensorboard_gets_sound_and_picture() -> None:
    class Writer:
        def add_audio(self, tag: str, sound: Tensor, step: int, sample_rate: int) -> None:
            assert (tag, step, sample_rate) == ("samples", 7, RATE)
            assert sound.shape == (1, 3 * 4_000 + 2 * 2_000)
            assert 0.9 < sound.abs().max() <= 1

        def add_image(self, tag: str, image: np.ndarray, step: int, dataformats: str) -> None:  # type: ignore[type-arg]
            assert image.shape[2] == 3
            assert dataformats == "HWC"

    AudioSamples(tones(3, 2), RATE).to_tensorboard(Writer(), "samples", 7)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(2, 100), (2, 3, 100), (100,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(n, 1 or 2, frames\)"):
        AudioSamples(torch.zeros(shape), RATE)
    with pytest.raises(ValueError, match=r"must be \(n, 1 or 2, frames\)"):
        AudioSamples(tones(1), RATE, real=torch.zeros(shape))


@pytest.mark.slow
def test_chunks_make_the_files_that_all_sounds_make(tmp_path: Path) -> None:
    sounds, real = tones(11), tones(2)
    first, *others = (AudioSamples(part, RATE, real) for part in sounds.split(4))
    together = first.with_more(others[0]).with_more(others[1])
    whole = AudioSamples(sounds, RATE, real)
    together.save(tmp_path / "chunks.wav")
    whole.save(tmp_path / "whole.wav")
    assert (tmp_path / "chunks.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()
    assert together.picture().tobytes() == whole.picture().tobytes()


@pytest.mark.slow
def test_one_file_and_the_picture_have_the_first_sounds_of_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "MOST_SOUNDS", 3)
    whole = AudioSamples(tones(7), RATE)
    whole.save(tmp_path / "row.wav")
    assert soundfile.info(tmp_path / "row.wav").frames == 3 * 4_000 + 2 * 2_000
    assert whole.picture().tobytes() == AudioSamples(tones(3), RATE).picture().tobytes()
    together = AudioSamples(tones(2), RATE).with_more(whole)
    assert (whole.shown, len(together), together.shown) == (3, 3, 3)
    assert together.with_more(whole) is together
    assert len(whole.save_each(tmp_path)) == 7
    monkeypatch.setattr(audio, "MOST_VALUES", 9_000)
    assert (AudioSamples(tones(7), RATE).shown, AudioSamples(tones(7, 2), RATE).shown) == (2, 1)
