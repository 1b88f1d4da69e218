import os
import shutil
import time

import pytest

from mmgan.data import fingerprints
from mmgan.data.tree import FileTree


def make(folder, names="abc", size=100):
    for name in names:
        path = folder / f"{name}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * size)
        os.utime(path, ns=(10**18, 10**18))
    return folder


def tree(folder):
    return FileTree(folder, {".bin"})


@pytest.fixture
def folder(tmp_path):
    return make(tmp_path / "data")


def replaced_in_place(folder):
    (folder / "b.bin").write_bytes(b"x" * 100)
    os.utime(folder / "b.bin", ns=(10**18, 10**18))


def replaced_as_rsync_does(folder):
    (folder / "new").write_bytes(b"x" * 100)
    os.utime(folder / "new", ns=(10**18, 10**18))
    os.replace(folder / "new", folder / "b.bin")


def swapped(folder):
    for old, new in (("a.bin", "t"), ("b.bin", "a.bin"), ("t", "b.bin")):
        (folder / old).rename(folder / new)


def copied_with_its_times(folder):
    other = make(folder.parent / "other", "x")
    shutil.copy2(other / "x.bin", folder / "b.bin")


def one_more(folder):
    make(folder, "d")


def one_less(folder):
    (folder / "c.bin").unlink()


def longer(folder):
    with (folder / "a.bin").open("ab") as file:
        file.write(b"x")


def renamed(folder):
    (folder / "c.bin").rename(folder / "d.bin")


CHANGES = [
    replaced_in_place,
    replaced_as_rsync_does,
    swapped,
    copied_with_its_times,
    one_more,
    one_less,
    longer,
    renamed,
]


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_changes_both(change, folder):
    before = tree(folder)
    # Known from here on, and not when they are compared.
    assert tree(folder).fingerprint == before.fingerprint
    assert tree(folder).content_fingerprint == before.content_fingerprint
    time.sleep(0.02)  # longer than the system's clock takes for a tick
    change(folder)
    assert tree(folder).fingerprint != before.fingerprint
    assert tree(folder).content_fingerprint != before.content_fingerprint


def test_folders_that_are_swapped_change_both(tmp_path):
    # Made within a tick of the system's clock, so that no time tells them apart.
    make(tmp_path / "data", ["cat/1", "dog/1"])
    before = tree(tmp_path / "data")
    assert before.fingerprint != before.content_fingerprint
    for old, new in (("cat", "t"), ("dog", "cat"), ("t", "dog")):
        (tmp_path / "data" / old).rename(tmp_path / "data" / new)
    assert tree(tmp_path / "data").fingerprint != before.fingerprint
    assert tree(tmp_path / "data").content_fingerprint != before.content_fingerprint


def test_a_file_that_may_now_be_read_is_another_one(folder):
    before = tree(folder).fingerprint
    (folder / "a.bin").chmod(0o640)
    assert tree(folder).fingerprint != before


def test_equal_content_elsewhere(folder, tmp_path):
    before = tree(folder).content_fingerprint
    time.sleep(0.01)
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert tree(tmp_path / "copy").content_fingerprint == before
    folder.rename(tmp_path / "moved")
    assert tree(tmp_path / "moved").content_fingerprint == before
    (tmp_path / "link").symlink_to(tmp_path / "moved")
    assert tree(tmp_path / "link").content_fingerprint == before
    for path in (tmp_path / "moved").iterdir():
        path.touch()
        path.chmod(0o600)
    (tmp_path / "moved" / "other.md").touch()
    assert tree(tmp_path / "moved").content_fingerprint == before


def test_a_single_file_may_have_another_name(folder):
    before = tree(folder / "a.bin").content_fingerprint
    (folder / "a.bin").rename(folder / "z.bin")
    assert tree(folder / "z.bin").content_fingerprint == before
    assert tree(folder / "b.bin").content_fingerprint != before


def test_names_and_bytes_are_kept_apart(tmp_path):
    one = tmp_path / "1", tmp_path / "2"
    for path, content in zip(one, (b"ab", b"c"), strict=True):
        path.write_bytes(content)
    before = fingerprints.of_content(zip("xy", one, strict=True))
    for path, content in zip(one, (b"a", b"bc"), strict=True):
        path.write_bytes(content)
    assert fingerprints.of_content(zip("xy", one, strict=True)) != before


@pytest.mark.parametrize(
    ("place", "read"), [(0, True), (18_749, True), (20_000, False), (40_000, True), (99_999, True)]
)
def test_of_larger_files_blocks_are_read(place, read, tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "_BUDGET", 150_000)
    make(tmp_path, "ab", 100_000)
    before = tree(tmp_path).content_fingerprint
    # Each file has 75,000 bytes to be read: four blocks of 18,750 from 0, 27,083, 54,166 and 81,250.
    content = bytearray(b"a" * 100_000)
    content[place] = 0
    (tmp_path / "a.bin").write_bytes(content)
    assert (tree(tmp_path).content_fingerprint != before) is read


def test_every_byte_of_small_data_counts(tmp_path):
    make(tmp_path, "a", 300_000)
    before = tree(tmp_path).content_fingerprint
    for place in (0, 77_777, 150_001, 299_999):
        content = bytearray(b"a" * 300_000)
        content[place] = 0
        (tmp_path / "a.bin").write_bytes(content)
        assert tree(tmp_path).content_fingerprint != before


def test_what_can_not_be_read(tmp_path):
    missing = tmp_path / "missing"
    os.mkfifo(tmp_path / "pipe")
    for path in (missing, tmp_path / "pipe", tmp_path):
        prints = {of([("x", path)]) for of in (fingerprints.of_files, fingerprints.of_content)}
        assert all(len(value) == 64 for value in prints)
    assert fingerprints.of_content([]) == fingerprints.of_content([])
    assert fingerprints.of_content([("x", missing)]) != fingerprints.of_content([("y", missing)])
