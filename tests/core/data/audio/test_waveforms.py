import numpy as np
import pytest

from mmgan.data.audio import waveforms
from mmgan.data.audio.blocks import in_blocks
from mmgan.data.audio.onsets import audible
from mmgan.data.audio.waveforms import one_shot, onset, resampled, to_waveform

RATE = 16000


def sine(frequency, seconds, rate=RATE, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def noise(seconds, amplitude, rate=RATE, seed=0):
    return amplitude * np.random.default_rng(seed).standard_normal(round(seconds * rate))


def hit(seconds=0.5, rate=RATE, frequency=200):
    return sine(frequency, seconds, rate, 0.9) * np.exp(-20 * np.arange(round(seconds * rate)) / rate)


def wave(*parts):
    return np.concatenate(parts)[None].astype(np.float32)


# Rates and channels.


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 44101, 48000, 96000, 192000])
def test_every_rate(rate):
    waveform = to_waveform(wave(sine(1000, 1.0, rate)), rate, RATE, 1)
    assert waveform.shape == (1, RATE)
    assert waveform.dtype == np.float32
    # The sine itself, except where the filter reaches over the ends.
    inner = slice(200, -200)
    assert np.abs(waveform[0] - sine(1000, 1.0))[inner].max() < 0.002


def test_what_the_rate_cannot_hold_is_filtered_out():
    waveform = to_waveform(wave(sine(1000, 1.0, 44100) + sine(9000, 1.0, 44100)), 44100, RATE, 1)
    assert np.abs(waveform[0] - sine(1000, 1.0))[200:-200].max() < 0.002


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (16000, 44100), (16000, 16000), (44101, 16000)])
@pytest.mark.parametrize("channels", [1, 2])
def test_nothing_shows_where_pieces_meet(rate, wanted, channels, monkeypatch):
    samples = noise(2.0, 0.1, rate).reshape(2, -1).astype(np.float32)
    whole = to_waveform(samples, rate, wanted, channels)
    monkeypatch.setattr(waveforms, "_PIECE", 3000)
    assert np.abs(to_waveform(samples, rate, wanted, channels) - whole).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (22050, 16000), (44100, 48000)])
