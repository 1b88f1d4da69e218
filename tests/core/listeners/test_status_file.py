"""status.json in every way that a run can end, and the lock on the folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import mmgan
from mmgan import DivergedError, PluginError, Run, UsageError, hookimpl, train
from mmgan.storage import checkpoint
from mmgan.storage.lock import FolderLock


def status(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text())


def raising(error: BaseException) -> Any:
    def surprise(loss: Any) -> Any:
        raise error

    return surprise


def test_running_and_finished(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Reader:
        @hookimpl(trylast=True)
        def after_step(self, run: Run) -> None:
            seen.append(status(kit.folder))

        @hookimpl
        def after_run(self, run: Run) -> None:
            seen.append(status(kit.folder))

    monkeypatch.setattr("mmgan.listeners.status_file.StatusFile.interval", 0.0)
    run = kit.new(Reader())
    train(run)
    assert [one["step"] for one in seen] == [*range(1, 21), 20]
    assert {one["state"] for one in seen} == {"running"}
    assert {one["exit_code"] for one in seen} == {None}

    last = status(kit.folder)
    assert (last["schema"], last["state"], last["exit_code"], last["error"]) == (1, "finished", 0, None)
    assert (last["step"], last["steps"], last["plugin"]) == (20, 20, "toy")
    assert (last["device"], last["precision"], last["pid"]) == ("cpu", "fp32", os.getpid())
    assert last["seconds"] == run.seconds > 0
    assert last["versions"]["mmgan"] == mmgan.__version__
    assert set(last["versions"]) == {"mmgan", "torch", "python"}


def test_it_is_not_written_at_every_step(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = []
    monkeypatch.setattr(
        "mmgan.listeners.status_file.write_text", lambda path, text: writes.append(json.loads(text))
    )
    train(kit.new(steps=40))
    assert writes[0]["state"] == "running"
    assert writes[-1]["state"] == "finished"
    assert len(writes) < 10


@pytest.mark.parametrize(("signal", "code"), [(2, 130), (15, 143)])
def test_interrupted_by_a_signal(kit: Any, signal: int, code: int) -> None:
    run = kit.new()
    kit.stop(run, 7, signal)
    train(run)
    last = status(kit.folder)
    assert (last["state"], last["step"], last["exit_code"], last["error"]) == ("interrupted", 7, code, None)
    train(kit.resume())
    assert (status(kit.folder)["state"], status(kit.folder)["step"]) == ("finished", 20)


def test_interrupted_at_once(kit: Any) -> None:
    kit.task.surprises = {7: raising(KeyboardInterrupt())}
    with pytest.raises(KeyboardInterrupt):
        train(kit.new())
    last = status(kit.folder)
    assert (last["state"], last["exit_code"], last["error"]) == ("interrupted", 130, None)


def test_a_run_that_diverges_keeps_its_earlier_checkpoint(kit: Any) -> None:
    kit.task.surprises = {13: lambda loss: loss * float("nan")}
    with pytest.raises(DivergedError):
        train(kit.new(checkpoint_every=5))
    last = status(kit.folder)
    assert (last["state"], last["exit_code"], last["step"]) == ("failed", 6, 13)
    assert last["error"]["code"] == "diverged"
    assert "step 13" in last["error"]["message"]
    assert checkpoint.steps(kit.folder / "checkpoints") == [5, 10]

    kit.task.surprises = {}
    assert train(kit.resume()).state == "finished"
    assert status(kit.folder)["error"] is None


def test_an_error_in_the_task(kit: Any) -> None:
    kit.task.surprises = {3: raising(ZeroDivisionError("division by zero"))}
    with pytest.raises(PluginError):
        train(kit.new())
    last = status(kit.folder)
    assert (last["state"], last["exit_code"]) == ("failed", 3)
    assert "division by zero" in last["error"]["message"]


def test_a_bug(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not a function of this file, whose errors would be the task's.
    monkeypatch.setattr("mmgan.engine.play_step", int)
    with pytest.raises(TypeError) as raised:
        train(kit.new())
    last = status(kit.folder)
    assert (last["state"], last["exit_code"]) == ("failed", 70)
    assert last["error"] == {
        "code": "internal",
        "message": f"TypeError: {raised.value}",
    }


def test_a_listener_that_fails_at_the_failure_does_not_hide_it(kit: Any) -> None:
    class Broken:
        @hookimpl
        def on_run_error(self, run: Run) -> None:
            raise RuntimeError("broken listener")

    kit.task.surprises = {3: raising(mmgan.DataError("a file went away"))}
    with pytest.raises((mmgan.DataError, RuntimeError)):
        train(kit.new(Broken()))
    assert status(kit.folder)["exit_code"] == 4
    FolderLock(kit.folder).release()


def test_a_run_that_can_not_start_or_end_is_failed(kit: Any) -> None:
    class Broken:
        @hookimpl
        def before_run(self, run: Run) -> None:
            if run.step == 0:
                raise mmgan.PluginError("at the start")

        @hookimpl
        def after_run(self, run: Run) -> None:
            raise mmgan.PluginError("at the end")

    run = kit.new(Broken())
    run.save()
    with pytest.raises(mmgan.PluginError):
        train(run)
    assert status(kit.folder)["error"] == {"code": "plugin", "message": "at the start"}
    run.step = 19
    with pytest.raises(mmgan.PluginError):
        train(run)
    assert status(kit.folder)["error"] == {"code": "plugin", "message": "at the end"}


def written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_two_runs_can_not_train_in_one_folder(kit: Any) -> None:
    refused: list[UsageError] = []

    class Intruder:
        @hookimpl
        def after_log(self, run: Run, step: int) -> None:
            if step == 15:
                before = written(kit.folder)
                with pytest.raises(UsageError) as caught:
                    train(kit.resume())
                refused.append(caught.value)
                assert written(kit.folder) == before

    run = kit.new(Intruder(), checkpoint_every=5)
    train(run)
    assert str(kit.folder) in refused[0].message
    assert str(os.getpid()) in refused[0].message
    assert status(kit.folder)["state"] == "finished"
    train(kit.resume(steps=25))  # the end of the first left the folder free


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_worker_that_outlives_a_killed_run_does_not_hold_the_folder(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    started, over = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(over[1])
        os.write(started[1], b".")
        os.read(over[0], 1)  # until the test is over
        os._exit(0)
    try:
        os.read(started[0], 1)
        with pytest.raises(UsageError):
            FolderLock(tmp_path)  # the child has let go, and we have not
        lock.release()
        FolderLock(tmp_path).release()
    finally:
        os.close(over[1])
        os.waitpid(child, 0)
        for end in (*started, over[0]):
            os.close(end)
