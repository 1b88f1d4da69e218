"""What ``benchmarks/precision_mnist.py`` makes of rows, what it leaves out, and a tiny case of all of it."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import dcgan_mnist
import judge
import precision_mnist
from precision_mnist import Row, ascending, comparable, main, spread, table


def row(precision: str, seed: int, steps: int, distance: float) -> Row:
    distances = {"distance": distance, "distance_ema": distance / 2}
    return {"precision": precision, "seed": seed, "steps": steps, **distances}


#: The seeds come in any order, and the last one of bf16 was stopped at its first mark.
ROWS = [
    *(row("fp32", 1, steps, distance) for steps, distance in ((1000, 500), (2000, 90))),
    *(row("fp32", 0, steps, distance) for steps, distance in ((1000, 900), (2000, 80))),
    *(row("fp32", 2, steps, distance) for steps, distance in ((1000, 600), (2000, 100))),
    *(row("bf16", 0, steps, distance) for steps, distance in ((1000, 800), (2000, 60))),
    row("bf16", 1, 1000, 400),
]


def test_median_and_range_at_each_mark() -> None:
    assert spread(ROWS, "fp32", "distance") == {1000: (600, 500, 900), 2000: (90, 80, 100)}
    assert spread(ROWS, "bf16", "distance_ema") == {1000: (300, 200, 400), 2000: (30, 30, 30)}


def test_seconds_are_steps_times_milliseconds() -> None:
    head, _, first, second = table(ROWS, {"fp32": 40.0, "bf16": 25.0}).splitlines()
    assert head == (
        "| steps | fp32: seconds | bf16: seconds | fp32: G | bf16: G | fp32: average | bf16: average |"
    )
    assert first == (
        "| 1,000 | 40 | 25 | 600 (500 to 900) | 600 (400 to 800) | 300 (250 to 450) | 300 (200 to 400) |"
    )
    assert second.startswith("| 2,000 | 80 | 50 | 90 (80 to 100) | 60 (60 to 60) |")


def test_marks_that_some_run_has_not_reached_are_left_out() -> None:
    assert {row["steps"] for row in comparable(ROWS)} == {1000}
    whole = [*ROWS, row("bf16", 1, 2000, 70)]
    assert comparable(whole) == whole


def test_without_times_there_are_no_seconds() -> None:
    assert table(ROWS, {}).splitlines()[0].startswith("| steps | fp32: G | bf16: G |")


@pytest.mark.parametrize(("step_ms", "width"), [({}, 450), ({"fp32": 40.0, "bf16": 25.0}, 900)])
def test_the_picture_has_a_panel_for_seconds_where_they_are_known(
    step_ms: dict[str, float], width: int, tmp_path: Path
) -> None:
    precision_mnist.plot(ROWS, step_ms, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (width, 360)


def test_marks_are_ascending() -> None:
    assert ascending("250,500") == [250, 500]
    for wrong in ("500,250", "0,1", "5,5"):
        with pytest.raises(ArgumentTypeError, match="ascending steps"):
            ascending(wrong)


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="train first"):
        main(["report", "--json", str(tmp_path / "none.json")])


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Train tiny networks on the embedded digits, by a judge that learned nothing; return its file."""
    for name, value in (("data", "digits"), ("width", 2), ("batch_size", 4)):
        monkeypatch.setitem(precision_mnist.SETTINGS, name, value)
    monkeypatch.setattr(precision_mnist, "SEEDS", (0, 1))
    # As few pictures as the distance of 128 features takes.
    monkeypatch.setattr(dcgan_mnist, "JUDGED", 129)
    pictures = torch.rand(129, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    monkeypatch.setattr(judge, "mnist", lambda root, train: (pictures, torch.zeros(129)))
    torch.manual_seed(0)
    torch.save(judge.Classifier().state_dict(), tmp_path / "judge.pt")
    return tmp_path / "judge.pt"


@pytest.mark.slow
def test_a_tiny_case_from_training_to_the_table(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, picture = tmp_path / "results" / "rows.json", tmp_path / "a.png"
    common = ["--json", str(file), "--root", str(tmp_path)]
    train = ["train", *common, "--judge", str(tiny), "--marks"]
    main([*train, "1,2"])
    rows = precision_mnist.read(file)["rows"]
    assert [(row["precision"], row["seed"], row["steps"]) for row in rows] == [
        (precision, seed, steps) for seed in (0, 1) for precision in ("fp32", "bf16") for steps in (1, 2)
    ]
    assert all(row["distance"] > 0 and row["distance_ema"] > 0 for row in rows)
    assert str(tmp_path) not in file.read_text()

    # Of what is there, the run that lacks its last mark is made again, with the same result, and no other.
    file.write_text(json.dumps(precision_mnist.read(file) | {"rows": rows[:-1]}))
    capsys.readouterr()
    main([*train, "1,2"])
    assert precision_mnist.read(file)["rows"] == rows
    assert capsys.readouterr().err.count("is there") == 3

    main(["time", *common, "--rounds", "2", "--stretch", "1"])
    times = precision_mnist.read(file)["time"]
    assert {precision: len(rounds) for precision, rounds in times["rounds"].items()} == {"fp32": 2, "bf16": 2}
    assert times["step_ms"]["fp32"] == pytest.approx(sum(times["rounds"]["fp32"]) / 2)
    assert precision_mnist.read(file)["rows"] == rows

    capsys.readouterr()
    main(["report", "--json", str(file), "--plot", str(picture)])
    assert capsys.readouterr().out.strip() == table(rows, times["step_ms"])
    assert picture.exists()


def test_two_judges_are_not_mixed(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps({"rows": ROWS, "judge": "another"}))
    with pytest.raises(SystemExit, match="another judge"):
        main(["train", "--json", str(file), "--root", str(tmp_path), "--judge", str(tiny)])
    assert precision_mnist.read(file)["rows"] == ROWS
