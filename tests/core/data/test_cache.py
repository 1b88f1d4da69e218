import contextlib
import errno
import json
import multiprocessing
import os
import pickle
import random
import signal
import socket
import subprocess
import time
import zlib

import numpy as np
import pytest

from mmgan.data import cache, cache_entry
from mmgan.data.cache import CachedArray, cache_key, cached_array
from mmgan.errors import DataError

KEY = cache_key("a test")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Build:
    """Gives ``count`` rows, and remembers how often it was asked to."""

    def __init__(self, count=4, dtype=np.uint8):
        self.rows = np.arange(count * 6, dtype=dtype).reshape(count, 2, 3)
        self.calls = 0

    def __call__(self, metadata):
        self.calls += 1
        yield from self.rows
        metadata["count"] = len(self.rows)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_an_array_is_built_once(dtype):
    build = Build(dtype=dtype)
    for _ in range(2):
        cached = cached_array(KEY, build)
        assert np.array_equal(cached.array, build.rows)
        assert cached.array.dtype == dtype
        assert cached.metadata == {"count": 4}
    assert build.calls == 1


def test_the_array_can_not_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        cached_array(KEY, Build()).array[0] = 0


def test_any_tool_can_read_the_file():
    assert np.array_equal(np.load(cached_array(KEY, Build()).path), Build().rows)


def test_rows_that_are_not_contiguous():
    cached = cached_array(KEY, lambda metadata: iter([Build().rows[0].T] * 2))
    assert np.array_equal(cached.array[1], Build().rows[0].T)


def test_many_rows_fit_the_header():
    rows = np.arange(100_000, dtype=np.int32)
    assert np.array_equal(cached_array(KEY, lambda metadata: (row for row in rows)).array, rows)


def test_it_pickles_as_its_path():
    cached = cached_array(KEY, Build(10_000))
    pickled = pickle.dumps(cached)
    assert len(pickled) < 1_000
    assert np.array_equal(pickle.loads(pickled).array, cached.array)


def test_a_key_depends_on_every_part():
    keys = [cache_key("a", 1), cache_key("a", 2), cache_key("b", 1), cache_key("a"), cache_key("a\udcff", 1)]
    assert len(set(keys)) == 5
    assert cache_key("a", 1) == keys[0]


def test_the_metadata_may_hold_names_that_are_no_unicode():
    cached = cached_array(KEY, lambda metadata: metadata.update(name="a\udcff\n") or [np.zeros(1)])
    assert cached.metadata == {"name": "a\udcff\n"}


@pytest.mark.parametrize("where", ["empty", "header", "array", "metadata", "last byte"])
def test_a_torn_entry_is_built_again(where):
    build = Build()
    path = cached_array(KEY, build).path
    size = path.stat().st_size
    lengths = {"empty": 0, "header": 50, "array": 140, "metadata": 153, "last byte": size - 1}
    os.truncate(path, lengths[where])
    with pytest.raises((OSError, ValueError)):
        CachedArray(path)
    assert np.array_equal(cached_array(KEY, build).array, build.rows)
    assert build.calls == 2


@pytest.mark.parametrize(
    "content", [b"\0" * 500, b"no array", pickle.dumps({}), b"\x93NUMPY\x01\x00" + b"x" * 300]
)
def test_garbage_is_built_again(content, folder):
    folder.mkdir()
    (folder / f"{KEY}.npy").write_bytes(content)
    assert np.array_equal(cached_array(KEY, Build()).array, Build().rows)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_a_build_that_fails(error, folder):
    def fail(metadata):
        yield np.zeros(3)
        raise error

    with pytest.raises(error):
        cached_array(KEY, fail)
    assert list(folder.iterdir()) == []


def test_rows_must_be_alike(folder):
    with pytest.raises(ValueError, match="Row 1 is float64"):
        cached_array(KEY, lambda metadata: [np.zeros(3, dtype=np.float32), np.zeros(3)])
    with pytest.raises(ValueError, match="no rows"):
        cached_array(KEY, lambda metadata: [])
    assert list(folder.iterdir()) == []


def killed_while_writing(started):
    def build(metadata):
        yield np.zeros(100_000)
        started.set()
        time.sleep(60)
        yield np.zeros(100_000)

    cached_array(KEY, build)