def test_no_length_is_lost_by_rounding(rate, wanted):
    """torchaudio rounds the length to a float32, which was taken for damage once in 70 recordings."""
    for frames in range(1_040_000, 1_040_000 + 441, 7):
        waveform = to_waveform(wave(np.sin(np.arange(frames) / 10)), rate, wanted, 1)
        assert waveform.shape == (1, -(-frames * wanted // rate))
        assert waveform[0, -3:].any()


def test_blocks_of_any_size_give_the_same():
    samples = noise(3.0, 0.1, 44100).reshape(2, -1).astype(np.float32)
    whole = to_waveform(samples, 44100, RATE, 1)
    parts = np.split(samples, [1, 2, 1000, 50_000, 50_001], axis=1)
    there = resampled([(part, 44100) for part in parts], RATE, 1)
    assert np.array_equal(np.concatenate(list(there), axis=1), whole)


@pytest.mark.parametrize("changed", [(np.ones((1, 100)), 48000), (np.ones((2, 100)), 44100)])
def test_a_rate_or_channels_that_change_are_refused(changed):
    sound = [(wave(sine(100, 0.1)), 44100), changed]
    with pytest.raises(ValueError, match="changes"):
        list(resampled(sound, RATE, 1))


@pytest.mark.parametrize("count", [1, 2, 6])
def test_mixing(count):
    samples = np.stack([sine(100 * (number + 1), 0.1) for number in range(count)]).astype(np.float32)
    mono, stereo = (to_waveform(samples, RATE, RATE, channels) for channels in (1, 2))
    assert mono.shape == (1, 1600)
    assert np.allclose(mono[0], samples.mean(0), atol=1e-6)
    expected = samples if count == 2 else np.repeat(mono, 2, axis=0)
    assert np.allclose(stereo, expected, atol=1e-6)


def test_the_sound_itself_is_not_changed():
    samples = wave(sine(100, 0.1))
    samples.flags.writeable = False
    waveform = to_waveform(samples, RATE, RATE, 1)
    assert np.array_equal(waveform, samples)
    waveform[:] = 0
    assert samples.any()


@pytest.mark.parametrize(
    ("samples", "rate", "reason"),
    [
        (np.zeros((1, 0)), RATE, "no samples"),
        (np.ones((1, 5)), RATE, "too short: 5 samples"),
        (np.zeros((1, 1000)), RATE, "silent"),
        (np.full((2, 1000), 0.5), RATE, "silent"),
        (noise(0.1, 1e-5)[None], RATE, "silent"),
        (np.stack([sine(100, 0.1), -sine(100, 0.1)]), RATE, "silent when its channels are mixed"),
        (wave(sine(100, 0.1), [np.nan]), RATE, "NaN, infinite or huge"),
        (wave([np.inf], sine(100, 0.1)), RATE, "NaN, infinite or huge"),
        (wave([-np.inf], sine(100, 0.1)), RATE, "NaN, infinite or huge"),
        (wave([3e38, -3e38] * 100), RATE, "NaN, infinite or huge"),
        (wave(sine(100, 0.1)), 3, "a sample rate of 3 Hz"),
        (wave(sine(100, 0.1)), 2**31 - 1, "a sample rate of 2,147,483,647 Hz"),
    ],
)
def test_what_can_not_be_used(samples, rate, reason):
    with pytest.raises(ValueError, match=reason):
        to_waveform(samples.astype(np.float32), rate, RATE, 1)


# Where a hit starts.


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("frequency", [50, 200, 2000])
@pytest.mark.parametrize("floor", [0.0, 0.001, 0.01])
def test_a_hit_after_silence_or_noise_starts_at_once(rate, frequency, floor):
    late = wave(np.zeros(round(0.3 * rate)), hit(0.5, rate, frequency))
    late[0] += noise(0.8, floor, rate)
    before = 0.3 * rate - onset(late, rate)
    # The attack is whole, and what comes before it lasts no longer than 5 ms.
    assert 0 <= before <= 0.005 * rate


@pytest.mark.parametrize("floor", [0.0, 0.001])
def test_a_sound_that_starts_with_its_hit_stays(floor):
    assert onset(wave(hit() + noise(0.5, floor)), RATE) == 0
    assert onset(wave(np.exp(-np.arange(8000) / 500) * noise(0.5, 0.3)), RATE) == 0


def test_of_several_hits_the_first_counts():
    # A clap: weaker bursts, then the loud one.
    bursts = [np.concatenate([strength * hit(0.02), np.zeros(100)]) for strength in (0.3, 0.4, 1.0)]
    assert onset(wave(np.zeros(1600), *bursts, hit()), RATE) in range(1600 - 80, 1601)


def test_a_swell_keeps_its_loud_parts():
    swell = wave(np.exp(np.linspace(-8, 0, 2 * RATE)) * noise(2.0, 0.3), hit(0.1))
    start = onset(swell, RATE)
    assert np.abs(swell[0, :start]).max() < 0.2 * np.abs(swell).max()


def test_a_soft_tap_before_a_swell_is_the_start():
    swell = np.linspace(0, 0.9, 2 * RATE) * sine(100, 2.0, amplitude=1)
    swell[:800] += hit(0.05, frequency=1000) * 0.05
    assert onset(wave(np.zeros(1600), swell), RATE) in range(1600 - 80, 1601)


def test_a_soft_scrape_that_leads_to_the_hit_belongs_to_it():
    scrape = np.linspace(0, 0.08, 480) * sine(2000, 0.03, amplitude=1)
    room = wave(np.zeros(4800), scrape, hit(0.4, frequency=1000))
    room[0] += noise(0.73, 0.001)
    # Its first 5 ms lie more than 40 dB below the hit.
    assert onset(room, RATE) in range(4800 - 80, 4800 + 81)


def test_a_late_click_does_not_cut_the_sound():
    soft = np.hanning(RATE) * sine(100, 1.0)
    assert onset(wave(soft, hit(0.1, frequency=3000)), RATE) < 0.3 * RATE


def test_stereo_starts_with_its_earlier_channel():
    left, right = wave(np.zeros(800), hit(), np.zeros(1600)), wave(np.zeros(2400), hit())
    assert onset(np.concatenate([left, right]), RATE) in range(720, 801)
    assert onset(np.concatenate([right, left]), RATE) in range(720, 801)


@pytest.mark.parametrize("seed", range(40))
def test_librosa_finds_the_same(seed):
    """Its ``trim``, and its ``onset_detect`` and ``onset_backtrack`` on the same envelope."""
    librosa = pytest.importorskip("librosa")
    random = np.random.default_rng(seed)
    rate = int(random.choice([8000, 16000, 22050, 44100]))
    strength = np.ones(int(random.integers(500, 60_000)))
    for position in random.integers(0, len(strength), size=3):
        strength[position:] *= 10 ** random.uniform(-1.5, 1.5)
    strength *= np.exp(-np.arange(len(strength)) / random.uniform(100, 50_000))
    sound = (strength * random.standard_normal((2, len(strength)))).astype(np.float32)
    window = rate // 50
    start, end = audible(in_blocks(sound), window, 60)
    expected = librosa.effects.trim(sound, top_db=60, frame_length=window, hop_length=window // 4)[1]
    assert (start, min(end, len(strength))) == tuple(expected)

    step = rate // 1000
    level = librosa.feature.rms(y=sound, frame_length=4 * step, hop_length=step).max(axis=0)[0]
    rises = np.maximum(0, np.diff(level, prepend=0))
    sudden = librosa.onset.onset_detect(onset_envelope=rises, sr=rate, hop_length=step, delta=0.1)
    first = min([*sudden[:1], np.flatnonzero(level >= 0.1 * level.max())[0]])
    quiet = np.flatnonzero(level[:first] < 0.01 * level.max())
    least = librosa.onset.onset_backtrack(np.array([first]), level)
    assert onset(sound, rate) == max([*least, *quiet[-1:]]) * step


# To one length.


def test_a_short_sound_is_padded_and_an_exact_one_unchanged():
    sound = wave(hit(0.05))
    row = one_shot(sound, RATE, 1000, 0, False)
    assert row.shape == (1, 1000)
    assert row.dtype == np.float32
    assert np.array_equal(row[:, :800], sound)
    assert not row[:, 800:].any()
    assert np.array_equal(one_shot(sound, RATE, 800, 0, False), sound)


def test_a_cut_fades_out():
    sound = wave(sine(100, 1.0))
    row = one_shot(sound, RATE, 8000, 0, False)
    assert np.array_equal(row[:, :7840], sound[:, :7840])
    assert abs(row[0, -1]) < 1e-3
    loudness = np.abs(row[0, 7840:]).reshape(4, 40).max(1)
    assert loudness[0] > loudness[3]
    # A cut within the first milliseconds leaves most of them as they are.
    assert np.array_equal(one_shot(sound, RATE, 40, 0, False)[:, :30], sound[:, :30])


def test_silence_is_trimmed_at_both_ends():
    sound = wave(np.zeros(4000), sine(100, 0.5), noise(0.5, 1e-4))
    row = one_shot(sound, RATE, RATE, 60, False)
    start = (np.abs(row[0]) > 0.01).argmax()
    assert start <= 0.02 * RATE
    kept = np.flatnonzero(row[0])[-1]
    assert 8000 <= kept < 8000 + 0.04 * RATE
    # Nothing is trimmed with 0, and the tail with a larger distance is kept.
    assert np.array_equal(one_shot(sound, RATE, 20000, 0, False), sound)
    assert np.flatnonzero(one_shot(sound, RATE, 20000, 100, False)[0])[-1] > 15900


def test_aligned_without_trimming():
    sound = wave(np.zeros(4000), hit())
    row = one_shot(sound, RATE, 4000, 0, True)
    start = (np.abs(row[0]) > 0.01).argmax()
    assert 0 < start <= 0.005 * RATE
    assert np.allclose(row[0, start : start + 1000], hit()[1:1001], atol=1e-5)


@pytest.mark.parametrize("frames", [16, 17, 63, 64, 65, 319, 321])
def test_very_short_sounds(frames):
    sound = wave(noise(1.0, 0.3))[:, :frames]
    assert np.array_equal(one_shot(sound, RATE, 400, 60, True)[:, :frames], sound)


def test_a_sound_after_the_cut_is_not_heard():
    with pytest.raises(ValueError, match="silent where it would be heard"):
        one_shot(wave(np.zeros(1000), hit()), RATE, 500, 0, False)
