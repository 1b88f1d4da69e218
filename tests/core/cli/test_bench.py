"""``mmgan bench``, from the call to what it prints."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from mmgan.bench import machine, timing
from mmgan.cli import bench

BENCH = ("bench", "--plugin", "fake", "--device", "cpu", "--precision", "fp32")
pytestmark = pytest.mark.usefixtures("fake")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds and matrices so small that their figures mean nothing; and memory that is given back."""
    monkeypatch.setattr(timing, "SECONDS", 0.003)
    monkeypatch.setattr(machine, "SIZES", (32,))
    monkeypatch.setattr(machine, "_BUDGET", 0.001)
    monkeypatch.setattr(bench, "keep_freed_memory", lambda: True)


def test_a_table_on_stdout_and_talk_on_stderr(cli: Any) -> None:
    result = cli(*BENCH, "--rounds", 2)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].startswith("fake ")
    assert "stage train" in lines[0]
    assert "batch 8, fp32, contiguous; fake 1.0, mmgan " in lines[0]
    names = [line.split("  ")[0] or line.strip().split("  ")[0] for line in lines]
    assert names == [
        "fake", "machine", "step", "steps/s", "samples/s", "memory", "operations", "split",
        "data", "forward", "D loss", "D backward", "D optimizer", "G loss", "G backward", "G optimizer",
        "hooks", "rest",
    ]  # fmt: skip
    assert "median of 2; quartiles " in lines[2]
    assert result.err.splitlines()[0] == "stage train, phases D, G: warming up"
    assert "2 rounds of " in result.err
    assert {path.name for path in Path().iterdir()} <= {"site", "cache"}


def test_kinds_of_steps_have_a_line_each(cli: Any, install: Any) -> None:
    source = """
from mmgan import Phase, Stage, hookimpl
from fakeplugin.task import Fake

class Lazy(Fake):
    stages = (Stage("train", (Phase("D", "D", every=4), Phase("G", "G", every=2))),)

@hookimpl
def register_tasks(register):
    register("lazy", Lazy)
"""
    install("lazyplugin", source)
    out = cli("bench", "--plugin", "lazy", "--rounds", 1).out.splitlines()
    kinds = [line.split("  ")[1].strip() for line in out if line.endswith("of the steps")]
    assert kinds == ["D, G", "no phase", "G"]
    assert "25.000% of the steps" in "\n".join(out)


def test_json(cli: Any) -> None:
    result = cli(*BENCH, "--rounds", 2, "--json")
    assert result.code == 0
    document = json.loads(result.out)
    assert list(document) == [
        "schema", "plugin", "stage", "seconds_per_step", "steps_per_s", "samples_per_s", "rounds", "kinds",
        "split", "memory", "operations", "environment",
    ]  # fmt: skip
    assert document["schema"] == 1
    assert len(document["rounds"]) == 2
    assert document["environment"]["plugin"] == {"name": "fake", "version": "1.0"}


def test_every_option_is_a_setting_of_the_run(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def measure(run: Any, **options: Any) -> Any:
        options.pop("tell")
        seen.update(config=run.config, folder=run.folder, options=options)
        return {}

    monkeypatch.setattr("mmgan.bench.measure", measure)
    Path("my.toml").write_text("lr = 0.25\nseed = 5\n")
    options = {"data": "somewhere", "batch_size": 3, "device": "cpu", "precision": "bf16"}
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    more = ("--compile", "--config", "my.toml", "--set", "seed=6", "--stage", "train", "--warmup", 0)
    assert cli("bench", "--plugin", "fake", *words, *more, "--rounds", 4, "--json").code == 0
    expected = {**options, "compile": True, "lr": 0.25, "seed": 6}
    assert seen["config"].model_dump().items() >= expected.items()
    assert seen["folder"] is None
    assert seen["options"] == {"stage": "train", "warmup": 0, "rounds": 4}


def test_memory_is_kept_as_in_training(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(bench, "keep_freed_memory", lambda: calls.append(1))
    assert cli(*BENCH, "--rounds", 1, "--warmup", 0).code == 0
    assert calls == [1]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ((), 2, "mmgan bench needs --plugin NAME"),
        (("--plugin", "fakes"), 3, "'fakes'"),
        (("--plugin", "fake", "--stage", "trian"), 2, "fake has no stage 'trian'. Did you mean 'train'?"),
        (("--plugin", "fake", "--rounds", "0"), 2, "0 is not in the range"),
        (("--plugin", "fake", "--warmup", "-1"), 2, "-1 is not in the range"),
        (("--plugin", "fake", "--batch-size", "2", "--set", "batch_size=3"), 2, "given twice"),
        (("--plugin", "fake", "--set", "fault=no-data"), 4, "There is no data."),
        (("--plugin", "fake", "--set", "fault=nan"), 6, "step 3"),
    ],
)
def test_errors(cli: Any, args: tuple[str, ...], code: int, message: str) -> None:
    result = cli("bench", *args)
    assert (result.code, result.out) == (code, "")
    assert message in result.err


@pytest.mark.process
@pytest.mark.slow
def test_ctrl_c_prints_no_half_table(cli: Any) -> None:
    process = cli.start(
        *BENCH, "--rounds", 500, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    for line in process.stderr:
        if "500 rounds of" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "error: Interrupted."


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.3456, "12.35 s"), (1.0, "1 s"), (0.0123, "12.3 ms"), (4.2e-6, "4.2 us")]
)
def test_durations(seconds: float, text: str) -> None:
    assert bench.duration(seconds) == text


def test_what_other_machines_say() -> None:
    on_gpu = {"gpu_peak_bytes": 2**30, "process_peak_bytes": 1, "process_peak_growth_bytes": 1}
    assert bench._memory(on_gpu) == ("1,024 MiB", "of the GPU at most")
    assert bench._memory(dict.fromkeys(on_gpu))[0] == "unknown"
    where = {"gpu": "Some GPU", "cpu": "Some CPU", "threads": 1, "cpu_features": []}
    assert bench._machine(where) == "Some GPU, Some CPU, 1 thread"
