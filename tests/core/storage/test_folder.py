"""Taking a new folder for a run, and finding what an old one holds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import reload, toy_run

import mmgan
from mmgan import CheckpointError, UsageError, train
from mmgan.storage import checkpoint
from mmgan.storage.folder import claimed, find_checkpoint, read_best
from mmgan.storage.lock import FolderLock

BEFORE = Path(__file__).parent / "run_of_0_1"


def test_of_two_claims_one_wins_and_the_other_takes_nothing_away(tmp_path: Path) -> None:
    with claimed(tmp_path / "run") as folder:
        (folder / "begun").write_text("x")
        with pytest.raises(UsageError, match=f"process {os.getpid()} is training in the folder"):
            claimed(tmp_path / "run").__enter__()
        assert (folder / "begun").exists()
    with pytest.raises(UsageError, match="is not empty"):
        claimed(tmp_path / "run").__enter__()
    assert (tmp_path / "run" / "begun").exists()


def give_up(folder: Path) -> None:
    with claimed(folder):
        (folder / "config.toml").write_text(f"{1 / 0}")


def test_a_run_that_can_t_begin_gives_its_folder_back(tmp_path: Path) -> None:
    for name, was_there in (("new", False), ("empty", True)):
        folder = tmp_path / name
        if was_there:
            folder.mkdir()
        with pytest.raises(ZeroDivisionError):
            give_up(folder)
        assert folder.exists() == was_there
        assert not was_there or not list(folder.iterdir())


def test_what_a_killed_claim_left_is_empty_for_the_next(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("123")
    with claimed(tmp_path):
        pass


def test_a_lock_tells_nothing_of_what_a_stranger_wrote_into_it(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    (tmp_path / ".lock").write_text("\x1b[2J evil")
    with pytest.raises(UsageError, match="Another process is training") as caught:
        FolderLock(tmp_path)
    assert "kill" not in caught.value.hint
    lock.release()


def test_a_lock_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".lock").symlink_to("victim")
    with pytest.raises(OSError, match="Not followed"):
        FolderLock(tmp_path)
    assert (tmp_path / "victim").read_text() == "mine"


RACER = """
import sys
from pathlib import Path
from mmgan import MmganError
from mmgan.storage.folder import claimed
print("ready", flush=True)
sys.stdin.readline()
for round in range(50):
    try:
        with claimed(Path(sys.argv[1]) / str(round)) as folder:
            (folder / "config.toml").write_text(sys.argv[2])
            if round % 2:
                raise KeyError  # gives up
            print(round, flush=True)
    except (MmganError, KeyError):
        pass
"""


@pytest.mark.process
@pytest.mark.slow
def test_many_processes_race_for_folders_and_each_has_one_owner(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, tmp_path, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    wins: dict[int, str] = {}
    outputs = [""] * 3

    def collect(number: int) -> None:
        outputs[number] = racers[number].communicate("\n", timeout=120)[0]

    threads = [threading.Thread(target=collect, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, output in enumerate(outputs):
        for round in map(int, output.split()):
            assert round not in wins, "a folder with two owners"
            wins[round] = str(number)
    assert sorted(wins) == list(range(0, 50, 2)), "one of them has taken each"
    for round, owner in wins.items():
        assert (tmp_path / str(round) / "config.toml").read_text() == owner
    assert not any((tmp_path / str(round)).exists() for round in range(1, 50, 2)), (
        "given up, and cleared away"
    )


def test_sampling_beside_a_run_that_prunes_takes_the_next_checkpoint(tmp_path: Path) -> None:
    run = toy_run(folder=tmp_path / "run", keep=1)
    stop = threading.Event()
    run.save()

    def prune() -> None:
        while not stop.is_set():
            run.step += 1
            run.save()
            for step in checkpoint.steps(run.checkpoints)[:-1]:
                checkpoint.remove(run.checkpoints, step)

    trainer = threading.Thread(target=prune)
    trainer.start()
    try:
        seen = [reload(tmp_path / "run").step for _ in range(20)]
    finally:
        stop.set()
        trainer.join()
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


def test_a_run_s_files_can_be_read_by_others(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        train(toy_run(folder=tmp_path / "run", steps=3))
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 8
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o644"}


def test_a_run_made_before_goes_on_and_samples(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(BEFORE, folder)
    run = mmgan.load_run(folder, changes={"steps": 9})
    assert (run.step, run.changed) == (6, {})
    assert len(run.sample(5)) == 5
    assert train(run).step == 9
    again = mmgan.load_run(folder)
    assert (again.step, again.changed) == (9, {})


@pytest.mark.parametrize(
    "best",
    [
        '{"step": "1"}',
        '{"step": 1, "score": 2, "value": 3}',
        '[[["',
        '{"step":1,"score":"a","value":NaN}',
    ],
)
def test_a_best_that_is_none_is_no_best(tmp_path: Path, best: str) -> None:
    (tmp_path / "best.json").write_text(best)
    assert read_best(tmp_path) == {}
    with pytest.raises(CheckpointError, match="was never evaluated"):
        find_checkpoint(tmp_path, "best")


def test_steps_that_are_no_numbers_of_ours(tmp_path: Path) -> None:
    for name in ("step-\u0665\u0665\u0665\u0665\u0665\u0665", f"step-{'9' * 200}", "step-1"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000007").symlink_to("step-1")
    assert checkpoint.steps(tmp_path) == []
    for which in ("\u0665", "²", "9" * 5000, "-1"):
        with pytest.raises(CheckpointError, match="There is no checkpoint"):
            find_checkpoint(tmp_path, which)


def test_a_manifest_must_cover_every_file_and_tell_its_own_step(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 5, {"G": {"w": torch.zeros(1)}}, {"step": 5})
    manifest = json.loads((path / "manifest.json").read_text())

    def refused(match: str, **changes: Any) -> None:
        (path / "manifest.json").write_text(json.dumps(manifest | changes))
        with pytest.raises(CheckpointError, match=match):
            checkpoint.load(path)

    refused("it has no SHA-256 of G.safetensors", files={})
    refused("says that it is of step 6", step=6)
    refused("step: Input should be a valid integer", step="5")
    refused("step: Input should be greater", step=-1)
    refused("weights", weights=["../G"])
    refused("files", files=manifest["files"] | {"../../x": "0" * 64})
    refused("has format", format=[[1]])


@pytest.mark.parametrize("name", ["step-0000004", "step-000004 (copy)", "step-٤٤٤٤٤٤", "step-4"])
def test_a_checkpoint_that_was_renamed_is_passed_over_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = toy_run(folder=tmp_path / "run")
    for run.step in (2, 4):
        run.save()
    (run.checkpoints / "step-000004").rename(run.checkpoints / name)
    assert checkpoint.steps(run.checkpoints) == [2]
    assert find_checkpoint(run.checkpoints).name == "step-000002"
    assert f"{name}' is not a checkpoint's name. It is passed over." in capsys.readouterr().err
