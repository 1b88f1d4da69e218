import os
import pickle
import struct
import sys
import time

import numpy as np
import pytest
import soundfile
import torch

from mmgan.config import resolve
from mmgan.data.audio.dataset import AudioConfig, AudioData, open_folder
from mmgan.data.dataset import Draw
from mmgan.data.loader import Loader
from mmgan.errors import ConfigError, DataError

RATE = 16000


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(folder))
    return folder


def config(**settings):
    return AudioConfig(plugin="test", **({"length": 4000} | settings))


def hit(frequency=400, seconds=0.2, rate=RATE, loudness=0.5):
    time = np.arange(round(seconds * rate)) / rate
    return loudness * np.cos(2 * np.pi * frequency * time) * np.exp(-20 * time)


def noise(seconds=1.0, rate=RATE, seed=0):
    return 0.2 * np.random.default_rng(seed).standard_normal(round(seconds * rate)).clip(-4, 4)


def save(path, samples=None, rate=RATE, **options):
    """Write (frames,) or (frames, channels); by name, since soundfile refuses names that are not Unicode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options.setdefault("format", {"aif": "AIFF", "opus": "OGG"}.get(path.suffix[1:].lower()))
    options["format"] = options["format"] or path.suffix[1:].upper()
    with path.open("wb") as file:
        soundfile.write(file, hit(rate=rate) if samples is None else samples, rate, **options)
    return path


def load(folder, progress=None, **settings):
    settings = config(**settings)
    return AudioData(open_folder(str(folder), settings), settings, progress)


def everything(data):
    return data.sounds(torch.arange(len(data)))


def pitch(sound):
    """The strongest frequency in Hz."""
    return np.abs(np.fft.rfft(sound[0])).argmax() * RATE / sound.shape[1]


def pitches(data):
    return [round(pitch(sound), -2) for sound in everything(data)]


def no_draw(count):
    return Draw(0, torch.zeros(count, dtype=torch.int64), torch.arange(count))


def wav(claim=None, rate=RATE, channels=1, data=None):
    """Write a 16-bit WAV file by hand, with a header that may lie."""
    data = (hit() * 32767).astype("<i2").tobytes() if data is None else data
    claim = len(data) if claim is None else claim
    block = 2 * channels & 0xFFFF
    layout = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * block & 0xFFFFFFFF, block, 16)
    size = min(36 + claim, 0xFFFFFFFF)
    return (
        b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + layout + b"data" + struct.pack("<I", claim) + data
    )


# A folder of sounds.


def test_classes_are_the_first_level_of_folders(tmp_path):
    save(tmp_path / "snare" / "old" / "a.wav", hit(400))
    save(tmp_path / "kick" / "z.flac", hit(800))
    save(tmp_path / "kick" / "b" / "c" / "a.wav", hit(1600))
    data = load(tmp_path)
    assert pitches(data) == [1600, 800, 400]
    assert data.labels.tolist() == [0, 0, 1]
    assert data.labels.dtype == torch.int64
    assert data.classes == ["kick", "snare"]
    assert data.description == "3 sounds in 2 classes, 0.25 s each, 16,000 Hz, mono"


def test_names_of_all_kinds(tmp_path):
    names = [
        "with space.wav",
        "Größe.WAV",
        "鼓.Flac",
        "line\nbreak.ogg",
        "'quote\".wav",
        "-dash.aif",
        "a.b.wav",
    ]
    names.append(os.fsdecode(b"no \xff unicode.wav"))
    for name in names:
        save(tmp_path / name)
    save(tmp_path / "a folder.wav" / "x.wav")
    data = load(tmp_path)
    assert len(data) == len(names) + 1
    assert data.skipped == []


def test_a_strange_name_does_not_tear_the_description(tmp_path):
    save(tmp_path / "a.wav")
    save(tmp_path / "b.wav")
    (tmp_path / "line\nbreak.wav").touch()
    (tmp_path / os.fsdecode(b"\xff.wav")).touch()
    description = load(tmp_path).description
    assert description.isprintable()
    assert r"'line\nbreak.wav' (empty file)" in description


def test_other_files_are_counted_and_hidden_ones_are_not(tmp_path):
    save(tmp_path / "a.wav")
    save(tmp_path / "b.wav")
    save(tmp_path / ".hidden.wav")
    save(tmp_path / ".trash" / "c.wav")
    for name in ("readme.txt", "no_suffix", "cover.png", "song.mid"):
        (tmp_path / name).write_text("text")
    os.mkfifo(tmp_path / "pipe.wav")
    assert load(tmp_path).description.endswith("mono; 5 other files (1 .png, 1 .mid)")


def test_links(tmp_path):
    drums = tmp_path / "drums"
    save(drums / "a" / "1.wav", hit(400))
    save(tmp_path / "elsewhere" / "2.wav", hit(800))
    (drums / "a" / "loop").symlink_to(drums, target_is_directory=True)
    (drums / "b").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere" / "back").symlink_to(drums / "a", target_is_directory=True)
    (drums / "c.wav").symlink_to(drums / "a" / "1.wav")
    (drums / "broken.wav").symlink_to(tmp_path / "nowhere.wav")
    data = load(drums)
    assert pitches(data) == [400, 800, 400]
    assert data.skipped == [("broken.wav", "no such file or directory")]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    for name in "abcd":
        save(tmp_path / name / "x.wav")
    (tmp_path / "a" / "x.wav").chmod(0)
    (tmp_path / "b").chmod(0)
    reason = "permission denied"
    try:
        assert load(tmp_path).skipped == [("a/x.wav", reason), ("b", reason)]
    finally:
        (tmp_path / "b").chmod(0o700)


# Files of all kinds.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("wav", {"subtype": "PCM_U8"}),
        ("wav", {"subtype": "PCM_16"}),
        ("wav", {"subtype": "PCM_24"}),
        ("wav", {"subtype": "PCM_32"}),
        ("wav", {"subtype": "FLOAT"}),
        ("wav", {"subtype": "DOUBLE"}),
        ("wav", {"subtype": "ULAW"}),
        ("wav", {"subtype": "IMA_ADPCM"}),
        ("wav", {"format": "WAVEX"}),
        ("rf64", {}),
        ("w64", {}),
        ("flac", {"subtype": "PCM_24"}),
        ("ogg", {"subtype": "VORBIS"}),
        ("opus", {"subtype": "OPUS"}),
        ("mp3", {}),
        ("aiff", {}),
        ("aif", {"subtype": "FLOAT"}),
        ("au", {}),
        ("caf", {}),
        ("wav", {"format": "FLAC"}),  # mislabelled: what it holds is what counts
        ("flac", {"format": "WAV"}),
        ("mp3", {"format": "OGG"}),
    ],
)
def test_every_format_is_read_and_a_torn_file_is_not(suffix, options, tmp_path):
    samples = np.stack([hit(400, 2.0), hit(400, 2.0)], axis=1) + noise(2.0)[:, None] * 0.01
    whole = save(tmp_path / f"a.{suffix}", samples, **options).read_bytes()
    save(tmp_path / "b.wav", hit(800))
    data = load(tmp_path)
    assert data.skipped == []
    assert pitches(data) == [400, 800]
    save(tmp_path / "c.wav", hit(800))
    for keep in (0.02, 0.5, 0.95):
        (tmp_path / f"a.{suffix}").write_bytes(whole[: int(len(whole) * keep)])
        ((name, reason),) = load(tmp_path).skipped
        assert name == f"a.{suffix}"
        assert reason.startswith(("truncated", "damaged", "not a sound", "no samples"))


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 192000])
def test_every_rate_becomes_the_wanted_one(rate, tmp_path):
    save(tmp_path / "a.wav", hit(1000, rate=rate), rate=rate)
    save(tmp_path / "b.wav", hit(1000))
    one, other = everything(load(tmp_path))[:, 0].numpy()
    # A millisecond may lie between their onsets, and the click at the start is softer at a low rate.
    correlation = np.correlate(np.pad(one, 20), other).max()
    assert correlation > 0.98 * np.linalg.norm(one) * np.linalg.norm(other)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_every_number_of_channels(channels, count, tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.wav", np.stack([hit()] * count, axis=1))
    data = load(tmp_path, channels=channels, align=False, trim_db=0)
    sounds = everything(data)
    assert sounds.shape == (2, channels, 4000)
    expected = hit() / 0.5
    assert np.abs(sounds[0, :, :3200].numpy() - expected).max() < 1e-3
    assert data.description.endswith("mono" if channels == 1 else "stereo")


def test_stereo_stays_stereo(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.wav", np.stack([hit(400), hit(800, loudness=0.25)], axis=1))
    left, right = everything(load(tmp_path, channels=2))[0].split(1)
    assert (pitch(left), pitch(right)) == (400, 800)
    # One gain for both, so that the balance stays.
    assert left.abs().max() == 1
    assert float(right.abs().max()) == pytest.approx(0.5, abs=0.01)


# Hostile files.


def test_an_mp3_cut_in_its_first_half_second_is_damaged(tmp_path):
    """libsndfile says of it that there is no such file."""
    for name in "ab":
        save(tmp_path / f"{name}.wav")
    whole = save(tmp_path / "torn.mp3", hit(seconds=0.4)).read_bytes()
    (tmp_path / "torn.mp3").write_bytes(whole[: len(whole) // 2])
    ((name, reason),) = load(tmp_path).skipped
    assert (name, reason.partition(":")[0]) in (("torn.mp3", "damaged"), ("torn.mp3", "truncated"))
    assert "exist" not in reason


def test_bad_files_are_skipped_counted_and_named(tmp_path):
    save(tmp_path / "good 1.wav")
    save(tmp_path / "good 2.wav")
    reasons = {
        "empty.wav": "empty file",
        "text.mp3": "not a sound",
        "noise.ogg": "not a sound",
        "header.wav": "truncated",
        "none.wav": "no samples",
        "silent.wav": "silent",
        "constant.wav": "silent",
        "nan.wav": "samples that are NaN, infinite or huge",
        "infinite.wav": "samples that are NaN, infinite or huge",
        "huge.wav": "samples that are NaN, infinite or huge",
        "short.wav": "too short: 5 samples",
        "still.wav": "damaged: SF_INFO struct incomplete",
        "slow.wav": "a sample rate of 3 Hz",
        "fast.wav": "a sample rate of 2,147,483,647 Hz",
        "no channels.wav": "damaged: Channel count is zero",
        "channels.wav": "damaged: Too many channels specified",
        "torn.wav": "truncated",
    }
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.mp3").write_text("This is no sound.\n" * 1000)
    (tmp_path / "noise.ogg").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "header.wav").write_bytes(wav()[:44])
    save(tmp_path / "none.wav", np.zeros(0))
    save(tmp_path / "silent.wav", np.zeros(4000))
    save(tmp_path / "constant.wav", np.full(4000, 0.3))
    save(tmp_path / "nan.wav", np.append(hit(), np.nan), subtype="FLOAT")
    save(tmp_path / "infinite.wav", np.append(hit(), -np.inf), subtype="FLOAT")
    save(tmp_path / "huge.wav", 5e29 * hit(), subtype="FLOAT")
    save(tmp_path / "short.wav", hit()[:5])
    (tmp_path / "still.wav").write_bytes(wav(rate=0))
    (tmp_path / "slow.wav").write_bytes(wav(rate=3))
    (tmp_path / "fast.wav").write_bytes(wav(rate=2**31 - 1))
    (tmp_path / "no channels.wav").write_bytes(wav(channels=0))
    (tmp_path / "channels.wav").write_bytes(wav(channels=65535))
    (tmp_path / "torn.wav").write_bytes(wav()[:-1000])
    for cut in ("oneshot", "crops"):
        data = load(tmp_path, slice=cut)
        assert len(data) == 2
        assert dict(data.skipped) == reasons
        assert "17 skipped: 3 x samples that are NaN, infinite or huge (huge.wav, infinite.wav, …), " in (
            data.description
        )
        assert data.description.endswith(" for other reasons (-v names them)")
        # From the cache it is the same.
        again = load(tmp_path, slice=cut)
        assert (again.skipped, again.description) == (data.skipped, data.description)


@pytest.mark.parametrize("claim", [0xFFFFFFFF, 0xFFFFFF00, 0x7FFFF000, None])
def test_a_header_from_a_pipe_that_knows_no_size_is_read(claim, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.wav").write_bytes(wav(claim))
    assert pitches(load(tmp_path)) == [400, 400]


def test_a_header_that_counts_itself_in_is_read(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.wav").write_bytes(wav(claim=6400 + 44))
    assert load(tmp_path).skipped == []


def test_a_header_that_claims_hours_costs_no_memory(tmp_path):
    for name in "abc":
        save(tmp_path / f"{name}.flac")
    content = bytearray((tmp_path / "b.flac").read_bytes())
    content[21] |= 0x0F  # the upper bits of the number of samples, in STREAMINFO
    content[22] = 0xFF
    (tmp_path / "b.flac").write_bytes(content)
    ((name, _),) = load(tmp_path).skipped
    assert name == "b.flac"


def test_a_flac_file_with_a_hole(tmp_path):
    for name in "abc":
        save(tmp_path / f"{name}.flac", noise())
    content = bytearray((tmp_path / "b.flac").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 300] = bytes(300)
    (tmp_path / "b.flac").write_bytes(content)
    ((name, reason),) = load(tmp_path).skipped
    assert name == "b.flac"
    assert reason.startswith("damaged: ")


def test_a_name_without_a_file_any_more(tmp_path):
    for name in "abc":
        save(tmp_path / f"{name}.wav")
    settings = config()
    source = open_folder(str(tmp_path), settings)
    (tmp_path / "b.wav").unlink()
    assert AudioData(source, settings).skipped == [("b.wav", "no such file or directory")]


def test_too_few_sounds_are_an_error(tmp_path, caplog):
    (tmp_path / "notes.txt").write_text("nothing to hear")
    with pytest.raises(
        DataError, match=r"has no readable sound, .*at least 2.*0 found; 1 other file"
    ) as caught:
        load(tmp_path)
    assert caught.value.exit_code == 4
    assert "subfolders" in caught.value.hint
    assert "crops" not in caught.value.hint
    save(tmp_path / "one.wav")
    with pytest.raises(DataError, match=r"has 1 readable sound, .*1 found; 1 other") as caught:
        load(tmp_path)
    assert "--set slice=crops" in caught.value.hint
    with pytest.raises(DataError, match=r"has readable sound for 1 example of 0.25 s, .*1 found; 1 other"):
        load(tmp_path, slice="crops")
    for number in range(7):
        (tmp_path / f"{number}.wav").touch()
    said = r"8 found; 7 skipped: empty file \(0.wav, 1.wav, …\) \(-v names them\); 1 other"
    with caplog.at_level("INFO"), pytest.raises(DataError, match=said):
        load(tmp_path)
    assert "skipped: 6.wav (empty file)" in caplog.messages
    save(tmp_path / "two.wav")
    assert len(load(tmp_path)) == 2


def test_a_text_file_is_no_recording(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to hear")
    with pytest.raises(DataError, match=r"no readable sound, .*notes.txt \(not a sound\)"):
        load(tmp_path / "notes.txt")


def test_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match="no folder or file"):
        load(tmp_path / "nowhere")


# One-shots.


def test_one_shots(tmp_path):
    save(tmp_path / "a.wav", np.concatenate([np.zeros(8000), hit(400), np.zeros(8000)]))
    save(tmp_path / "b.wav", np.concatenate([0.01 * noise(0.3), hit(800, 1.0, loudness=0.9)]))
    data = load(tmp_path)
    sounds = everything(data)
    assert sounds.shape == (2, 1, 4000)
    assert sounds.dtype == torch.float32
    assert sounds.is_contiguous()
    assert sounds.abs().amax(dim=(1, 2)).tolist() == [1.0, 1.0]
    assert pitches(data) == [400, 800]
    starts = (sounds[:, 0].abs() > 0.3).int().argmax(1)
    assert (starts <= 0.004 * RATE).all()
    assert torch.equal(data.batch(torch.tensor([1, 0, 1]), no_draw(3)), sounds[[1, 0, 1]])


def test_align_and_trim_can_be_left_out(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.wav", np.concatenate([np.zeros(2000), hit()]))
    start = (everything(load(tmp_path, align=False, trim_db=0))[0, 0].abs() > 0.1).int().argmax()
    assert 1995 <= start <= 2000
    for settings in ({"align": False}, {"trim_db": 0}):
        start = (everything(load(tmp_path, **settings))[0, 0].abs() > 0.1).int().argmax()
        assert start <= 0.02 * RATE


@pytest.mark.parametrize("loudness", [0.25, 2.0])
def test_without_normalising_loudness_stays_and_is_clipped(loudness, tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.wav", hit(loudness=loudness), subtype="FLOAT")
    for cut in ("oneshot", "crops"):
        sounds = everything(load(tmp_path, normalize="none", slice=cut))
        assert float(sounds.abs().max()) == pytest.approx(min(loudness, 1.0), abs=1e-6)


def test_a_copy_is_given(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.wav")
    data = load(tmp_path)
    data.sounds(torch.tensor([0])).zero_()
    assert data.sounds(torch.tensor([0])).abs().max() == 1


# Recordings.


def ramp(frames, start):
    """A recording whose every sample says where it is, in 16-bit steps that survive the WAV file."""
    return (np.arange(start, start + frames) / 32768).astype(np.float64)


@pytest.fixture
def recordings(tmp_path):
    save(tmp_path / "a" / "1.wav", ramp(10_500, 1))
    save(tmp_path / "b" / "2.wav", ramp(300, 15_000))
    save(tmp_path / "b" / "3.wav", ramp(3_000, 20_000))
    return load(tmp_path, slice="crops", length=1000, normalize="none")


def test_recordings_count_by_their_length(recordings):
    assert len(recordings) == 10 + 1 + 3
    assert recordings.labels.tolist() == [0] * 10 + [1] * 4
    assert recordings.classes == ["a", "b"]
    assert recordings.description == (
        "14 sounds from 3 recordings of 0.9 s in all in 2 classes, 0.0625 s each, 16,000 Hz, mono"
    )
    windows = (everything(recordings)[:, 0] * 32768).round().int()
    assert windows[:, 0].tolist() == [*range(1, 10_000, 1000), 15_000, 20_000, 21_000, 22_000]
    assert windows[10, 299:302].tolist() == [15_299, 0, 0]
    assert (windows[[0, 9, 13]].diff() == 1).all()


def test_crops_come_from_anywhere_in_their_recording(recordings):
    indices = torch.arange(14).repeat(500)
    crops = recordings.batch(indices, Draw(0, torch.arange(7000), indices))
    assert crops.shape == (7000, 1, 1000)
    assert crops.is_contiguous()
    crops = (crops[:, 0] * 32768).round().int()
    starts = crops[:, 0]
    first, last = starts[indices < 10], starts[indices > 10]
    assert (first.min() >= 1, first.max() <= 9501) == (True, True)
    # The whole of it, its end too, evenly.
    assert first.min() < 30
    assert first.max() > 9470
    assert 4500 < first.float().mean() < 5000
    assert 20_000 <= last.min() < 20_030
    assert 21_970 < last.max() <= 22_000
    assert (crops[indices != 10].diff() == 1).all()
    # One shorter than a crop is whole, padded with zeros.
    assert torch.equal(crops[indices == 10].unique(dim=0), (everything(recordings)[10] * 32768).round().int())


def test_the_last_frame_can_be_drawn(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.wav", ramp(2001, 1))
    data = load(tmp_path, slice="crops", length=2000, normalize="none")
    indices = torch.zeros(100, dtype=torch.int64)
    starts = data.batch(indices, Draw(0, torch.arange(100), indices))[:, 0, 0] * 32768
    assert sorted(starts.unique().tolist()) == [1, 2]


def test_one_long_recording_is_enough(tmp_path):
    path = save(tmp_path / "long.flac", noise(3.0))
    data = load(path, slice="crops")
    assert len(data) == 12
    assert data.description == "12 sounds from 1 recording of 3.0 s in all, 0.25 s each, 16,000 Hz, mono"
    # The whole recording has one gain.
    assert data.batch(torch.arange(12), no_draw(12)).abs().max() <= 1
    assert everything(data).abs().max() == 1


def test_stereo_crops(tmp_path):
    save(tmp_path / "a.wav", np.stack([ramp(3000, 1), ramp(3000, 10_001)], axis=1))
    data = load(tmp_path, slice="crops", length=1000, channels=2, normalize="none")
    crops = (data.batch(torch.arange(3), no_draw(3)) * 32768).round().int()
    assert crops.shape == (3, 2, 1000)
    assert (crops[:, 1] - crops[:, 0] == 10_000).all()
    assert (crops.diff() == 1).all()


# The data set.


@pytest.mark.process
def test_workers_change_nothing(recordings):
    alone, together = Loader(recordings, 4, seed=3), Loader(recordings, 4, seed=3, workers=2)
    batches = [next(alone) for _ in range(8)]
    for batch in batches:
        assert torch.equal(batch, next(together))
    together.close()
    # The augmentation is one: another epoch gives other crops.
    assert not torch.equal(batches[0], next(Loader(recordings, 4, seed=4)))


def test_it_pickles_without_its_sounds(tmp_path):
    save(tmp_path / "long.wav", noise(10.0))
    data = load(tmp_path, slice="crops")
    pickled = pickle.dumps(data)
    assert len(pickled) < 10_000
    assert torch.equal(everything(pickle.loads(pickled)), everything(data))


def test_the_same_files_give_the_same_bytes(tmp_path, monkeypatch):
    for number in range(4):
        save(tmp_path / "sounds" / f"{number}.wav", noise(0.5, 44100, seed=number), rate=44100)
    for cut in ("oneshot", "crops"):
        entries = []
        for name in ("one", "two"):
            monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path / name / cut))
            load(tmp_path / "sounds", slice=cut)
            (entry,) = (tmp_path / name / cut).iterdir()
            entries.append((entry.name, entry.read_bytes()))
        assert entries[0] == entries[1]


def test_decoding_happens_once_for_each_look(tmp_path, cache):
    for name in "ab":
        save(tmp_path / f"{name}.wav", noise())
    looks = [
        {},
        {"length": 2000},
        {"sample_rate": 8000},
        {"channels": 2},
        {"normalize": "none"},
        {"align": False},
        {"trim_db": 40},
        {"slice": "crops"},
        {"slice": "crops", "normalize": "none"},
    ]
    for look in looks:
        load(tmp_path, **look)
    assert len(list(cache.iterdir())) == len(looks)
    reports = []
    # What does not matter to recordings finds the cache, too.
    for look in [*looks, {"slice": "crops", "align": False, "trim_db": 0}]:
        load(tmp_path, progress=lambda done, total: reports.append(done), **look)
    assert reports == []


@pytest.mark.parametrize("change", ["content", "time", "new", "gone", "renamed"])
def test_a_change_of_the_files_is_seen(tmp_path, change):
    for name in "abc":
        save(tmp_path / f"{name}.wav")
    load(tmp_path)
    match change:
        case "content":
            save(tmp_path / "a.wav", noise())
        case "time":
            os.utime(tmp_path / "a.wav", ns=(1, 1))
        case "new":
            save(tmp_path / "d.wav")
        case "gone":
            (tmp_path / "c.wav").unlink()
        case "renamed":
            (tmp_path / "c.wav").rename(tmp_path / "0.wav")
    reports = []
    data = load(tmp_path, progress=lambda done, total: reports.append((done, total)))
    assert reports[-1] == (len(data), len(data))


class Beeps:
    """A source as a plugin may bring it: no files, a failure, arrays that may not be written to."""

    others = 0
    classes = ("low", "high")
    fingerprint = "beeps"

    def __str__(self):
        return "beeps"

    def __len__(self):
        return 5

    def __getitem__(self, index):
        if index == 2:
            raise RuntimeError
        samples = hit(400 * (index % 2 + 1), rate=22050)[None].astype(np.float32)
        samples.flags.writeable = False
        return samples, 22050, np.int64(index % 2)  # which JSON would refuse

    def name(self, index):
        return f"beep {index}"


def test_a_source_from_a_plugin():
    data = AudioData(Beeps(), config())
    assert pitches(data) == [400, 800, 800, 400]
    assert data.labels.tolist() == [0, 1, 1, 0]
    assert data.classes == ["low", "high"]
    assert data.skipped == [("beep 2", "RuntimeError")]


def test_cached_sounds_need_no_audio_library(tmp_path, monkeypatch):
    AudioData(Beeps(), config())
    for library in ("soundfile", "torchaudio"):
        monkeypatch.setitem(sys.modules, library, None)
    assert len(AudioData(Beeps(), config())) == 4


def test_the_settings():
    settings = AudioConfig(plugin="test")
    assert (settings.length, settings.sample_rate, settings.channels) == (16384, 16000, 1)
    assert (settings.slice, settings.normalize, settings.align, settings.trim_db) == (
        "oneshot",
        "peak",
        True,
        60,
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 0}, "length = 0"),
        ({"sample_rate": 999}, "sample_rate = 999"),
        ({"channels": 3}, "channels = 3.*1 or 2"),
        ({"slice": "crop"}, "slice = 'crop'.*'oneshot' or 'crops'"),
        ({"normalize": "rms"}, "normalize = 'rms'.*'peak' or 'none'"),
        ({"trim_db": -1}, "trim_db = -1"),
    ],
)
def test_settings_that_are_not_allowed(settings, message):
    with pytest.raises(ConfigError, match=message):
        resolve(AudioConfig, "test", flags=settings, environment={})


# Real ones.


@pytest.mark.slow
def test_drum_kits(shared_data):
    started = time.perf_counter()
    data = load(shared_data / "drums", length=16384)
    assert time.perf_counter() - started < 60  # 5 s, where little else is going on
    assert (len(data), len(data.classes)) == (515, 11)
    assert {reason for _, reason in data.skipped} == {"silent"}
    sounds = everything(data)[:, 0]
    assert torch.equal(sounds.abs().amax(1), torch.ones(515))
    # Each hit starts within 5 ms: it is within 40 dB of its peak by then.
    assert ((sounds.abs() > 0.01).int().argmax(1) <= 0.005 * RATE).all()