@pytest.mark.process
def test_a_process_killed_while_writing_does_no_harm(folder):
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=killed_while_writing, args=(started,))
    process.start()
    assert started.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (left,) = folder.iterdir()
    assert left.name.startswith(".partial-")
    assert np.array_equal(cached_array(KEY, Build()).array, Build().rows)
    # What it left is swept away a day later, and not before: it might still be at work.
    assert left.exists()
    os.utime(left, (time.time() - 2 * 24 * 3600,) * 2)
    cached_array(cache_key("another"), Build())
    assert not left.exists()


def builds_with_others(barrier, queue):
    def build(metadata):
        for row in Build(50).rows:
            barrier.wait(30)
            yield row
        metadata["count"] = 50

    cached = cached_array(KEY, build)
    queue.put((int(cached.array.sum()), cached.metadata))


@pytest.mark.process
def test_processes_may_write_at_once(folder):
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(3), context.Queue()
    processes = [context.Process(target=builds_with_others, args=(barrier, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=30) for _ in processes]
    for process in processes:
        process.join()
    assert results == [(int(Build(50).rows.sum()), {"count": 50})] * 3
    assert [path.name for path in folder.iterdir()] == [f"{KEY}.npy"]


def test_an_unusable_folder_falls_back_with_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="can't be written.*MMGAN_CACHE_DIR"):
        cached = cached_array(KEY, Build())
    assert np.array_equal(cached.array, Build().rows)
    assert tmp_path not in cached.path.parents


def test_an_empty_variable_means_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MMGAN_CACHE_DIR", "")
    monkeypatch.setattr(cache.platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / name)
    assert cached_array(KEY, Build()).path.parent == tmp_path / "mmgan"


def test_a_full_disk_is_explained(monkeypatch, folder):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device") as caught:
        cached_array(KEY, Build())
    assert "MMGAN_CACHE_DIR" in caught.value.hint
    assert list(folder.iterdir()) == []


def test_an_error_of_the_source_is_not_taken_for_a_full_disk():
    def fail(metadata):
        raise PermissionError(13, "Permission denied")
        yield

    with pytest.raises(PermissionError):
        cached_array(KEY, fail)


def test_the_metadata_is_json_behind_the_array():
    content = cached_array(KEY, Build()).path.read_bytes()
    assert json.loads(content[128 + 24 : -40])["metadata"] == {"count": 4}


# Damage and malice.


@pytest.fixture
def rebuilt(caplog):
    """Open an entry that must be refused: it is built again, and the log says why."""

    def check(path, match="", fits=lambda entry: True):
        build = Build()
        with caplog.at_level("WARNING", logger="mmgan"):
            cached = cached_array(path.stem, build, fits)
        assert build.calls == 1
        assert np.array_equal(cached.array, build.rows)
        assert cached.metadata == {"count": 4}
        assert path.is_file()
        assert not path.is_symlink()
        assert "is built again" in caplog.text
        assert match in caplog.text
        # Now it is whole.
        assert np.array_equal(cached_array(path.stem, build, fits).array, build.rows)
        assert build.calls == 1

    return check


def test_any_flipped_bit_is_found(rebuilt, caplog):
    path = cached_array(KEY, Build()).path
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"^it"):
            CachedArray(path)
        if place % 70 == 0:
            rebuilt(path)


