"""Files below a folder, and how they are told of."""

import os
import socket
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmgan.data.tree import FileTree, list_others, list_skipped, open_data


def test_few_skipped_files_are_named():
    assert list_skipped([]) == ""
    said = list_skipped([("a/x.png", "truncated"), ("a/y.png", "empty file")])
    assert said == "; 2 skipped: a/x.png (truncated), a/y.png (empty file)"


def test_many_skipped_files_are_grouped_by_reason():
    folder = "a/long/way/down"
    skipped = [("b.png", "empty file"), ("c/d.png", "empty file"), ("e.png", "not a picture")]
    skipped += [(f"{folder}/{number}.png", "truncated") for number in range(195)]
    assert list_skipped(skipped) == (
        f"; 198 skipped: 195 x truncated (in {folder}: 0.png, 1.png, …), 2 x empty file (b.png, c/d.png), "
        "e.png (not a picture) (-v names them)"
    )


def test_many_reasons_and_long_names_stay_short():
    skipped = [(f"{number}" + "x" * 5000, f"reason {number}" + "y" * 5000) for number in range(50)]
    said = list_skipped(skipped)
    assert len(said) < 1000
    assert "46 for other reasons" in said


def test_the_log_names_all(caplog):
    with caplog.at_level("INFO"):
        list_skipped([(f"{number}.png", "torn\n") for number in range(20)])
    assert len(caplog.messages) == 20
    assert caplog.messages[19] == r"skipped: 19.png ('torn\n')"


def test_others_are_named_by_ending_where_they_are_not_ordinary():
    assert list_others(SimpleNamespace(others=0)) == ""
    assert list_others(SimpleNamespace(others=3)) == "; 3 other files"  # a plugin's own source
    source = SimpleNamespace(others=204, endings=Counter({".heic": 200, ".txt": 3, ".zip": 1}))
    assert list_others(source) == "; 204 other files (200 .heic, 1 .zip)"
    assert list_others(source, source) == "; 408 other files (400 .heic, 2 .zip)"
    many = Counter({f".{number}": 1 for number in range(9)})
    assert "4 of other endings" in list_others(SimpleNamespace(others=9, endings=many))


@pytest.fixture
def nested(tmp_path):
    """A folder with others in it, deeper than a path may be long; taken away, which few programs can."""
    here = Path.cwd()
    os.chdir(tmp_path)
    for _ in range(2100):
        os.mkdir("d")
        os.chdir("d")
    yield tmp_path
    for _ in range(2100):
        os.chdir("..")
        os.rmdir("d")
    os.chdir(here)


def test_folders_nested_deeper_than_paths_are_long(nested):
    (nested / "a.x").write_text("a")
    tree = FileTree(nested, {".x"})
    assert len(tree) == 2
    assert tree.name(0) == "a.x"
    with pytest.raises(OSError, match="too long"):
        tree.open(1)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder", "empty", "loop", "gone"])
def test_what_is_not_a_file_is_not_waited_for(tmp_path, kind):
    path = tmp_path / "x"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as end:
                end.bind(str(path))
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "loop":
            path.symlink_to(path)
    with pytest.raises((OSError, ValueError)):
        open_data(path)
