"""metrics.jsonl: what its lines hold, and that a resumed run goes on where its checkpoint is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmgan import MmganError, train


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_line_for_each_log(kit: Any) -> None:
    train(kit.new())
    lines = records(kit.folder)
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    names = ["step", "stage", "seconds", "D/adv", "G/adv", "samples_per_s", "steps_per_s", "data_wait"]
    assert list(lines[0]) == names
    assert lines[0]["stage"] == "train"
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)


def test_a_line_for_each_evaluation_and_no_nan_in_json(kit: Any) -> None:
    kit.task.scores = {10: 0.5, 20: float("nan")}
    train(kit.new(evaluate_every=10))
    scores = [(line["step"], line["scores"]) for line in records(kit.folder) if "scores" in line]
    assert scores == [(10, {"distance": 0.5, "other": 2.0}), (20, {"distance": None, "other": 2.0})]


def test_a_resumed_run_drops_what_came_after_its_checkpoint_and_a_torn_line(kit: Any) -> None:
    run = kit.new(checkpoint_every=10)
    kit.stop(run, 10)
    train(run)
    before = records(kit.folder)
    with (kit.folder / "metrics.jsonl").open("a") as file:  # what a killed run had written by then
        file.write('{"step": 15, "stage": "train", "seconds": 99.0}\n{"step": 1')
    resumed = kit.resume()
    train(resumed)
    lines = records(kit.folder)
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    assert lines[:2] == before
    assert lines[1]["seconds"] < lines[2]["seconds"] < lines[3]["seconds"] < 99
    assert resumed.seconds == lines[-1]["seconds"]


def test_a_resumed_run_measures_its_own_speed(kit: Any) -> None:
    """The clock that is taken up must not count as time of the first steps."""
    run = kit.new(checkpoint_every=10)
    kit.stop(run, 10)
    train(run)
    path = kit.folder / "metrics.jsonl"
    lines = records(kit.folder)
    lines[-1]["seconds"] = 1e6
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    train(kit.resume())
    assert records(kit.folder)[2]["seconds"] > 1e6
    assert records(kit.folder)[2]["steps_per_s"] > 1


def test_a_disk_that_refuses_is_no_bug_of_ours(kit: Any) -> None:
    run = kit.new()
    (kit.folder / "metrics.jsonl").mkdir()
    with pytest.raises(MmganError, match=r"metrics.jsonl': not an ordinary file") as caught:
        train(run)
    assert caught.value.exit_code == 5
    assert "ordinary files" in caught.value.hint