def test_every_block_of_a_larger_array_is_compared(rebuilt):
    rows = np.random.default_rng(0).integers(0, 256, (7, 500_000), dtype=np.uint8)
    path = cached_array(KEY, lambda metadata: iter(rows)).path
    assert np.array_equal(CachedArray(path).array, rows)
    for place in (128, 1_048_703, 1_048_704, 2_500_000, 3_500_127):
        with path.open("r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ 16]))
        with pytest.raises(ValueError, match="its array was altered"):
            CachedArray(path)
        # A worker gets what its parent has compared already.
        assert len(CachedArray(path, compare=False).array) == 7
        with path.open("r+b") as file:
            file.seek(place)
            file.write(bytes([byte]))
    assert np.array_equal(CachedArray(path).array, rows)


def test_of_a_giant_array_other_blocks_are_compared_each_time(monkeypatch):
    monkeypatch.setattr("mmgan.data.cache_entry._BLOCK", 64)
    monkeypatch.setattr("mmgan.data.cache_entry._COMPARED", 4)
    path = cached_array(KEY, lambda metadata: (np.full(64, n, dtype=np.uint8) for n in range(8))).path
    with path.open("r+b") as file:
        file.seek(128 + 3 * 64)
        file.write(b"x")
    random.seed(0)
    before = random.getstate()
    found = 0
    for _ in range(40):
        try:
            CachedArray(path)
        except ValueError:
            found += 1
    assert 0 < found < 40
    assert random.getstate() == before


@pytest.mark.parametrize("where", [0, 100, 128, 140, 152, 200, -40, -1])
def test_zeros_where_the_disk_lost_a_block(where, rebuilt):
    path = cached_array(KEY, Build()).path
    content = path.read_bytes()
    start = where % len(content)
    path.write_bytes(content[:start] + bytes(len(content) - start))
    rebuilt(path)


def test_more_behind_its_end(rebuilt):
    path = cached_array(KEY, Build()).path
    path.write_bytes(path.read_bytes() + b"\n")
    rebuilt(path)


def test_the_entry_of_other_data(rebuilt, folder):
    other = cached_array(cache_key("other"), Build(9)).path
    other.rename(folder / f"{KEY}.npy")
    rebuilt(folder / f"{KEY}.npy", "belongs to other data")


def test_an_array_that_pickle_would_load(rebuilt, folder):
    folder.mkdir()
    np.save(folder / f"{KEY}.npy", np.array([os.system], dtype=object), allow_pickle=True)
    rebuilt(folder / f"{KEY}.npy")


def forge(path, text, header=None, body=b"\0" * 24):
    """An entry whose checksums are right, as a stranger may write it."""
    header = cache_entry._header(np.dtype(np.uint8), (4, 2, 3)) if header is None else header
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    path.parent.mkdir(exist_ok=True)
    end = len(text).to_bytes(8, "little") + cache_entry._digest(header, text)
    path.write_bytes(header + body + text + end)
    return path


FACTS = {
    "key": KEY,
    "dtype": "|u1",
    "shape": [4, 2, 3],
    "blocks": [zlib.crc32(b"\0" * 24)],
    "metadata": {"count": 4},
}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"key": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"shape": ' + b"9" * 5_000 + b"}",
        {},
        FACTS | {"more": 1},
        FACTS | {"metadata": [1]},
        FACTS | {"key": None},
        FACTS | {"dtype": "|O"},
        FACTS | {"dtype": "<f3"},
        FACTS | {"dtype": "|V24"},
        FACTS | {"dtype": "|u1, |u1"},
        FACTS | {"shape": []},
        FACTS | {"shape": [4, 2, 3, 0]},
        FACTS | {"shape": [-4, -2, 3]},
        FACTS | {"shape": [True, 24]},
        FACTS | {"shape": [10**30, 2, 3]},
        FACTS | {"shape": [1] * 100_000},
        FACTS | {"blocks": []},
        FACTS | {"blocks": ["0"]},
        FACTS | {"blocks": FACTS["blocks"] * 2},
    ],
    ids=lambda text: repr(text)[:60],
)
def test_hostile_metadata(text, rebuilt, folder):
    rebuilt(forge(folder / f"{KEY}.npy", text))


def test_a_forged_entry_is_read_where_nothing_is_wrong_with_it(folder):
    build = Build()
    forge(folder / f"{KEY}.npy", FACTS)
    assert not cached_array(KEY, build).array.any()
    assert build.calls == 0


@pytest.mark.parametrize("shape", [(10**12, 2, 3), (5, 2, 3)])
def test_a_shape_that_the_file_does_not_have(shape, rebuilt, folder):
    header = cache_entry._header(np.dtype(np.uint8), shape)
    rebuilt(forge(folder / f"{KEY}.npy", FACTS | {"shape": list(shape)}, header))


def test_metadata_that_do_not_fit_are_built_again(rebuilt):
    path = cached_array(KEY, lambda metadata: metadata.update(count="4") or Build().rows).path
    rebuilt(path, "does not fit", lambda entry: type(entry.metadata["count"]) is int)


@pytest.mark.parametrize(
    ("value", "fine"),
    [
        ([], True),
        ([0, -(2**63), 2**63 - 1], True),
        ([2**63], False),
        ([True], False),
        ([1.0], False),
        (["1"], False),
        (None, False),
        ({"1": 1}, False),
    ],
)
def test_are_integers(value, fine):
    assert cache.are_integers(value) is fine


