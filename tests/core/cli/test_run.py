"""``mmgan run`` and ``mmgan resume``, from the call to the files."""

from __future__ import annotations

import io
import json
import shlex
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmgan.cli import folders, training

RUN = ("run", "--plugin", "fake")
pytestmark = pytest.mark.usefixtures("fake")


def settings(folder: Path | str) -> dict[str, Any]:
    return tomllib.loads((Path(folder) / "config.toml").read_text())


def status(folder: Path | str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((Path(folder) / "status.json").read_text())
    return loaded


def test_trains_into_a_new_numbered_folder(cli: Any) -> None:
    first, second = cli(*RUN), cli(*RUN)
    assert (first.code, first.out) == (0, "runs/fake-001\n")
    assert second.out == "runs/fake-002\n"
    assert status("runs/fake-001")["state"] == "finished"
    assert Path("runs/fake-001/checkpoints/step-000012").is_dir()


def test_says_what_is_trained_where_and_what_to_do_next(cli: Any) -> None:
    lines = cli(*RUN, "--device", "cpu", "--precision", "fp32", "--out", "my run").err.splitlines()
    assert lines[:5] == [
        "fake on cpu (asked for) in fp32 (asked for)",
        "G: 10 parameters",
        "D: 3 parameters",
        "data: 100 dots around (1, 1)",
        "folder: my run",
    ]
    assert lines[-4:] == [
        "finished at step 12 of 12",
        "samples: my run/samples/step-000012.png",
        "next: mmgan sample 'my run'",
        "      mmgan resume 'my run' --steps 24",
    ]
    # What is offered works.
    for line in lines[-2:]:
        assert cli(*shlex.split(line.partition("mmgan ")[2])).code == 0


def test_json(cli: Any) -> None:
    result = cli(*RUN, "--json", "--device", "cpu", "--precision", "bf16", "--seed", "3")
    assert result.code == 0
    document = json.loads(result.out)
    assert document.pop("seconds") > 0
    assert "D/adv" in document.pop("metrics")
    assert document == {
        "schema": 1,
        "folder": "runs/fake-001",
        "state": "finished",
        "step": 12,
        "device": "cpu",
        "precision": "bf16",
        "exit_code": 0,
        "samples": "runs/fake-001/samples/step-000012.png",
        "checkpoint": "runs/fake-001/checkpoints/step-000012",
    }


def test_json_without_samples(cli: Any) -> None:
    assert json.loads(cli(*RUN, "--json", "--set", "sample_every=0").out)["samples"] is None


def test_every_option_is_a_setting_of_the_run(cli: Any) -> None:
    options = {
        "data": "somewhere",
        "steps": 2,
        "batch_size": 3,
        "seed": 4,
        "device": "cpu",
        "precision": "fp32",
    }
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert cli(*RUN, *words, "--compile", "--set", "lr=0.5", "--set", "sample-every=1").code == 0
    expected = {**options, "plugin": "fake", "compile": True, "lr": 0.5, "sample_every": 1}
    assert settings("runs/fake-001").items() >= expected.items()


def test_tune_is_a_setting_too(cli: Any) -> None:
    assert cli(*RUN, "--tune").code == 0
    assert settings("runs/fake-001")["convolutions"] == {"mode": "tune"}
    assert cli(*RUN, "--set", "convolutions=library").code == 0, "as it was set before"
    assert settings("runs/fake-002")["convolutions"] == {"mode": "library"}
    twice = cli(*RUN, "--tune", "--set", "convolutions.mode=library")
    assert (twice.code, "convolutions is given twice: --tune and --set" in twice.err) == (2, True)


def test_verbose_tells_how_convolutions_are_computed(cli: Any) -> None:
    small = (
        "--plugin",
        "dcgan",
        "--steps",
        1,
        "--set",
        "width=2",
        "--batch-size",
        2,
        "--set",
        "sample_every=0",
    )
    told = cli("-v", "run", *small, "--tune").err
    assert "convolution forward 4x4/2x2+1x1 of 2x1x32x32 contiguous and 2x1x4x4" in told
    by_rule = cli("-v", "run", *small).err
    assert "convolution 2x1x4x4" in by_rule
    assert "forward: library; input: library; weight: library" in by_rule
    assert "convolution" not in cli("run", *small).err


@pytest.mark.parametrize(
    ("environment", "flags", "steps"),
    [("", [], 3), ("4", [], 4), ("4", ["--steps", "5"], 5), ("", ["--set", "steps=6"], 6)],
)
def test_file_then_environment_then_flags(
    cli: Any, monkeypatch: pytest.MonkeyPatch, environment: str, flags: list[str], steps: int
) -> None:
    Path("my.toml").write_text("steps = 3\nlr = 0.25\n")
    if environment:
        monkeypatch.setenv("MMGAN_STEPS", environment)
    assert cli(*RUN, "--config", "my.toml", *flags).code == 0
    assert settings("runs/fake-001")["steps"] == steps
    assert settings("runs/fake-001")["lr"] == 0.25


def test_a_config_file_may_name_the_plugin(cli: Any) -> None:
    Path("my.toml").write_text(cli("config", "fake").out + "steps = 3\n")
    assert cli("run", "--config", "my.toml").out == "runs/fake-001\n"
    assert settings("runs/fake-001")["steps"] == 3
    Path("my.toml").write_text("steps = 3")
    for command in ("run", "bench"):
        result = cli(command, "--config", "my.toml")
        assert (result.code, '--config FILE with plugin = "NAME"' in result.err) == (2, True)


def test_a_folder_whose_name_is_not_utf_8(cli: Any, tmp_path: Path) -> None:
    folder = tmp_path / "f\udcf6lder"
    folder.mkdir()
    for number in range(4):
        Image.new("L", (8, 8), 60 * number).save(folder / f"{number}\udcff.png")
    small = (
        "--plugin",
        "gan",
        "--steps",
        "1",
        "--batch-size",
        "2",
        "--set",
        "width=2",
        "--set",
        "sample_every=0",
    )
    assert cli("run", *small, "--data", folder, "--out", "it").code == 0
    assert settings("it")["data"] == f"bytes:{tmp_path}/f%F6lder"
    assert cli("resume", "it", "--steps", "2").code == 0

    result = cli("run", *small, "--data", folder, "--out", "n\udcf6")
    assert (result.code, "'n\\udcf6' is not UTF-8" in result.err) == (2, True)


def test_a_path_to_data_becomes_absolute_and_a_name_stays(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("pictures", "digits", "folder"):
        Path(name).mkdir()
    paths = {
        "pictures": str(tmp_path / "pictures"),
        "./site/../pictures": str(tmp_path / "pictures"),
        "~/pictures": str(tmp_path / "pictures"),
        "folder": str(tmp_path / "folder"),
        "digits": "digits",
        "torchvision:MNIST": "torchvision:MNIST",
        "": "",
    }
    for number, (given, kept) in enumerate(paths.items(), start=1):
        assert cli(*RUN, "--steps", "1", "--data", given).code == 0
        assert settings(f"runs/fake-{number:03d}")["data"] == kept
    assert cli(*RUN, "--steps", "1", "--set", "data=pictures", "--out", "set").code == 0
    assert settings("set")["data"] == str(tmp_path / "pictures")


def test_out_may_be_empty_or_new_and_in_the_home_folder(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("empty").mkdir()
    assert cli(*RUN, "--steps", "1", "--out", "empty").code == 0
    assert cli(*RUN, "--steps", "1", "--out=~/a/b").out == f"{tmp_path}/a/b\n"

    result = cli(*RUN, "--steps", "1", "--out", "empty")
    assert (result.code, result.out) == (2, "")
    assert "mmgan resume" in result.err


@pytest.mark.parametrize(
    ("args", "code", "messages"),
    [
        (["run"], 2, ["--plugin NAME", "Installed: ", "fake"]),
        (["run", "fake"], 2, ["'fake'", "mmgan run --plugin NAME --data PATH"]),
        (["run", "--plugin", "fak"], 3, ["no plugin 'fak'", "Did you mean 'fake'?"]),
        ([*RUN, "--set", "stepz=5"], 2, ["no setting 'stepz'", "Did you mean 'steps'?", "mmgan config fake"]),
        ([*RUN, "--set", "steps"], 2, ["key=value", "'steps'"]),
        ([*RUN, "--set", "fault=odd"], 2, ["fault", "'odd'", "'bug'"]),
        ([*RUN, "--set", "steps=3", "--steps", "4"], 2, ["steps is given twice: --steps and --set"]),
        ([*RUN, "--set", "plugin=gan"], 2, ["plugin is given twice"]),
        ([*RUN, "--steps", "0"], 2, ["steps", "greater than or equal to 1"]),
        ([*RUN, "--config", "absent.toml"], 2, ["'absent.toml'", "No such file"]),
        ([*RUN, "--config", "bad.toml"], 2, ["'bad.toml' is not TOML"]),
        ([*RUN, "--config", ""], 2, ["'--config'", "It is empty"]),
        ([*RUN, "--out", ""], 2, ["'--out'", "It is empty"]),
        (["run", "--plugin", "FAKE"], 3, ["Did you mean 'fake'?"]),
        ([*RUN, "--steps", "9" * 5000], 2, ["'--steps'", "… (5,0"]),
        ([*RUN, "--device", "tpu"], 2, ["'tpu'", "Allowed: auto, cpu"]),
        ([*RUN, "--precision", "int4"], 2, ["'int4'", "Allowed: auto, fp32"]),
        ([*RUN, "--set", "fault=no-data"], 4, ["There is no data.", "hint: Bring some."]),
    ],
)
def test_what_is_wrong_is_named_and_leaves_no_folder(
    cli: Any, args: list[str], code: int, messages: list[str]
) -> None:
    Path("bad.toml").write_text("steps: 3")
    result = cli(*args)
    assert (result.code, result.out) == (code, "")
    for message in messages:
        assert message in result.err
    assert not Path("runs").exists()


def test_a_failed_run_keeps_its_folder(cli: Any) -> None:
    assert cli(*RUN, "--set", "fault=nan").code == 6
    assert status("runs/fake-001")["state"] == "failed"
    assert status("runs/fake-001")["exit_code"] == 6


def test_numbers_go_on_from_the_highest_and_are_never_shared(tmp_path: Path) -> None:
    (tmp_path / "x-007").mkdir()
    (tmp_path / "x-note").mkdir()
    (tmp_path / "other-100").mkdir()
    taken: list[Path] = []

    def take() -> None:
        with folders.numbered(tmp_path, "x-") as folder:
            taken.append(folder)

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(folder.name for folder in taken) == [f"x-{number:03d}" for number in range(8, 24)]


def test_preparation_shows_a_bar_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (False, True):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr("sys.stderr", stream)
        with training.preparing() as progress:
            for done in range(4):
                progress(done, 3)
        assert ("preparing data" in stream.getvalue()) is terminal


# --- resume ---


def test_resume_makes_a_run_longer_and_keeps_the_new_length(cli: Any, trained: Path) -> None:
    before = settings(trained)
    result = cli("resume", trained, "--steps", "15")
    assert (result.code, result.out) == (0, "trained\n")
    assert settings(trained) == {**before, "steps": 15}
    assert (status(trained)["state"], status(trained)["step"]) == ("finished", 15)


def test_resume_with_json(cli: Any, trained: Path) -> None:
    document = json.loads(cli("resume", trained, "--steps", "13", "--json").out)
    assert (document["schema"], document["step"], document["state"]) == (1, 13, "finished")
    assert document["checkpoint"] == "trained/checkpoints/step-000013"


def test_a_failed_run_resumes_from_its_last_checkpoint(cli: Any) -> None:
    call = (*RUN, "--set", "fault=bug", "--set", "checkpoint_every=1", "--out", "failed")
    assert cli(*call).code == 3
    toml = Path("failed/config.toml")
    mended = "# by hand\n" + toml.read_text().replace('"bug"', '"none"')
    toml.write_text(mended)
    assert cli("resume", "failed").code == 0
    assert toml.read_text() == mended
    assert status("failed")["step"] == 12


@pytest.mark.parametrize("steps", [[], ["--steps", "12"], ["--steps", "5"]])
def test_resume_of_a_finished_run_says_what_would_train_on(cli: Any, trained: Path, steps: list[str]) -> None:
    before = settings(trained)
    result = cli("resume", trained, *steps)
    assert (result.code, result.out) == (2, "")
    assert "12 steps" in result.err
    assert "hint: To train on: mmgan resume trained --steps 24" in result.err
    assert settings(trained) == before


def test_resume_of_no_run(cli: Any) -> None:
    result = cli("resume", "absent")
    assert (result.code, result.out) == (5, "")
    assert "'absent' is not a run's folder" in result.err


def test_resume_of_a_folder_in_use_changes_nothing(cli: Any, trained: Path) -> None:
    from mmgan.storage.lock import FolderLock

    before = settings(trained)
    lock = FolderLock(trained)
    try:
        result = cli("resume", trained, "--steps", "20")
    finally:
        lock.release()
    assert (result.code, result.out) == (2, "")
    assert "is training in the folder" in result.err
    assert settings(trained) == before
    assert status(trained)["state"] == "finished"
