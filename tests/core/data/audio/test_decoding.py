"""Sounds as other programs write them: without a length, put together, cut off, in other formats."""

import os
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import soundfile
import torch

from mmgan.data.audio import blocks, mpeg
from mmgan.data.audio.dataset import AudioConfig, AudioData, open_folder
from mmgan.data.audio.decoding import CutShortError, decode
from mmgan.data.audio.native_stderr import Mpg123Warnings
from mmgan.data.audio.sources import SoundFolder
from mmgan.errors import DataError

RATE = 16000


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def without_av(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)


def noise(seconds=3.0, rate=RATE, seed=0):
    return 0.2 * np.random.default_rng(seed).standard_normal(round(seconds * rate)).clip(-4, 4)


def written(path, samples, rate=RATE, **options):
    soundfile.write(path, samples, rate, **options)
    return path.read_bytes()


def mp3(path, seconds=3.0, seed=0, mode="CONSTANT"):
    """Return an MP3 file, and where its first frame with sound begins."""
    # Half of it is soft, so that its bit rate varies.
    samples = noise(seconds, seed=seed)
    samples[: len(samples) // 2] *= 1e-3
    whole = written(path, samples, format="MP3", bitrate_mode=mode, compression_level=0.5)
    with path.open("rb") as file:
        (run,) = mpeg.look_through(file).runs
    assert run.header
    assert run.said == run.frames
    return whole, run.start + run.header


def read(content, tmp_path, name="x"):
    """Decode a file: the samples, and what is missing."""
    path = tmp_path / name
    path.write_bytes(content)
    found = []
    missing = ""
    with path.open("rb") as file:
        try:
            found.extend(samples for samples, _ in decode(file, name))
        except CutShortError as error:
            missing = str(error)
    return np.concatenate(found, axis=1), missing


def seconds(content, tmp_path):
    samples, missing = read(content, tmp_path)
    assert missing == ""
    return samples.shape[1] / RATE


def load(folder, **settings):
    settings = AudioConfig(plugin="test", **({"length": 4000, "slice": "crops"} | settings))
    return AudioData(open_folder(str(folder), settings), settings)


# Without a length.


@pytest.mark.usefixtures("without_av")
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_an_mp3_without_a_header_is_read_to_its_end(mode, tmp_path):
    whole, first = mp3(tmp_path / "whole.mp3", mode=mode)
    samples, missing = read(whole[first:], tmp_path)
    assert missing == ""
    # What the encoder adds is not cut off, for which the header is needed.
    assert 48_000 <= samples.shape[1] < 48_000 + 4 * 576
    again, _ = read(whole, tmp_path)
    assert again.shape == (1, 48_000)
    best = np.correlate(samples[0, 20_000:], again[0, 20_000:44_000], mode="valid").argmax()
    assert np.allclose(samples[0, 20_000 + best :][:24_000], again[0, 20_000:44_000], atol=1e-4)


def test_an_mp3_without_a_header_that_is_torn_is_truncated(tmp_path):
    whole, first = mp3(tmp_path / "whole.mp3")
    for end in (-1, -100, -20_000):
        with pytest.raises(ValueError, match="truncated"):
            read(whole[first:end], tmp_path)


def test_an_mp3_with_fewer_frames_than_its_header_tells_of_is_truncated(tmp_path):
    whole, _ = mp3(tmp_path / "whole.mp3")
    with (tmp_path / "whole.mp3").open("rb") as file:
        run = mpeg.look_through(file).runs[0]
    frame = (run.stop - run.start - run.header) // run.frames
    assert seconds(whole[: run.stop], tmp_path) == 3
    with pytest.raises(ValueError, match="truncated"):
        read(whole[: run.stop - 10 * frame], tmp_path)


def flac_of_unknown_length(content):
    changed = bytearray(content)
    changed[21] &= 0xF0
    changed[22:26] = bytes(4)
    return bytes(changed)


def with_size(content, position, size):
    return content[:position] + size + content[position + len(size) :]


@pytest.mark.usefixtures("without_av")
def test_flac_from_a_pipe(tmp_path):
    whole = written(tmp_path / "a.flac", noise())
    assert np.array_equal(read(flac_of_unknown_length(whole), tmp_path)[0], read(whole, tmp_path)[0])
    with pytest.raises(ValueError, match="damaged"):
        read(flac_of_unknown_length(whole)[: len(whole) // 2], tmp_path)


@pytest.mark.usefixtures("without_av")
@pytest.mark.parametrize("riff", [0, 36, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("data", [0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ALAW", "ULAW", "MS_ADPCM", "IMA_ADPCM"])
def test_wav_from_a_pipe(riff, data, subtype, tmp_path):
    whole = written(tmp_path / "a.wav", noise(1), subtype=subtype)
    at = whole.index(b"data")
    changed = with_size(with_size(whole, 4, struct.pack("<I", riff)), at + 4, struct.pack("<I", data))
    changed = changed[: at + 8 + struct.unpack("<I", whole[at + 4 : at + 8])[0]]
    there, expected = read(changed, tmp_path)[0], read(whole, tmp_path)[0]
    # Blocks of ADPCM are always whole.
    assert abs(there.shape[1] - expected.shape[1]) < 2000
    shared = min(there.shape[1], expected.shape[1])
    assert np.array_equal(there[:, :shared], expected[:, :shared])


@pytest.mark.usefixtures("without_av")
def test_other_files_from_a_pipe(tmp_path):
    samples = noise(1)
    whole = written(tmp_path / "a.rf64", samples, format="RF64")
    for size in (bytes(8), b"\xff" * 8):
        assert seconds(with_size(whole, 28, size), tmp_path) == 1
    whole = written(tmp_path / "a.au", samples)
    for size in (bytes(4), b"\xff" * 4):
        assert seconds(with_size(whole, 8, size), tmp_path) == 1
    whole = written(tmp_path / "a.caf", samples, format="CAF")
    assert seconds(with_size(whole, whole.index(b"data") + 4, b"\xff" * 8), tmp_path) == 1


def test_an_empty_wav_with_tags_has_no_samples(tmp_path):
    whole = written(tmp_path / "a.wav", np.zeros(0))
    whole += b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf60.16.100\0"
    (tmp_path / "a.wav").write_bytes(whole)
    with pytest.raises(DataError, match=r"a.wav \(no samples\)"):
        load(tmp_path)


@pytest.mark.usefixtures("without_av")
def test_gsm_which_can_not_be_sought_in(tmp_path):
    samples = np.cumsum(noise(3, 8000)) / 20
    whole = written(tmp_path / "a.wav", samples, 8000, subtype="GSM610")
    there, missing = read(whole, tmp_path)
    assert there.shape[1] >= 24_000
    assert missing == ""
    with pytest.raises(ValueError, match="truncated"):
        read(whole[: len(whole) // 2], tmp_path)


# Put together, and with tags.


@pytest.mark.usefixtures("without_av")
@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_all_streams_of_a_chain(subtype, tmp_path):
    one = written(tmp_path / "a.ogg", noise(2), format="OGG", subtype=subtype)
    other = written(tmp_path / "b.ogg", noise(3, seed=1), format="OGG", subtype=subtype)
    parts = [read(content, tmp_path)[0] for content in (one, other)]
    assert np.array_equal(read(one + other, tmp_path)[0], np.concatenate(parts, axis=1))


@pytest.mark.usefixtures("without_av")
def test_all_mp3s_that_were_put_together(tmp_path):
    one, first = mp3(tmp_path / "a.mp3", 2)
    other, _ = mp3(tmp_path / "b.mp3", 3, seed=1, mode="VARIABLE")
    assert seconds(one + other, tmp_path) == 5
    assert seconds(one[first:] + other, tmp_path) == pytest.approx(5, abs=0.15)
    assert seconds(other + one[first:] + one[first:], tmp_path) == pytest.approx(7, abs=0.3)


@pytest.mark.usefixtures("without_av")
@pytest.mark.parametrize("header", [True, False])
def test_tags_around_an_mp3(header, tmp_path):
    whole, first = mp3(tmp_path / "whole.mp3")
    whole = whole if header else whole[first:]
    picture = np.random.default_rng(0).bytes(5000)
    before = b"ID3\x04\0\0\0\0\x27\x08" + picture
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 5032, 1, 0xA0000000) + bytes(8) + picture + bytes(32)
    after = b"TAG" + b"title".ljust(125, b"\0")
    expected = seconds(whole, tmp_path)
    for content in (before + whole, whole + after, before + whole + ape + after, before + before + whole):
        assert seconds(content, tmp_path) == expected
    # As a stream that one tunes in to begins.
    assert seconds(whole[first + 50 :] if header else whole[50:], tmp_path) == pytest.approx(3, abs=0.15)


def test_an_mp3_with_a_hole_is_cut_short(tmp_path, capfd):
    whole, first = mp3(tmp_path / "whole.mp3")
    middle = len(whole) // 2
    content = whole[:middle] + bytes(3000) + whole[middle + 3000 :]
    for start in (0, first):
        (tmp_path / "hole.mp3").write_bytes(content[start:])
        data = load(tmp_path)
        assert data.skipped == []
        ((name, reason),) = data.cut_short
        assert name == "hole.mp3"
        assert reason.endswith("bytes in its midst are not sound")
        assert f"mono; 1 cut short: hole.mp3 ({reason})" in data.description
        assert 4.5 < len(data) * 4000 / RATE < 6
        # From the cache it is the same.
        assert load(tmp_path).cut_short == data.cut_short
    assert capfd.readouterr().err == ""


def test_what_mpg123_says_goes_to_the_log(tmp_path, capfd, caplog):
    whole, first = mp3(tmp_path / "whole.mp3", 10)
    broken = bytearray(whole[first:])
    random = np.random.default_rng(0)
    for position in range(5000, len(broken) - 400, 72 * 9):
        broken[position : position + 60] = random.bytes(60)
    with caplog.at_level("INFO"):
        try:
            read(bytes(broken), tmp_path, "broken.mp3")
        except ValueError as error:
            assert "damaged" in str(error)  # noqa: PT017
    assert capfd.readouterr().err == ""
    assert any(message.startswith("broken.mp3: ") for message in caplog.messages)


# Cut off.


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_without_its_last_page_is_cut_short(subtype, tmp_path):
    whole = written(tmp_path / "a.ogg", noise(10), format="OGG", subtype=subtype)
    (tmp_path / "a.ogg").write_bytes(whole[: whole.rindex(b"OggS")])
    data = load(tmp_path)
    assert data.cut_short == [("a.ogg", "its last page is missing")]
    assert data.description.endswith("; 1 cut short: a.ogg (its last page is missing)")
    assert len(data) > 20
    (tmp_path / "a.ogg").write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"a.ogg \(truncated\)"):
        load(tmp_path)


# Other formats.


def save_with_av(path, codec="aac", seconds=2, rate=RATE, picture=False, **options):
    av = pytest.importorskip("av")
    samples = (0.3 * np.sin(2 * np.pi * 440 * np.arange(seconds * rate) / rate)).astype(np.float32)
    with av.open(str(path), "w", **options) as container:
        if picture:
            video = container.add_stream("mpeg4", rate=10)
            video.width = video.height = 32
            video.pix_fmt = "yuv420p"
        stream = container.add_stream(codec, rate=rate, layout="mono")
        if picture:
            for _ in range(10 * seconds):
                container.mux(video.encode(av.VideoFrame(32, 32, "yuv420p")))
            container.mux(video.encode())
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "fltp", "mono")
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "codec", "picture"),
    [
        ("a.m4a", "aac", False),
        ("a.m4a", "alac", False),
        ("a.aac", "aac", False),
        ("a.mp4", "aac", True),
        ("a.mkv", "aac", True),
        ("a.wv", "wavpack", False),
        ("a.caf", "alac", False),
    ],
)
def test_pyav_reads_what_soundfile_does_not(name, codec, picture, tmp_path):
    whole = save_with_av(tmp_path / name, codec, picture=picture)
    data = load(tmp_path)
    assert data.skipped == []
    assert 7 <= len(data) <= 9
    sound = data.sounds(torch.tensor([3]))[0, 0].numpy()
    assert np.abs(np.fft.rfft(sound)).argmax() * RATE / 4000 == pytest.approx(440, abs=4)
    # Whatever it is called.
    (tmp_path / name).rename(tmp_path / "b.mp3")
    assert len(load(tmp_path)) == len(data)
    (tmp_path / "b.mp3").write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(DataError, match=r"b.mp3 \((truncated|damaged)"):
        load(tmp_path)


def test_a_video_without_sound(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        container.mux(video.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(video.encode())
    with pytest.raises(DataError, match=r"a.mp4 \(no sound in it\)"):
        load(tmp_path)


def test_without_pyav_its_formats_are_named(tmp_path, monkeypatch):
    save_with_av(tmp_path / "a.m4a")
    save_with_av(tmp_path / "b.aac")
    (tmp_path / "text.m4a").write_text("no sound at all")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match="3 skipped") as caught:
        load(tmp_path)
    assert r"a.m4a (.m4a needs PyAV: pip install 'mmgan[audio]')" in str(caught.value)
    assert r"b.aac (.aac needs PyAV: pip install 'mmgan[audio]')" in str(caught.value)
    assert "text.m4a (not a sound)" in str(caught.value)
    assert "pip install 'mmgan[audio]'" in caught.value.hint


def test_an_mp4_that_tells_of_more_than_it_holds_takes_no_memory(tmp_path):
    content = bytearray(save_with_av(tmp_path / "a.m4a"))
    assert read(content, tmp_path)[0].shape[1] >= 2 * RATE
    at = content.index(b"stsz") + 8
    content[at : at + 8] = struct.pack(">II", 5, 80_000_000)
    with pytest.raises(ValueError, match="tells of more than it holds"):
        read(content, tmp_path)
    fragments = save_with_av(tmp_path / "b.mp4", options={"movflags": "frag_keyframe+empty_moov"})
    assert read(fragments, tmp_path)[0].shape[1] >= 2 * RATE
    content = bytearray(fragments)
    at = content.index(b"trun") + 8
    content[at : at + 4] = struct.pack(">I", 80_000_000)
    with pytest.raises(ValueError, match="tells of more than it holds"):
        read(content, tmp_path)


def test_a_list_of_other_files_is_not_followed(tmp_path):
    save_with_av(tmp_path / "secret.aac")
    (tmp_path / "list.m4a").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{tmp_path}/secret.aac\n#EXT-X-ENDLIST\n"
    )
    assert load(tmp_path).skipped == [("list.m4a", "not a sound")]


# Long ones.


@pytest.mark.parametrize("cut", ["oneshot", "crops"])
@pytest.mark.parametrize("normalize", ["peak", "none"])
def test_what_is_decoded_twice_is_the_same(cut, normalize, tmp_path, monkeypatch):
    written(tmp_path / "a.flac", np.concatenate([np.zeros(9000), noise(5, 44100)]), 44100)
    written(tmp_path / "b.ogg", noise(4))
    kept = load(tmp_path, slice=cut, normalize=normalize)
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(blocks, "_KEPT", 1000)
    again = load(tmp_path, slice=cut, normalize=normalize)
    assert np.array_equal(kept._cached.array, again._cached.array)


def test_a_recording_that_changes_meanwhile_is_an_error(tmp_path, monkeypatch):
    written(tmp_path / "a.wav", noise(5))

    class Growing(SoundFolder):
        def sound_blocks(self, index):
            written(tmp_path / "a.wav", noise(5 + self.times))
            self.times += 1
            return super().sound_blocks(index)

        times = 0

    monkeypatch.setattr(blocks, "_KEPT", 1000)
    with pytest.raises(DataError, match="a.wav changed while it was decoded"):
        AudioData(Growing(tmp_path), AudioConfig(plugin="test", slice="crops"))


def test_a_folder_of_a_plugin_may_change_whole_sounds(tmp_path):
    written(tmp_path / "a.wav", noise(2))

    class Reversed(SoundFolder):
        def __getitem__(self, index):
            samples, rate, label = super().__getitem__(index)
            return samples[:, ::-1].copy(), rate, label

        fingerprint = "reversed"

    settings = AudioConfig(plugin="test", slice="crops", length=4000, normalize="none")
    there = AudioData(Reversed(tmp_path), settings)._cached.array.reshape(-1)
    plain = AudioData(SoundFolder(tmp_path), settings)._cached.array.reshape(-1)
    assert np.allclose(there, plain[::-1], atol=1e-6)


#: Makes files of hours and of many channels, decodes them, and says by how many MB memory grew meanwhile.
MEMORY = """
    import resource, sys
    import numpy as np, soundfile
    from mmgan.data.audio.library import torchaudio
    from mmgan.data.audio.dataset import AudioConfig, AudioData, open_folder

    torchaudio()
    folder, cut = sys.argv[1:]
    sounds = [("a.flac", 16_000, 1, 3600), ("b.flac", 192_000, 8, 60), ("c.wav", 44_100, 2, 600)]
    for name, rate, channels, seconds in sounds:
        with soundfile.SoundFile(f"{folder}/{name}", "w", rate, channels) as file:
            file.write(0.1 * np.random.default_rng(0).standard_normal((rate // 10, channels)))
            for _ in range(seconds):
                file.write(np.zeros((rate, channels), dtype=np.int16))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    settings = AudioConfig(plugin="test", slice=cut)
    data = AudioData(open_folder(folder, settings), settings)
    assert not data.skipped, data.skipped
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the unit of ru_maxrss differs")
@pytest.mark.parametrize("cut", ["oneshot", "crops"])
def test_long_sounds_take_little_memory(cut, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEMORY), str(tmp_path), cut],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # As arrays of float each would take 210 to 370 MB, and as much again to be resampled.
    assert int(done.stdout) < 150


# The standard error stream.


def test_what_others_write_meanwhile_is_not_lost(capfd):
    warnings = Mpg123Warnings()
    with warnings:
        os.write(2, b"Note: Trying to resync...\nhello\n")
        os.write(2, b"[src/libmpg123/parse.c:wetwork():1349] error: Giving up resync.\n")
    warnings.close()
    assert capfd.readouterr().err == "hello\n"
    assert warnings.messages == ["Trying to resync...", "error: Giving up resync."]


@pytest.mark.process
@pytest.mark.slow
def test_sounds_are_read_where_the_standard_streams_are_closed(tmp_path):
    whole, first = mp3(tmp_path / "whole.mp3")
    middle = len(whole) // 2
    (tmp_path / "whole.mp3").write_bytes(whole[first:middle] + bytes(1000) + whole[middle + 1000 :])
    program = textwrap.dedent("""
        import os, sys
        from mmgan.data.audio.dataset import AudioConfig, AudioData, open_folder
        for descriptor in range(3):
            os.close(descriptor)
        settings = AudioConfig(plugin="test", slice="crops", length=4000)
        data = AudioData(open_folder(sys.argv[1], settings), settings)
        os._exit(42 if len(data) > 5 and data.cut_short else 1)
    """)
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == 42
