"""``mmgan resume``: what may change, where the data lies now, and who may train."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmgan.storage.lock import FolderLock


@pytest.fixture
def pictures() -> Path:
    folder = Path("base")
    folder.mkdir()
    dice = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(dice.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture
def run(cli: Any, pictures: Path) -> Path:
    small = ["width=4", "size=32", "tensorboard=false", "sample_every=0", "channels=3"]
    options = [word for setting in small for word in ("--set", setting)]
    result = cli(
        "run",
        "--plugin",
        "dcgan",
        "--data",
        pictures,
        *options,
        "--batch-size",
        4,
        "--steps",
        2,
        "--out",
        "r",
    )
    assert result.code == 0, result.err
    return Path("r")


def test_a_learning_rate_is_set_said_and_recorded(cli: Any, run: Path) -> None:
    result = cli("resume", run, "--steps", 4, "--set", "lr=1e-4")
    assert result.code == 0, result.err
    assert "changed at step 2: lr 0.002 -> 0.0001" in result.err
    assert "lr = 0.0001" in (run / "config.toml").read_text()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"lr": {"from": 0.002, "to": 0.0001}} in [line.get("settings") for line in lines]
    assert "changed" not in cli("resume", run, "--steps", 5).err


def test_an_edited_config_is_taken_and_said(cli: Any, run: Path) -> None:
    config = run / "config.toml"
    config.write_text(config.read_text().replace("lr = 0.002", "lr = 50.0"))
    assert "changed at step 2: lr 0.002 -> 50.0" in cli("resume", run, "--steps", 3).err


def test_a_width_that_does_not_fit_is_refused_by_its_name(cli: Any, run: Path) -> None:
    result = cli("resume", run, "--steps", 4, "--set", "width=8", "--set", "lr=1e-4")
    assert result.code == 2
    assert result.err.startswith("error: width can't change in a run that has begun (width 4 -> 8): ")
    assert len(result.err.splitlines()) == 2
    assert "width = 4" in (run / "config.toml").read_text(), "nothing of it is kept"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--set", "plugin=gan"], "plugin a run can't change"),
        (["--steps", "9", "--set", "steps=8"], "steps is given twice"),
        (["--set", "Width=8"], "has no setting 'Width'"),
        (["--set", "seed=3"], "seed can't change from 0 to 3"),
    ],
)
def test_what_can_t_be_set_is_told(cli: Any, run: Path, words: list[str], what: str) -> None:
    result = cli("resume", run, *words)
    assert (result.code, result.out) == (2, "")
    assert what in result.err


def test_data_that_has_moved_is_found_again_and_checked(cli: Any, run: Path, pictures: Path) -> None:
    pictures.rename("elsewhere")
    lost = cli("resume", run, "--steps", 4)
    assert lost.code == 4
    assert "hint: Where it lies now: mmgan resume r --data PATH" in lost.err
    found = cli("resume", run, "--steps", 4, "--data", "elsewhere")
    assert found.code == 0, found.err
    assert "changed" not in found.err
    assert cli("resume", run, "--steps", 5).code == 0, "the new place is kept"


@pytest.mark.filterwarnings("always")
def test_other_data_is_refused_as_moved_and_taken_as_a_change(cli: Any, run: Path, pictures: Path) -> None:
    Image.new("RGB", (8, 8)).save(pictures / "03.png")
    result = cli("resume", run, "--steps", 4, "--data", pictures)
    assert result.code == 4
    assert "is not the data that this run was trained on" in result.err
    result = cli("resume", run, "--steps", 4, "--set", f"data={pictures}")
    assert result.code == 0
    assert "warning: The data has changed since the run was saved" in result.err


@pytest.mark.filterwarnings("always")
def test_evaluate_takes_the_data_s_new_place(cli: Any, run: Path, pictures: Path) -> None:
    pictures.rename("elsewhere")
    assert "`mmgan evaluate` takes --data too" in cli("evaluate", run).err
    result = cli("evaluate", run, "--data", "elsewhere")
    assert (result.code, "warning: The data" in result.err) == (0, False), result.err
    Image.new("RGB", (8, 8)).save(Path("elsewhere") / "03.png")
    assert "warning: The data has changed" in cli("evaluate", run, "--data", "elsewhere").err


def test_a_folder_in_which_a_run_trains_is_not_even_read(cli: Any, run: Path) -> None:
    lock = FolderLock(run)
    for path in run.glob("checkpoints/*/*"):
        path.write_text("torn")
    result = cli("resume", run, "--steps", 4)
    lock.release()
    assert result.code == 2
    assert "is training in the folder 'r' already" in result.err


@pytest.mark.process
@pytest.mark.slow
def test_a_folder_that_is_removed_while_it_trains_ends_the_run_clearly(cli: Any, run: Path) -> None:
    process = cli.start("resume", run, "--steps", 100_000)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step"):
            break
    run.rename("gone")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The run's folder 'r' is gone" in err
    assert "Traceback" not in err


@pytest.mark.filterwarnings("always")
def test_other_data_is_kept_by_its_whole_path(cli: Any, run: Path, pictures: Path) -> None:
    pictures.rename("other")
    assert cli("resume", run, "--steps", 4, "--set", "data=other").code == 0
    assert f'data = "{Path("other").resolve()}"' in (run / "config.toml").read_text()


def test_files_of_other_names_among_the_samples_are_no_samples(cli: Any, run: Path) -> None:
    (run / "samples").mkdir()
    (run / "samples" / "step-\u00b2.png").touch()
    assert cli("resume", run, "--steps", 3).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", ["sample", "resume"])
def test_networks_far_larger_than_the_checkpoint_s_are_not_built(cli: Any, run: Path, command: str) -> None:
    config = run / "config.toml"
    config.write_text(re.sub(r"(?m)^width = .*", "width = 1000", config.read_text()))
    result = cli(command, run)
    assert (result.code, "far beyond those of the weights" in result.err) == (5, True), result.err
