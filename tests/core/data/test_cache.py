import json
import multiprocessing
import os
import pickle
import signal
import time

import numpy as np
import pytest

from mmgan.data import cache
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


def test_a_process_killed_while_writing_does_no_harm(folder):
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=killed_while_writing, args=(started,))
    process.start()
    assert started.wait(30)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (left,) = folder.iterdir()
    assert left.suffix == ".tmp"
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
    assert json.loads(content[128 + 24 :]) == {"count": 4}