def test_are_integers_from_a_least_one_on():
    assert cache.are_integers([1, 2], least=1)
    assert not cache.are_integers([1, 0], least=1)


@pytest.mark.parametrize(
    ("value", "fine"),
    [
        ([], True),
        ([["a", "b"]], True),
        ([["a"]], False),
        ([["a", 1]], False),
        (["ab"], False),
        (None, False),
        ({"a": "b"}, False),
    ],
)
def test_are_skipped(value, fine):
    assert cache.are_skipped(value) is fine


@pytest.mark.parametrize("kind", ["link", "broken link", "link to a pipe", "pipe", "socket"])
def test_an_entry_that_is_not_a_file_is_replaced_and_not_followed(kind, rebuilt, folder, tmp_path):
    folder.mkdir()
    path = folder / f"{KEY}.npy"
    elsewhere = tmp_path / "elsewhere"
    if kind == "link":
        forge(elsewhere, FACTS)
    if kind == "link to a pipe":
        os.mkfifo(elsewhere)
    if "link" in kind:
        path.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        here = os.getcwd()
        os.chdir(folder)  # since a socket's name must be short
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
        os.chdir(here)
    before = elsewhere.read_bytes() if kind == "link" else None
    rebuilt(path)
    assert (elsewhere.read_bytes() if kind == "link" else None) == before


def test_an_entry_that_is_a_folder_is_named(folder):
    path = folder / f"{KEY}.npy"
    path.mkdir(parents=True)
    (path / "precious").touch()
    build = Build()
    with pytest.raises(DataError, match="a folder .*where a file belongs") as caught:
        cached_array(KEY, build)
    assert "Remove it" in caught.value.hint
    assert (path / "precious").exists()
    assert build.calls == 0


def test_a_folder_that_is_a_link_is_the_users_choice(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    assert cached_array(KEY, Build()).path.is_file()
    assert (tmp_path / "elsewhere" / f"{KEY}.npy").is_file()


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_others_may_read_it_as_the_umask_says(mask, mode):
    before = os.umask(mask)
    try:
        path = cached_array(KEY, Build()).path
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_only_its_own_unfinished_files_are_swept(folder):
    folder.mkdir()
    old = time.time() - 2 * 24 * 3600
    for name in ("notes.tmp", ".partial-1.npy", ".partial-notes", "x.npy"):
        (folder / name).touch()
        os.utime(folder / name, (old, old))
    cached_array(KEY, Build())
    assert {path.name for path in folder.iterdir()} == {"notes.tmp", ".partial-notes", "x.npy", f"{KEY}.npy"}


# Where there is no room.


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def over_quota(*args, **kwargs):
    raise OSError(errno.EDQUOT, "Disk quota exceeded")


@pytest.mark.parametrize("error", [full, over_quota])
@pytest.mark.parametrize("step", ["mkdir", "open", "write", "fsync", "replace"])
def test_no_room_at_any_step(step, error, monkeypatch, folder):
    targets = {
        "mkdir": "pathlib.Path.mkdir",
        "open": "mmgan.storage.files.fresh",
        "write": "mmgan.data.cache_entry.Writer.finish",
        "fsync": "mmgan.storage.files.os.fsync",
        "replace": "mmgan.storage.files.os.replace",
    }
    monkeypatch.setattr(targets[step], error)
    with pytest.raises(DataError, match=f"cache folder {str(folder)!r}.*(No space|quota)") as caught:
        cached_array(KEY, Build())
    assert "MMGAN_CACHE_DIR" in caught.value.hint
    assert caught.value.exit_code == 4
    assert not folder.exists() or list(folder.iterdir()) == []


def test_no_temporary_folder_either(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("mmgan.data.cache.tempfile.mkdtemp", full)
    cache._temporary_folder.cache_clear()
    with (
        pytest.warns(UserWarning, match="can't be written"),
        pytest.raises(DataError, match="No space left") as caught,
    ):
        cached_array(KEY, Build())
    assert "MMGAN_CACHE_DIR" in caught.value.hint


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)]
    if os.name == "nt" or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.process
