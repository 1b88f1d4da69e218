"""Classes: in batches, in what is known of the data, and asked for at sampling."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from painting import Colours, classes, paint

import mmgan
from mmgan import CheckpointError, DataError, UsageError, hookimpl
from mmgan.conditions import full_rows
from mmgan.testing.compare import differences

SETTINGS: dict[str, Any] = {"size": 8, "batch_size": 6, "tensorboard": False, "device": "cpu"}


def run_on(data: Path, folder: Path | None = None, **settings: Any) -> mmgan.Run:
    return mmgan.new_run(Colours, folder=folder, data=str(data), **{"steps": 60, **SETTINGS, **settings})


def test_a_task_that_learns_classes(tmp_path: Path) -> None:
    Colours.opened = 0
    run = run_on(classes(tmp_path / "data"))
    mmgan.train(run)
    assert Colours.opened == 1
    for name, channel in (("red", 0), ("green", 1), ("blue", 2)):
        colour = run.sample(5, label=name).images.mean((0, 2, 3))
        assert colour.argmax() == channel, name
        assert (colour > 0).sum() == 1


def test_labels_are_asked_for_by_name_number_or_one_for_each(tmp_path: Path) -> None:
    run = run_on(classes(tmp_path / "data"))
    by_name = run.sample(2, label="green")
    assert by_name.labels == ["green", "green"]
    for same in ("GREEN", 1, "1", ["green", 1]):
        assert torch.equal(run.sample(2, label=same).images, by_name.images)
    assert run.sample(3, label=["red", "blue", "red"]).labels == ["red", "blue", "red"]
    # Nobody asked: all classes get their share, and one that has numbers for names is known by them.
    assert run.sample(7).labels == ["blue"] * 3 + ["green"] * 2 + ["red"] * 2
    assert run.sample(2).labels == ["blue", "green"]
    assert full_rows(run, 64) == 63


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("gren", "label = 'gren' is not a class of this run. Did you mean 'green'"),
        ("3", "label = '3' is not a class"),
        (-1, "label = -1 is not a class"),
        (["red"], "label: 1 values were given for 2 samples"),
    ],
)
def test_a_label_that_is_none(tmp_path: Path, label: Any, message: str) -> None:
    run = run_on(classes(tmp_path / "data"))
    with pytest.raises(UsageError, match=message):
        run.sample(2, label=label)
    with pytest.raises(UsageError, match="This run of colours takes no text. It takes label."):
        run.sample(2, text="a house")


def test_a_run_is_sampled_and_knows_its_data_where_that_is_gone(tmp_path: Path) -> None:
    run = run_on(classes(tmp_path / "data"), tmp_path / "run", steps=5)
    mmgan.train(run)
    shutil.rmtree(tmp_path / "data")
    Colours.opened = 0
    again = reload(tmp_path / "run")
    assert again.data_info == run.data_info
    assert again.data_info.counts == (2, 2, 2)
    assert torch.equal(again.sample(3, label="red").images, run.sample(3, label="red").images)
    assert Colours.opened == 0


def test_names_of_classes_from_a_strangers_folder_are_shown_without_their_escapes(tmp_path: Path) -> None:
    run = run_on(classes(tmp_path / "data"))
    run.known = run.data_info.model_copy(
        update={"classes": ("\x1b[2Jred", "x" * 1_000, *"abcdefghijklmnopqrstuvw")}
    )
    with pytest.raises(UsageError) as caught:
        run.sample(2, label="blue")
    assert "Its 25 classes: '\\x1b[2Jred', " in caught.value.hint
    assert "and 5 more; or their numbers" in caught.value.hint
    assert "\x1b" not in caught.value.hint
    assert len(caught.value.hint) < 300


def reload(folder: Path, **changes: Any) -> mmgan.Run:
    plugins = mmgan.Plugins()
    plugins.add(Colours)
    return mmgan.load_run(folder, plugins, changes=changes)


def test_other_classes_are_not_taken_for_those_that_were_learned(tmp_path: Path) -> None:
    mmgan.train(run_on(classes(tmp_path / "data"), tmp_path / "run", steps=5))
    (tmp_path / "data" / "green").rename(tmp_path / "data" / "amber")
    run = reload(tmp_path / "run", steps=10)
    with pytest.raises(
        DataError, match="other classes than the run was trained on: green gone and amber new"
    ):
        mmgan.train(run)


def test_more_pictures_of_the_same_classes_are_welcome(tmp_path: Path) -> None:
    mmgan.train(run_on(classes(tmp_path / "data"), tmp_path / "run", steps=5))
    paint(tmp_path / "data", "red/9.png", "red")
    run = reload(tmp_path / "run", steps=10)
    with pytest.warns(UserWarning, match="had 6 examples when the run was saved, and now has 7"):
        mmgan.train(run)
    assert run.data_info.counts == (2, 2, 3)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.process)])
def test_resume_is_exact_with_labels(tmp_path: Path, workers: int) -> None:
    data = classes(tmp_path / "data")
    straight = run_on(data, steps=20)
    mmgan.train(straight)
    first = run_on(data, tmp_path / "run", steps=20, checkpoint_every=7, workers=workers)

    class Stop:
        @hookimpl
        def after_step(self, run: mmgan.Run, step: int) -> None:
            run.stop_signal = 2 if step == 7 else 0

    first.plugins.attach([Stop()])
    mmgan.train(first)
    assert first.step == 7
    second = reload(tmp_path / "run")
    mmgan.train(second)
    assert not list(differences(straight.weights(), second.weights()))


@pytest.mark.parametrize("damage", ['"classes": 3', '"examples": -1', '"classes": ["a", 1]'])
def test_a_damaged_data_info_is_told(tmp_path: Path, damage: str) -> None:
    import hashlib
    import json

    mmgan.train(run_on(classes(tmp_path / "data"), tmp_path / "run", steps=2))
    folder = next((tmp_path / "run" / "checkpoints").glob("step-*"))
    state = json.loads((folder / "state.json").read_text())
    state["data_info"] |= json.loads(f"{{{damage}}}")
    (folder / "state.json").write_text(json.dumps(state))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["state.json"] = hashlib.sha256((folder / "state.json").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="its data_info is damaged"):
        reload(tmp_path / "run")
