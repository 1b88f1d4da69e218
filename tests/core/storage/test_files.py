"""Files of a run's folder: nothing is followed, waited for or read without a bound."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from mmgan.config import LARGEST
from mmgan.storage import files, records


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file outside of the run's folder, which must stay as it is."""
    path = tmp_path / "victim"
    path.write_text("mine")
    return path


def test_a_fresh_file_replaces_a_link_and_does_not_follow_it(tmp_path: Path, victim: Path) -> None:
    target = tmp_path / "status.json"
    target.symlink_to(victim)
    files.write_text(target, "new")
    assert victim.read_text() == "mine"
    assert (target.read_text(), target.is_symlink()) == ("new", False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["status.json", "victim"]


def test_no_two_unfinished_files_have_a_name_that_could_be_foreseen(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        with files.fresh(tmp_path / "a.png") as partial:
            names.add(partial.name)
            assert partial.suffix == ".png"
            assert partial.stat().st_size == 0
    assert len(names) == 3


def test_what_was_not_finished_leaves_nothing_and_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def interrupted() -> None:
        with files.fresh(tmp_path / "a") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_files_have_the_permissions_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        files.write_text(tmp_path / "a", "text")
        files.append_text(tmp_path / "b", "text")
    finally:
        os.umask(before)
    assert {oct((tmp_path / name).stat().st_mode & 0o777) for name in "ab"} == {"0o644"}


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link"])
def test_nothing_is_added_to_a_file_that_lies_elsewhere_too(tmp_path: Path, victim: Path, kind: str) -> None:
    place = tmp_path / "metrics.jsonl"
    if kind == "hard link":
        place.hardlink_to(victim)
    else:
        place.symlink_to(victim if kind == "link" else tmp_path / "absent")
    with pytest.raises(files.UnsafeFileError, match="link"):
        files.append_text(place, "line\n")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "absent").exists()


def special(path: Path, kind: str) -> None:
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "itself":
            path.symlink_to(path)
        case "large":
            path.write_bytes(b"")
            os.truncate(path, 1 << 40)
        case "absent":
            pass


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "itself", "large", "absent"])
def test_what_is_not_an_ordinary_file_is_an_error_at_once(tmp_path: Path, kind: str) -> None:
    special(tmp_path / "config.toml", kind)
    with pytest.raises(OSError, match=r"config\.toml"):
        files.read(tmp_path / "config.toml", 1000)


def test_a_linked_folder_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "samples").symlink_to("elsewhere")
    with pytest.raises(files.UnsafeFileError, match="Not followed"):
        files.make_folder(tmp_path / "samples")


def test_leftovers_are_swept_and_what_they_lead_to_stays(tmp_path: Path, victim: Path) -> None:
    (tmp_path / ".partial-1").symlink_to(tmp_path / "keep")
    (tmp_path / ".partial-2").hardlink_to(victim)
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "a").write_text("a")
    (tmp_path / ".partial-3").mkdir()
    (tmp_path / ".partial-3" / "b").write_text("b")
    files.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keep", "victim"]
    assert (tmp_path / "keep" / "a").exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.slow
@pytest.mark.parametrize("model", [records.Manifest, records.Best, records.Line])
@settings(derandomize=True)
@given(data=st.binary() | JSON.map(lambda value: repr(value).encode()))
def test_any_bytes_are_a_record_or_a_value_error(model: type[BaseModel], data: bytes) -> None:
    try:
        record = model.model_validate_json(data)
    except ValueError:
        return
    assert 0 <= record.step < LARGEST  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"step": ' + "9" * 5000 + "}", '{"step": 1e400}', "{", ""])
def test_json_that_breaks_readers_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "best.json").write_text(text)
    with pytest.raises(ValueError, match="Best"):
        files.read_model(tmp_path / "best.json", records.Best, records.SMALL)