def test_a_disk_that_is_really_full(small_disk, monkeypatch):
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(small_disk / "cache"))
    cached_array(KEY, Build())
    with pytest.raises(DataError, match=r"disk/cache.*No space left on device"):
        cached_array(cache_key("large"), lambda metadata: [np.zeros(100_000)] * 3)
    assert [path.name for path in (small_disk / "cache").iterdir()] == [f"{KEY}.npy"]
    # And where not even the folder can be made.
    (small_disk / "filler").write_bytes(bytes(small_disk.stat().st_blksize))
    with contextlib.suppress(OSError), (small_disk / "filler").open("ab") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    assert np.array_equal(cached_array(KEY, Build()).array, Build().rows)
    with pytest.raises(DataError, match="No space left"):
        cached_array(cache_key("more"), lambda metadata: [np.zeros(10_000)])


# What the data sets keep here.


def keep(data, **changes):
    """Write the entry of a data set again, with other metadata or rows, and checksums that are right."""
    path = data.path
    rows, metadata = np.array(data.array), data.metadata | changes
    rows = metadata.pop("rows", rows)
    path.unlink()
    cached_array(path.stem, lambda empty: empty.update(metadata) or iter(rows))


def pictures(folder):
    from PIL import Image

    from mmgan.data.image.dataset import ImageConfig, ImageData, open_folder

    folder.mkdir(exist_ok=True)
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    config = ImageConfig(plugin="test", size=8)
    data = ImageData(open_folder(str(folder), config), config)
    return data._cached, lambda: ImageData(open_folder(str(folder), config), config)._cached


def sounds(folder):
    import soundfile

    from mmgan.data.audio.dataset import AudioConfig, AudioData, open_folder

    folder.mkdir(exist_ok=True)
    for number in range(3):
        soundfile.write(
            folder / f"{number}.wav", np.full(4000, 0.1 + number / 10) * (-1) ** np.arange(4000), 8000
        )
    config = AudioConfig(plugin="test", length=1024, sample_rate=8000)
    data = AudioData(open_folder(str(folder), config), config)
    return data._cached, lambda: AudioData(open_folder(str(folder), config), config)._cached


def singles(folder):
    from mmgan.data.image.sources import ImageFolder
    from mmgan.data.pairs.dataset import PairConfig, Stored
    from mmgan.data.pairs.sources import Singles

    pictures(folder)
    config = PairConfig(plugin="test", size=8, derive="edges")

    def again():
        return Stored(Singles(ImageFolder(folder), config), config).cached

    return again(), again


HOSTILE = [
    (singles, {"skipped": [["a"]]}),
    (singles, {"skipped": None}),
    (singles, {"rows": np.zeros((3, 7), dtype=np.uint8)}),
    (pictures, {"labels": None}),
    (pictures, {"labels": [0]}),
    (pictures, {"labels": ["a", "b", "c"]}),
    (pictures, {"labels": [2**63] * 3}),
    (pictures, {"skipped": [["a"]]}),
    (pictures, {"skipped": {"a": 1}}),
    (pictures, {"rows": np.zeros((3, 3, 8, 8), dtype=np.float32)}),
    (pictures, {"rows": np.zeros((3, 3, 8, 4), dtype=np.uint8)}),
    (sounds, {"labels": [0, 0]}),
    (sounds, {"frames": [2**62] * 3}),
    (sounds, {"frames": [-1000, 4000, 4000]}),
    (sounds, {"frames": 3}),
    (sounds, {"skipped": [[1, 2]]}),
    (sounds, {"rows": np.zeros((3, 1024, 2), dtype=np.float32)}),
]


@pytest.mark.parametrize(("make", "changes"), HOSTILE, ids=range(len(HOSTILE)))
def test_what_a_data_set_would_stumble_over_is_built_again(make, changes, tmp_path):
    entry, again = make(tmp_path / "data")
    rows, metadata = np.array(entry.array), entry.metadata
    keep(entry, **changes)
    fresh = again()
    assert np.array_equal(fresh.array, rows)
    assert fresh.metadata == metadata


@pytest.mark.parametrize("make", [pictures, sounds, singles])
def test_what_a_data_set_has_kept_is_not_built_again(make, tmp_path):
    entry, again = make(tmp_path / "data")
    before = entry.path.stat().st_ino
    again()
    assert entry.path.stat().st_ino == before
