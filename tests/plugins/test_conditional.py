"""gan, dcgan and wavegan learn classes: from the command line, as anybody would use them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from painting import classes
from PIL import Image

import mmgan
from mmgan.cli import main

QUICK = ("--set", "tensorboard=false", "--device", "cpu", "--precision", "fp32")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(capsys: Any, *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def train(capsys: Any, plugin: str, data: object, **settings: object) -> tuple[int, str, str]:
    """Train a run in the folder ``run``."""
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return run(capsys, "run", "--plugin", plugin, "--data", data, "--out", "run", *QUICK, *sets)


def pixels(path: str) -> Any:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "settings"),
    [
        ("gan", {"size": 8, "channels": 3, "width": 32, "latent": 4, "lr": 1e-3, "steps": 250}),
        (
            "dcgan",
            {"preset": "paper", "size": 32, "width": 8, "latent": 4, "lr": 2e-3, "steps": 150, "ema": 0.9},
        ),
    ],
)
def test_colours_are_learned_and_asked_for(capsys: Any, plugin: str, settings: Any) -> None:
    data = classes(Path("data"))
    settings = {"batch_size": 16, "conditional": True, "sample_every": 100, **settings}
    code, _, err = train(capsys, plugin, data, **settings)
    assert code == 0, err
    shutil.rmtree(data)
    for channel, name in enumerate(("red", "green", "blue")):
        code, out, err = run(capsys, "sample", "run", "-n", 8, "--label", name)
        assert code == 0, err
        *each, together = out.splitlines()
        assert [Path(path).name for path in each] == [f"{number:04d}-{name}.png" for number in range(8)]
        pictures = np.stack([pixels(path) for path in each]).mean((1, 2))
        assert (pictures.argmax(1) == channel).all(), (name, pictures)
        assert Path(together).exists()
    code, _, err = run(capsys, "sample", "run", "--label", "rde")
    assert code == 2
    assert "label = 'rde' is not a class of this run. Did you mean 'red'" in err
    assert "Its 3 classes: blue, green, red" in err


def test_more_points_are_scored_than_the_data_has(capsys: Any) -> None:
    assert train(capsys, "gan", "ring", conditional=True, width=8, steps=1, batch_size=8)[0] == 0
    code, out, err = run(capsys, "evaluate", "run", "-n", "100001", "--json")
    assert code == 0, err
    assert "of_their_class" in json.loads(out)["scores"]


@pytest.mark.slow
def test_a_mode_of_the_ring_is_asked_for(capsys: Any) -> None:
    settings = {"conditional": True, "width": 64, "lr": 1e-3, "steps": 1200, "batch_size": 64}
    code, _, err = train(capsys, "gan", "ring", **settings)
    assert code == 0, err
    code, out, _ = run(capsys, "evaluate", "run", "--json")
    # By chance it would be an eighth.
    assert json.loads(out)["scores"]["of_their_class"] > 0.9
    code, _, err = train(capsys, "gan", "ring", conditional=True, packing=2)
    assert code == 2
    assert "packing" in err


def test_a_row_a_class(capsys: Any) -> None:
    data = classes(Path("data"))
    settings = {"size": 8, "width": 4, "channels": 3, "steps": 2, "batch_size": 4, "conditional": True}
    settings["sample_every"] = 2
    code, _, err = train(capsys, "gan", data, **settings)
    assert code == 0, err
    # 64 samples and 3 classes: 21 of each, 8 pixels wide with 2 between.
    assert pixels("run/samples/step-000002.png").shape == (3 * 10 - 2, 21 * 10 - 2, 3)
    code, out, err = run(capsys, "sample", "run", "-n", 5)
    assert "classes, in this order: blue, green, red" in err
    names = [Path(path).name for path in out.splitlines()]
    assert names == [
        "0000-blue.png",
        "0001-blue.png",
        "0002-green.png",
        "0003-green.png",
        "0004-red.png",
        "samples.png",
    ]
    assert pixels(out.splitlines()[-1]).shape == (3 * 10 - 2, 2 * 10 - 2, 3)
    code, out, _ = run(capsys, "sample", "run", "-n", 4, "--interpolate", "--label", "green")
    assert code == 0


@pytest.mark.slow
def test_scores_of_each_class(capsys: Any) -> None:
    settings = {"conditional": True, "width": 4, "steps": 2, "batch_size": 4, "size": 8}
    code, _, err = train(capsys, "gan", "digits", **settings)
    assert code == 0, err
    code, out, _ = run(capsys, "evaluate", "run", "--json")
    scores = json.loads(out)["scores"]
    assert {f"kernel_random/{digit}" for digit in range(10)} <= scores.keys()
    assert scores["frechet_random"] > 0


@pytest.mark.slow
def test_wavegan_learns_instruments(capsys: Any) -> None:
    settings = {
        "conditional": True,
        "dim": 2,
        "steps": 2,
        "batch_size": 4,
        "critic_steps": 2,
        "sample_every": 2,
    }
    code, _, err = train(capsys, "wavegan", "drums:140", **settings)
    assert code == 0, err
    code, out, err = run(capsys, "sample", "run", "-n", 6)
    assert code == 0, err
    names = [Path(path).name for path in out.splitlines()]
    info = mmgan.load_run(Path("run")).data_info
    assert len(info.classes) == 5
    assert names[0] == f"0000-{info.classes[0].replace(' ', '_')}.wav"
    code, out, _ = run(capsys, "evaluate", "run", "--json")
    assert {f"kernel_logmel/{name}" for name in info.classes} <= json.loads(out)["scores"].keys()
    assert len(pixels("run/samples/step-000002.png")) > 1000


def test_without_classes_there_are_no_labels(capsys: Any) -> None:
    for number in range(4):
        Path("data").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 60 * number).save(f"data/{number}.png")
    settings = {"size": 8, "width": 4, "steps": 2, "batch_size": 4}
    code, _, err = train(capsys, "gan", "data", conditional=True, **settings)
    assert code != 0
    assert "has no classes to learn" in err
    assert not Path("run").exists()
    train(capsys, "gan", "data", **settings)
    code, _, err = run(capsys, "sample", "run", "--label", "red")
    assert code == 2
    assert "takes no label" in err
    assert "conditional=true" in err


@pytest.mark.parametrize("plugin", ["gan", "dcgan", "wavegan"])
@pytest.mark.slow
def test_conforms(mmgan_check: Any, plugin: str) -> None:
    settings: Any = {
        "gan": {"width": 4, "flip": True, "ema": 0.9, "features": "pixels"},
        "dcgan": {"width": 4, "penalty": "r1"},
        "wavegan": {"data": "drums:140", "dim": 1, "critic_steps": 2},
    }[plugin]
    mmgan_check(plugin, conditional=True, **settings)
