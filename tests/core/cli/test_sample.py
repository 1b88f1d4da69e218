"""``mmgan sample`` and ``mmgan evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmgan


def files(out: str) -> list[str]:
    return [Path(line).name for line in out.splitlines()]


def test_writes_each_sample_and_all_together(cli: Any, trained: Path) -> None:
    result = cli("sample", trained, "-n", "3")
    assert result.code == 0
    expected = [
        *(f"trained/generated/001/{n:04d}.png" for n in range(3)),
        "trained/generated/001/samples.png",
    ]
    assert result.out.splitlines() == expected
    assert all(Path(line).stat().st_size for line in expected)
    assert "3 samples of fake at step 12, in trained/generated/001" in result.err


def test_never_overwrites(cli: Any, trained: Path) -> None:
    assert "generated/001" in cli("sample", trained).out
    assert "generated/002" in cli("sample", trained).out
    assert cli("sample", trained, "-n", "1", "--out", "new/one").code == 0
    result = cli("sample", trained, "--out", "new")
    assert (result.code, result.out) == (2, "")
    assert "'new'" in result.err
    assert "another --out" in result.err


def test_a_seed_repeats_and_another_does_not(cli: Any, trained: Path) -> None:
    pictures = []
    for seed in ([], [], ["--seed", "1"], ["--seed", "1"], ["--seed", str(2**32 - 1)]):
        out = cli("sample", trained, "-n", "2", *seed).out
        pictures.append(Path(out.splitlines()[0]).read_bytes())
    assert pictures[0] == pictures[1] != pictures[2] == pictures[3] != pictures[4]


def test_interpolate(cli: Any, trained: Path) -> None:
    result = cli("sample", trained, "-n", "4", "--interpolate")
    assert result.code == 0
    assert files(result.out) == ["walk.png", "walk.gif"]


def test_truncation(cli: Any, tmp_path: Path) -> None:
    run = tmp_path / "points"
    mmgan.train("gan", folder=run, data="ring", steps=1, batch_size=8, tensorboard=False, evaluate_every=0)
    spread = {}
    for psi in ("1", "0.01"):
        assert cli("sample", run, "-n", "50", "--truncation", psi, "--out", f"at-{psi}").code == 0
        spread[psi] = float(
            np.loadtxt(f"at-{psi}/points.csv", delimiter=",", skiprows=1, usecols=(0, 1)).std(0).max()
        )
    assert spread["0.01"] < 0.1 * spread["1"]
    for psi in ("0", "1.5", "nan"):
        result = cli("sample", run, "--truncation", psi)
        assert (result.code, result.out) == (2, "")


def test_a_truncation_that_the_task_does_not_do(cli: Any, trained: Path) -> None:
    result = cli("sample", trained, "-n", "2", "--truncation", "0.5")
    assert (result.code, result.out) == (2, "")
    assert "truncat" in result.err
    assert not (trained / "generated").exists()


def test_a_modality_that_shows_no_walk(cli: Any, trained: Path) -> None:
    toml = trained / "config.toml"
    toml.write_text(toml.read_text().replace('fault = "none"', 'fault = "no-walk"'))
    result = cli("sample", trained, "--interpolate")
    assert (result.code, result.out) == (2, "")
    assert "can't be shown as a walk" in result.err
    assert not (trained / "generated").exists()


def test_checkpoints(cli: Any, trained: Path) -> None:
    assert "at step 12," in cli("sample", trained, "--checkpoint", "last").err
    assert "at step 5," in cli("sample", trained, "--checkpoint", "5").err
    (trained / "checkpoints" / "best.json").write_text('{"step": 10, "score": "distance", "value": 0.5}')
    assert "at step 10," in cli("sample", trained, "--checkpoint", "best").err
    result = cli("sample", trained, "--checkpoint", "7")
    assert (result.code, result.out) == (5, "")
    assert "Allowed: last, best, 5, 10, 12." in result.err


@pytest.mark.parametrize("command", ["sample", "evaluate"])
@pytest.mark.usefixtures("fake")
def test_no_run(cli: Any, command: str) -> None:
    result = cli(command, "absent")
    assert (result.code, result.out) == (5, "")
    assert "not a run's folder" in result.err
    assert not Path("absent").exists()


def test_evaluate(cli: Any, trained: Path) -> None:
    result = cli("evaluate", trained, "-n", "7", "--checkpoint", "10")
    assert result.code == 0
    rows = [line.split() for line in result.out.splitlines()]
    assert [name for name, _ in rows] == ["distance", "n", "endless"]
    assert float(rows[0][1]) > 0
    assert rows[1] == ["n", "7"]
    assert result.err == "fake at step 10\n"


def test_evaluate_json_has_no_infinity(cli: Any, trained: Path) -> None:
    document = json.loads(cli("evaluate", trained, "--json").out)
    assert (document["schema"], document["step"]) == (1, 12)
    assert document["scores"]["n"] == 0
    assert document["scores"]["endless"] is None
