"""The studies: a tiny case of each, going on where one was stopped, and their tables."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from stacking import write_mnist

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "studies"))

import conditional_mnist
import drums
import emoji64
import few_pictures
import judge
import mnist32
import ring_grid
import stacked_mnist
import study
from study import Row, Study, markdown, mean

from mmgan.config import check
from mmgan.data.image.stacked import StackedDigits
from mmgan.metrics import digits
from mmgan.plugins import Plugins

Capture = pytest.CaptureFixture[str]


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def cells(table: str, name: str) -> list[str]:
    """Return the cells of a row of a table in Markdown, without its name."""
    row = next(line for line in table.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


# What they share.


def test_means_have_standard_errors() -> None:
    assert mean([]) == ""
    assert mean([0.5]) == "0.50"
    assert mean([7, 8, 8, 9], 1) == "8.0 ± 0.4"  # √(2/3) / √4
    assert mean([1200.0], 0) == "1,200"


def test_a_table_in_markdown() -> None:
    assert markdown(["", "a"], [["x", "1"]]) == "|  | a |\n| --- | --- |\n| x | 1 |"


def test_names_of_folders() -> None:
    assert Row("dcgan, rpgan + r1r2", {}).slug == "dcgan-rpgan-r1r2"


def test_a_torn_result_is_none(tmp_path: Path) -> None:
    first = Study(tmp_path / "out")
    first.add({"row": "a", "seed": 0})
    with (tmp_path / "out" / "results.jsonl").open("a") as file:
        file.write('{"row": "b", "se')
    again = Study(tmp_path / "out")
    assert again.lines == [{"row": "a", "seed": 0}]
    again.add({"row": "b", "seed": 1})
    assert Study(tmp_path / "out").has(row="b", seed=1)
    assert not again.has(row="b", seed=0)


STUDIES = (ring_grid, stacked_mnist, mnist32, few_pictures, emoji64, drums)


@pytest.mark.parametrize(
    ("module", "row"),
    [pytest.param(m, row, id=f"{m.__name__}: {row.slug}") for m in STUDIES for row in m.ROWS],
)
def test_the_settings_of_every_row_are_allowed(module: Any, row: Row) -> None:
    plugins = Plugins()
    settings = module.BASE | row.settings
    check(plugins.task(settings["plugin"]).Config, settings)


@pytest.mark.parametrize("module", STUDIES)
def test_rows_have_folders_of_their_own(module: Any) -> None:
    assert len({row.slug for row in module.ROWS}) == len(module.ROWS)


# Ring and grid.

TINY_RING = ["--rows", "gan", "--data", "ring", "--seeds", "2", "--steps", "30"]


def test_ring_and_its_table(tmp_path: Path, capsys: Capture) -> None:
    arguments = [*TINY_RING, "--out", str(tmp_path)]
    ring_grid.main(arguments)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told == lines(tmp_path)
    assert [(line["row"], line["data"], line["seed"], line["steps"]) for line in told] == [
        ("GAN", "ring", 0, 30),
        ("GAN", "ring", 1, 30),
    ]
    assert told[0]["reverse_kl"] != told[1]["reverse_kl"]
    # All is done.
    ring_grid.main(arguments)
    assert capsys.readouterr().out == ""
    ring_grid.main([*arguments, "--table"])
    table = capsys.readouterr().out
    modes = cells(table, "GAN")[0]
    assert modes == mean([line["modes"] for line in told], 1)
    assert cells(table, "GAN")[-2] == "2 and 0"
    assert cells(table, "PacGAN4 (published)")[3] == "24.8 ± 0.2"
    assert "RpGAN + R1 + R2" not in table  # not run


def test_a_study_that_was_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    whole = ["--rows", "gan", "--data", "ring", "--seeds", "1", "--steps", "100"]
    ring_grid.main([*whole, "--out", str(tmp_path / "once")])
    stopped = ["--out", str(tmp_path / "stopped"), "--minutes"]
    ring_grid.main([*whole, *stopped, "0"])
    assert not (tmp_path / "stopped").exists()
    # A second goes by whenever the clock is looked at, which is once a step.
    monkeypatch.setattr(study, "monotonic", iter(range(10**6)).__next__)
    ring_grid.main([*whole, *stopped, "1"])
    assert "the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "stopped" / "results.jsonl").exists()
    (saved,) = (tmp_path / "stopped").glob("ring-gan-0/checkpoints/step-*")
    assert 50 < int(saved.name.removeprefix("step-")) < 60
    ring_grid.main([*whole, *stopped, "1"])
    found = lines(tmp_path / "stopped"), lines(tmp_path / "once")
    for (line,) in found:
        assert line.pop("seconds") > 0
    # As if it had not been stopped.
    assert found[0] == found[1]


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(tmp_path: Path) -> None:
    folder = tmp_path / "ring-gan-0"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("torn")
    ring_grid.main([*TINY_RING, "--out", str(tmp_path)])
    assert len(lines(tmp_path)) == 2


# Stacked MNIST.


@pytest.mark.slow
def test_stacked_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    write_mnist(tmp_path / "data")
    monkeypatch.setattr(StackedDigits, "SIZE", 400)
    monkeypatch.setattr(digits, "EPOCHS", 1)
    arguments = ["--mnist", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--seeds", "1"]
    sizes = ["--steps", "2", "--width", "2", "--samples", "300"]
    stacked_mnist.main([*arguments, *sizes, "--rows", "dcgan"])
    real, dcgan = lines(tmp_path / "out")
    assert real["row"] == "real pictures"
    assert real["modes"] > 150 > dcgan["modes"] >= 1
    assert real["mode_kl"] < dcgan["mode_kl"]
    capsys.readouterr()
    stacked_mnist.main([*arguments, "--table"])
    table = capsys.readouterr().out
    assert cells(table, "DCGAN")[:2] == [f"{dcgan['modes']:.1f}", f"{dcgan['modes']:.0f}"]
    assert cells(table, "PacDCGAN2 (published)")[2] == "0.06"


def test_the_ablation_differs_in_loss_and_penalty_alone() -> None:
    ablation = {
        row.name: row.settings
        for row in stacked_mnist.ROWS
        if row.settings["plugin"] == "dcgan" and row.name != "DCGAN"
    }
    assert len(ablation) == 4
    rest = [{**settings, "loss": "", "penalty": ""} for settings in ablation.values()]
    assert all(settings == rest[0] for settings in rest)
    games = {(settings["loss"], settings["penalty"]) for settings in ablation.values()}
    assert games == {(loss, penalty) for loss in ("rpgan", "nonsaturating") for penalty in ("r1", "r1r2")}


# MNIST at 32 pixels.


@pytest.fixture
def few_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the arguments for a judge that learned nothing, and MNIST of 129 random pictures."""
    pictures = torch.rand(129, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for module in (judge, mnist32):
        monkeypatch.setattr(module, "mnist", lambda root, train: (pictures, torch.arange(129) % 10))
    for name, value in (("EACH", 20), ("JUDGED", 129), ("TAUGHT", 129)):
        monkeypatch.setattr(conditional_mnist, name, value)
    monkeypatch.setattr(mnist32, "JUDGED", 129)
    monkeypatch.setattr(mnist32, "BASE", mnist32.BASE | {"data": "digits"})
    torch.manual_seed(0)
    torch.save(judge.Classifier().state_dict(), tmp_path / "judge.pt")
    tiny = [Row("dcgan, the paper's", {"plugin": "dcgan", "width": 2, "batch_size": 4})]
    monkeypatch.setattr(mnist32, "ROWS", tiny)
    return ["--judge", str(tmp_path / "judge.pt"), "--seeds", "1"]


@pytest.mark.slow
def test_mnist_at_marks_of_time(few_digits: list[str], tmp_path: Path, capsys: Capture) -> None:
    arguments = [*few_digits, "--out", str(tmp_path / "out")]
    mnist32.main([*arguments, "--marks", "0.3", "0.6"])
    real, first, second = lines(tmp_path / "out")
    assert real["row"] == "real pictures"
    assert real["distance"] == pytest.approx(0, abs=0.01)
    assert 0.3 <= first["seconds"] < second["seconds"]
    assert first["steps"] < second["steps"]
    assert 0 <= first["clear"] <= 1
    capsys.readouterr()
    mnist32.main([*arguments, "--table", "--plot", str(tmp_path / "plot.png")])
    table = capsys.readouterr().out
    assert cells(table, "dcgan, the paper's")[0].startswith(f"{first['distance']:.1f}, ")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    # A later mark goes on with the run.
    mnist32.main([*arguments, "--marks", "0.9"])
    assert lines(tmp_path / "out")[-1]["steps"] > second["steps"]


@pytest.mark.slow
def test_mnist_with_classes(few_digits: list[str], tmp_path: Path, capsys: Capture) -> None:
    arguments = [*few_digits, "--out", str(tmp_path / "out"), "--conditional"]
    mnist32.main([*arguments, "--marks", "0.3"])
    line = lines(tmp_path / "out")[-1]
    assert set(line["per_class"]) == set("0123456789")
    assert 0 <= line["accuracy_score"] < 0.6
    capsys.readouterr()
    mnist32.main([*arguments, "--table"])
    classes = capsys.readouterr().out.split("\n\n")[1]
    assert cells(classes, "dcgan, the paper's")[1] == f"{100 * line['agreement']:.1f}"


# Races: all rows for equally long.


@pytest.mark.slow
@pytest.mark.parametrize("module", [few_pictures, emoji64])
def test_races_of_pictures(
    module: Any, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    tiny = {"width": 2, "batch_size": 4, "features": "pixels", "plugin": "dcgan"}
    monkeypatch.setattr(module, "BASE", module.BASE | tiny)
    monkeypatch.setattr(module, "COLUMNS", {"kernel": ("kernel_pixels", 3)})
    first, *_, last = (row.settings for row in module.ROWS)
    rows = [Row("first", {**first, **tiny}), Row("last", {**last, **tiny, "preset": ""})]
    for row in rows:
        row.settings.pop("preset", None)
    monkeypatch.setattr(module, "ROWS", rows)
    data = shared_data / "emoji" / "google" / "smileys-emotion"
    arguments = ["--out", str(tmp_path), "--minutes-each", "0.005"]
    module.main([*arguments, "--data", str(data)])
    found = lines(tmp_path)
    assert [line["row"] for line in found] == ["first", "last"]
    assert all(line["seconds"] >= 0.3 and line["steps"] > 0 for line in found)
    assert len(list(tmp_path.glob("*.png"))) == 2
    capsys.readouterr()
    module.main([*arguments, "--table"])
    table = capsys.readouterr().out
    assert cells(table, "last")[0] == f"{found[1]['kernel_pixels']:.3f}"


@pytest.mark.slow
def test_a_race_of_sounds(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(drums, "BASE", drums.BASE | {"dim": 2, "batch_size": 4})
    monkeypatch.setattr(drums, "ROWS", [Row("WGAN-GP", drums.WGAN_GP | {"critic_steps": 1})])
    kit = shared_data / "drums" / "audiophob"
    arguments = ["--out", str(tmp_path), "--minutes-each", "0.005"]
    drums.main([*arguments, "--data", str(kit)])
    assert lines(tmp_path)[0]["steps"] > 0
    assert len(list(tmp_path.glob("*.wav"))) == 1
    capsys.readouterr()
    drums.main([*arguments, "--table"])
    assert "WGAN-GP" in capsys.readouterr().out


@pytest.mark.parametrize("module", [few_pictures, emoji64, drums])
def test_data_must_be_named(module: Any, tmp_path: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="2"):
        module.main(["--out", str(tmp_path)])
    assert "--data is needed to train" in capsys.readouterr().err
