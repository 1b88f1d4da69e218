"""``mmgan run --resume``: one command that begins a run, goes on with it, and finds it finished."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mmgan.storage.lock import FolderLock

pytestmark = pytest.mark.usefixtures("fake")
RUN = ("run", "--plugin", "fake", "--out", "it", "--resume")


def test_it_begins_a_run_and_finds_it_finished(cli: Any) -> None:
    assert cli(*RUN, "--steps", 6).code == 0
    before = {path: path.read_bytes() for path in Path("it").rglob("*") if path.is_file()}
    again = cli(*RUN, "--steps", 6)
    assert (again.code, again.out) == (0, "it\n"), again.err
    assert "finished at step 6 of 6" in again.err
    assert {path: path.read_bytes() for path in before} == before
    document = json.loads(cli(*RUN, "--steps", 6, "--json").out)
    assert (document["state"], document["step"], document["exit_code"]) == ("finished", 6, 0)
    assert document["seconds"] > 0


def test_it_goes_on_with_the_settings_that_it_gives(cli: Any) -> None:
    assert cli(*RUN, "--steps", 6).code == 0
    again = cli(*RUN, "--steps", 9, "--set", "log_every=3")
    assert again.code == 0, again.err
    assert "finished at step 9 of 9" in again.err
    assert "log_every = 3" in Path("it/config.toml").read_text()
    # What is not given stays as the run has it.
    assert cli(*RUN, "--steps", 10).code == 0
    assert "log_every = 3" in Path("it/config.toml").read_text()
    refused = cli(*RUN, "--steps", 12, "--seed", 3)
    assert refused.code == 2
    assert "seed can't change from 0 to 3" in refused.err


def test_a_run_that_has_ended_itself_is_not_trained_on(cli: Any) -> None:
    assert cli(*RUN, "--steps", 6).code == 0
    status = json.loads(Path("it/status.json").read_text())
    Path("it/status.json").write_text(json.dumps({**status, "steps": 20, "reason": "good enough"}))
    again = cli(*RUN, "--steps", 20)
    assert again.code == 0, again.err
    assert "finished at step 6 of 20: good enough" in again.err
    # To make it longer is to ask for more.
    assert cli(*RUN, "--steps", 21).code == 0
    assert json.loads(Path("it/status.json").read_text())["step"] == 21


def unsaved(cli: Any, **status: object) -> Path:
    """Leave a folder as a run does that is killed before its first checkpoint."""
    assert cli(*RUN, "--steps", 6).code == 0
    folder = Path("it")
    for file in sorted(folder.glob("checkpoints/**/*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    known = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**known, "state": "running", **status}))
    (folder / "checkpoints/.partial-1").mkdir()
    (folder / ".partial-2").touch()
    return folder


def test_a_run_without_a_checkpoint_begins_anew(cli: Any) -> None:
    folder = unsaved(cli)
    lines = (folder / "metrics.jsonl").read_text().count("\n")
    again = cli(*RUN, "--steps", 6)
    assert again.code == 0, again.err
    assert (folder / "metrics.jsonl").read_text().count("\n") == lines
    assert (folder / "checkpoints/step-000006").is_dir()
    assert not list(folder.rglob(".partial-*"))


def test_a_run_that_was_killed_before_it_wrote_its_status(cli: Any) -> None:
    unsaved(cli)
    for path in Path("it").iterdir():
        if path.name in ("status.json", "metrics.jsonl"):
            path.unlink()
    assert cli(*RUN, "--steps", 6).code == 0


@pytest.mark.parametrize("what", ["a stranger's file", "no settings", "it ended", "it is locked"])
def test_what_may_be_wanted_is_not_removed(cli: Any, what: str) -> None:
    folder = unsaved(cli, state="finished" if what == "it ended" else "running")
    if what == "a stranger's file":
        (folder / "thesis.txt").touch()
    if what == "no settings":
        (folder / "config.toml").unlink()
    lock = FolderLock(folder) if what == "it is locked" else None
    before = sorted(os.listdir(folder))
    again = cli(*RUN, "--steps", 6)
    assert again.code == 2
    assert ("is training in the folder" if lock else "is not empty") in again.err
    assert sorted(os.listdir(folder)) == [name for name in before if lock or name != ".partial-2"]
    if lock:
        lock.release()


def test_no_link_is_followed_to_begin_anew(cli: Any) -> None:
    folder = unsaved(cli)
    precious = Path("precious")
    precious.mkdir()
    (precious / "file").touch()
    (folder / "helpers").symlink_to(precious.absolute())
    assert cli(*RUN, "--steps", 6).code == 0
    assert (precious / "file").exists()
    assert not (folder / "helpers").is_symlink()


def test_another_plugin_s_run_is_refused(cli: Any) -> None:
    assert cli(*RUN, "--steps", 6).code == 0
    again = cli("run", "--plugin", "gan", "--out", "it", "--resume", "--steps", 6)
    assert again.code == 2
    assert "holds a run of 'fake', and not of 'gan'" in again.err


def test_it_needs_a_folder(cli: Any) -> None:
    result = cli("run", "--plugin", "fake", "--resume")
    assert result.code == 2
    assert "mmgan run --resume needs --out" in result.err
    assert not Path("runs").exists()


def test_a_run_that_torchrun_would_begin_anew_is_refused(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    result = cli("run", "--plugin", "fake", "--out", "it")
    assert result.code == 2
    assert "torchrun --max-restarts 3 starts this command again after a failure" in result.err
    assert not Path("it").exists()
    assert cli(*RUN, "--steps", 2).code == 0
