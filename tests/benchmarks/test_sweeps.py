"""The sweeps of ``benchmarks/sweeps.py``: their points, what is made of figures, and one real measurement."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import sweeps


def made_up(settings: sweeps.Settings, rounds: int = 3, folder: Path | None = None) -> dict[str, Any]:
    """What a machine would say that takes 1 ms for an update, 1 ms for each 10**9 operations, and no more."""
    flops = 1e9 * settings["batch_size"] * (settings["width"] / 32) ** 2 * (settings["size"] / 32) ** 2
    networks = flops / 1e12 / settings["threads"]
    seconds = networks + 1e-3
    parts = {("data", None): 0.0, ("forward", None): networks / 4, ("loss", "D"): networks / 4}
    parts |= {("backward", "D"): networks / 2, ("optimizer", "D"): 6e-4, ("average", "G"): 1e-4}
    parts |= {("hooks", None): 2e-4, ("rest", None): 1e-4}
    return {
        "seconds_per_step": {"median": seconds, "lower_quartile": seconds, "upper_quartile": seconds},
        "samples_per_s": settings["batch_size"] / seconds,
        "split": {
            "seconds_per_step": seconds,
            "parts": [{"part": part, "phase": phase, "seconds": s} for (part, phase), s in parts.items()],
        },
        "memory": {"gpu_peak_bytes": None, "process_peak_bytes": 2**30},
        "operations": {
            "flops_per_step": flops,
            "ceiling": {"flops_per_s": 1e12 * settings["threads"] * (1 + settings["batch_size"] / 128)},
        },
        "environment": {
            "date": "2030-01-02T03:04:05+00:00", "cpu": "abacus", "torch": "9", "mmgan": "1",
            "threads": settings["threads"], "precision": settings["precision"], "batch_size": 1,
        },
    }  # fmt: skip


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure nothing, on a machine with four processors."""
    monkeypatch.setattr(sweeps, "bench", made_up)
    monkeypatch.setattr(sweeps, "PICTURES", 2)
    monkeypatch.setitem(sweeps.BASE, "threads", 4)
    monkeypatch.setitem(sweeps.SWEEPS, "threads", sweeps.Sweep("threads", (1, 2, 4)))


def test_processors_are_doubled_up_to_all_of_them() -> None:
    assert [sweeps.thread_counts(cpus) for cpus in (1, 2, 6, 8)] == [(1,), (1, 2), (1, 2, 4, 6), (1, 2, 4, 8)]


@pytest.mark.parametrize("name", sweeps.SWEEPS)
def test_only_one_setting_changes_in_a_sweep(name: str) -> None:
    found, sweep = sweeps.points(name), sweeps.SWEEPS[name]
    assert tuple(settings[name] for settings in found) == sweep.values
    for settings in found:
        assert settings | {name: None} == sweeps.BASE | sweep.changes | {name: None}


@pytest.mark.parametrize("name", ["batch_size", "width", "size", "precision"])
def test_the_base_is_in_every_sweep_that_changes_nothing_else(name: str) -> None:
    assert sweeps.BASE in sweeps.points(name)


@pytest.mark.usefixtures("fast")
def test_figures_of_a_point() -> None:
    results = sweeps.measure(["batch_size"], rounds=3)
    assert results["environment"] == {
        "date": "2030-01-02T03:04:05+00:00", "cpu": "abacus", "torch": "9", "mmgan": "1"
    }  # fmt: skip
    assert (results["base"], results["rounds"]) == (sweeps.BASE, 3)
    (found,) = results["sweeps"].values()
    assert [point["value"] for point in found] == [8, 16, 32, 64, 128]
    point = found[0]
    assert point["seconds_per_step"] == pytest.approx(3e-3)
    assert point["samples_per_s"] == pytest.approx(8 / 3e-3)
    assert (point["flops_per_step"], point["data_share"], point["peak_bytes"]) == (8e9, 0.0, 2**30)
    assert point["parts"] == pytest.approx({"networks": 2e-3, "updates": 7e-4, "data": 0.0, "engine": 3e-4})
    assert {point["ceiling_flops_per_s"] for point in found} == {8e12}, "the highest that was met"
    assert point["fraction"] == pytest.approx(8e9 / 3e-3 / 8e12)


