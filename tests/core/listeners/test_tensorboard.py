"""tensorboard/: read back with TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmgan import PluginError, train


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder / "tensorboard"))
    reader.Reload()
    return reader


def test_losses_speed_scores_and_samples(kit: Any) -> None:
    kit.task.scores = {20: 0.5}
    train(kit.new(tensorboard=True, sample_every=10, evaluate_every=10))
    reader = events(kit.folder)
    assert set(reader.Tags()["scalars"]) == {
        "D/adv",
        "G/adv",
        "speed/steps_per_s",
        "speed/samples_per_s",
        "speed/data_wait",
        "scores/distance",
        "scores/other",
    }
    assert [event.step for event in reader.Scalars("D/adv")] == [5, 10, 15, 20]
    assert reader.Scalars("scores/distance")[-1].value == 0.5
    assert reader.Tags()["tensors"] == ["samples/text_summary"]


def test_a_resumed_run_replaces_what_came_after_its_checkpoint(kit: Any) -> None:
    run = kit.new(tensorboard=True, checkpoint_every=10)
    kit.stop(run, 15)
    train(run)
    train(kit.resume(which="10"))
    assert [event.step for event in events(kit.folder).Scalars("G/adv")] == [5, 10, 15, 20]


def test_an_event_file_is_closed_after_an_error(kit: Any) -> None:
    kit.task.surprises = {13: lambda loss: 1 / 0}
    with pytest.raises(PluginError, match="division by zero"):
        train(kit.new(tensorboard=True))
    assert [event.step for event in events(kit.folder).Scalars("G/adv")] == [5, 10]


def test_none_when_it_is_off(kit: Any) -> None:
    train(kit.new(steps=1))
    assert not (kit.folder / "tensorboard").exists()
