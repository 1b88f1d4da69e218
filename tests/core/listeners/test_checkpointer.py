"""When checkpoints are saved, which are kept, and which is the best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmgan import CheckpointError, DivergedError, Run, hookimpl, train
from mmgan.storage import checkpoint
from mmgan.storage.folder import find_checkpoint, read_best


class Saves:
    """Notes the step of each save."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    @hookimpl
    def before_save(self, run: Run) -> None:
        self.steps.append(run.step)


def kept(folder: Path) -> list[int]:
    return checkpoint.steps(folder / "checkpoints")


def test_the_newest_are_kept(kit: Any) -> None:
    saves = Saves()
    train(kit.new(saves, steps=22, checkpoint_every=5, keep=2))
    assert saves.steps == [5, 10, 15, 20, 22]
    assert kept(kit.folder) == [20, 22]
    for step in kept(kit.folder):
        checkpoint.verify(checkpoint.path_of(kit.folder / "checkpoints", step))
    assert not list((kit.folder / "checkpoints").glob(".*"))


@pytest.mark.parametrize("every", [0, 10])
def test_the_last_step_is_saved_once(kit: Any, every: int) -> None:
    saves = Saves()
    train(kit.new(saves, checkpoint_every=every))
    assert saves.steps == ([10, 20] if every else [20])


def test_an_interrupted_run_is_saved_where_it_stopped(kit: Any) -> None:
    run = kit.new(checkpoint_every=5)
    kit.stop(run, 7)
    train(run)
    assert kept(kit.folder) == [5, 7]


def test_a_run_that_is_stopped_before_its_first_step_can_be_resumed(kit: Any) -> None:
    run = kit.new()
    run.stop_signal = 2
    train(run)
    assert kept(kit.folder) == [0]
    assert train(kit.resume()).step == 20


def test_nothing_is_saved_after_an_error(kit: Any) -> None:
    kit.task.surprises = {3: lambda loss: loss * float("nan")}
    with pytest.raises(DivergedError):
        train(kit.new())
    assert kept(kit.folder) == []


def test_the_best_is_kept_beside_the_newest(kit: Any) -> None:
    kit.task.scores = {4: 0.5, 8: 0.25, 12: 0.75, 16: float("nan"), 20: 0.25}
    saves = Saves()
    train(kit.new(saves, evaluate_every=4, checkpoint_every=5, keep=1))
    assert saves.steps == [4, 5, 8, 10, 15, 20]
    assert kept(kit.folder) == [8, 20]
    assert read_best(kit.folder / "checkpoints") == {"step": 8, "score": "distance", "value": 0.25}
    assert find_checkpoint(kit.folder / "checkpoints", "best").name == "step-000008"


def test_a_task_without_a_best_score_has_no_best(kit: Any) -> None:
    kit.task.best_score = ""
    train(kit.new(evaluate_every=5, keep=1))
    assert kept(kit.folder) == [20]
    assert read_best(kit.folder / "checkpoints") == {}


def test_the_best_outlives_a_resume(kit: Any) -> None:
    kit.task.scores = {5: 0.1, 10: 0.5, 15: 0.2, 20: 0.05}
    run = kit.new(evaluate_every=5, keep=1)
    kit.stop(run, 12)
    train(run)
    assert kept(kit.folder) == [5, 12]
    run = kit.resume()
    kit.stop(run, 17)
    train(run)
    assert kept(kit.folder) == [5, 17]
    train(kit.resume())
    assert kept(kit.folder) == [20]
    assert read_best(kit.folder / "checkpoints")["step"] == 20


@pytest.mark.parametrize(
    "best",
    [
        {"step": 15, "score": "distance", "value": 0.0},  # later than the checkpoint that is resumed from
        {"step": 3, "score": "distance", "value": 0.0},  # its checkpoint is gone
        {"step": 5, "score": "another", "value": 0.0},  # of another score
    ],
)
def test_a_best_that_does_not_hold_is_dropped(kit: Any, best: dict[str, Any]) -> None:
    run = kit.new(checkpoint_every=5, evaluate_every=20)
    kit.stop(run, 15)
    train(run)
    (kit.folder / "checkpoints" / "best.json").write_text(json.dumps(best))
    train(kit.resume(which="10"))
    assert read_best(kit.folder / "checkpoints") == {"step": 20, "score": "distance", "value": 1.0}


def test_a_torn_checkpoint_does_not_take_the_place_of_a_whole_one(
    kit: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = kit.new(checkpoint_every=5, keep=2)
    kit.stop(run, 15)
    train(run)
    torn = checkpoint.path_of(kit.folder / "checkpoints", 15) / "G.safetensors"
    torn.write_bytes(torn.read_bytes()[:-9])
    run = kit.resume()
    assert run.step == 10
    kit.stop(run, 12)
    train(run)
    assert kept(kit.folder) == [10, 12]
    assert "passed over" in capsys.readouterr().err
    train(kit.resume())
    checkpoint.verify(checkpoint.path_of(kit.folder / "checkpoints", 15))


def test_what_a_killed_run_left_half_written_is_swept_away(kit: Any) -> None:
    run = kit.new(checkpoint_every=5)
    kit.stop(run, 5)
    train(run)
    (kit.folder / "checkpoints" / ".partial-123").mkdir()
    train(kit.resume())
    assert not list((kit.folder / "checkpoints").glob(".partial*"))


def test_a_checkpoint_comes_after_the_samples_and_metrics_of_its_step(kit: Any) -> None:
    """So a run that is killed at once after it, and goes on from it, lacks neither."""

    class Killer:
        @hookimpl
        def before_save(self, run: Run) -> None:
            raise CheckpointError("killed here")

    with pytest.raises(CheckpointError):
        train(kit.new(Killer(), checkpoint_every=5, sample_every=5, evaluate_every=5))
    assert (kit.folder / "samples" / "step-000005.txt").exists()
    lines = [json.loads(line) for line in (kit.folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], "scores" in line) for line in lines] == [(5, False), (5, True)]