@pytest.mark.usefixtures("fast")
def test_the_line_goes_through_the_most_work() -> None:
    found = sweeps.measure(["batch_size"], rounds=3)["sweeps"]["batch_size"]
    assert sweeps.reference("batch_size", found)["value"] == 128
    assert sweeps.line("batch_size", found) == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
    more = sweeps.above("batch_size", found)
    assert more[0] == pytest.approx(
        {"networks": 0.0, "updates": 7e-4 * 15 / 16, "data": 0.0, "engine": 3e-4 * 15 / 16}
    )
    assert set(more[-1].values()) == {0.0}


@pytest.mark.usefixtures("fast")
def test_threads_share_the_work() -> None:
    found = sweeps.measure(["threads"], rounds=3)["sweeps"]["threads"]
    assert sweeps.reference("threads", found)["value"] == 1
    assert sweeps.line("threads", found) == [1, 1 / 2, 1 / 4]
    # Updates and the engine are as slow as with one thread: 3/4 of their time is above the line.
    assert sweeps.above("threads", found)[-1] == pytest.approx(
        {"networks": 0.0, "updates": 7e-4 * 3 / 4, "data": 0.0, "engine": 3e-4 * 3 / 4}
    )


@pytest.mark.usefixtures("fast")
def test_rows_of_the_table() -> None:
    results = sweeps.measure(["batch_size"], rounds=3)
    head, _, first, *_, last = sweeps.table("batch_size", results["sweeps"]["batch_size"]).splitlines()
    assert head.startswith("| batch size | ms a step | samples/s | GFLOP a step | of ceiling | x line |")
    assert first == (
        "| 8 | 3.0 | 2667 | 8 | 33.3% | 1.45 | 2.0 (+0.0) | 0.7 (+0.7) | 0.0 (+0.0) | 0.3 (+0.3) | 1,024 |"
    )
    assert last.startswith("| 128 | 33.0 | 3879 | 128 | 48.5% | 1.00 | 32.0 (+0.0) |")


@pytest.mark.slow
@pytest.mark.usefixtures("fast")
def test_all_sweeps_are_measured_written_drawn_and_drawn_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, picture, again = tmp_path / "new" / "a.json", tmp_path / "a.png", tmp_path / "b.png"
    sweeps.main(["--json", str(file), "--plot", str(picture)])
    said = capsys.readouterr()
    assert "2030-01-02, abacus, torch 9, mmgan 1" in said.out
    assert "The base, measured 5 times: 9.0 to 9.0 ms." in said.out
    assert "add up to 1.00 to 1.00 times the step" in said.out
    assert said.out.count("ms a step") == len(sweeps.SWEEPS)
    assert "precision = bf16" in said.err
    assert list(json.loads(file.read_text())["sweeps"]) == list(sweeps.SWEEPS)
    assert str(tmp_path) not in file.read_text()
    sweeps.main(["--from", str(file), "--plot", str(again)])
    assert capsys.readouterr().out == said.out
    with Image.open(picture) as first, Image.open(again) as second:
        assert first.size == second.size == (1200, 640)


@pytest.mark.usefixtures("fast")
def test_one_sweep_with_so_many_rounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[Any, int]] = []

    def bench(settings: sweeps.Settings, rounds: int, folder: Path) -> dict[str, Any]:
        asked.append((settings["size"], rounds))
        return made_up(settings)

    monkeypatch.setattr(sweeps, "bench", bench)
    sweeps.main(["--sweep", "size", "--rounds", "2", "--plot", str(tmp_path / "a.png")])
    assert asked == [(32, 2), (64, 2), (128, 2)]


@pytest.mark.slow
def test_a_real_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "PICTURES", 4)
    sweeps.make_pictures(tmp_path / "pictures")
    tiny = {
        "batch_size": 2,
        "width": 2,
        "threads": 1,
        "flip": True,
        "data": sweeps.FOLDER,
        "precision": "bf16",
    }
    result = sweeps.bench(sweeps.BASE | tiny, 1, tmp_path)
    where = result["environment"]
    assert (where["threads"], where["precision"], where["batch_size"]) == (1, "bf16", 2)
    point = sweeps.summarize(2, result)
    assert sum(point["parts"].values()) == pytest.approx(result["split"]["seconds_per_step"])
    assert point["parts"]["data"] > 0


@pytest.mark.slow
def test_a_point_that_fails_ends_all(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        sweeps.bench(sweeps.BASE | {"precision": "fp1"}, 1, tmp_path)
    assert ended.value.code not in (0, None)
