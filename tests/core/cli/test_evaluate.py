"""``mmgan evaluate`` on few examples: the scores that can be had, and why others can't."""

from __future__ import annotations

import json
from typing import Any

import pytest

#: As a person has it: a warning is told.
pytestmark = pytest.mark.filterwarnings("default")

PICTURES = {"kernel_random", "precision_random", "recall_random"}
SOUNDS = {
    "spectrum_distance_db",
    "centroid_distance_hz",
    "attack_distance_ms",
    "decay_distance_ms",
    "diversity_logmel",
    "copied_logmel",
    "kernel_logmel",
    "precision_logmel",
    "recall_logmel",
}


@pytest.mark.slow
@pytest.mark.parametrize(("plugin", "had"), [("picture", PICTURES), ("sound", SOUNDS)])
def test_four_examples_have_some_scores(bulk: Any, cli: Any, plugin: str, had: set[str]) -> None:
    run = bulk(plugin, **({"size": 8} if plugin == "picture" else {"length": 2_000}))
    result = cli("evaluate", run, "--json")
    assert result.code == 0
    document = json.loads(result.out)
    assert set(document["scores"]) == had
    suffix = "random" if plugin == "picture" else "logmel"
    assert list(document["missing"]) == [f"{name}_{suffix}" for name in ("frechet", "density", "coverage")]
    frechet = document["missing"][f"frechet_{suffix}"]
    assert "4 generated and 4 real examples: at least 129 of each are needed" in frechet
    assert f"warning: frechet_{suffix} is left out: {frechet}\n" in result.err

    table = cli("evaluate", run)
    assert {line.split()[0] for line in table.out.splitlines()} == had
    assert table.err.count("is left out") == 3


def test_one_picture_has_none(bulk: Any, cli: Any) -> None:
    run = bulk("picture", size=8)
    result = cli("evaluate", run, "-n", "1")
    assert (result.code, result.out) == (4, "")
    assert "error: No score can be had. The Fr" in result.err
    assert "1 generated and 1 real example: at least 2 of each are needed." in result.err
    assert "is left out" not in result.err
    assert json.loads(cli("evaluate", run, "-n", "1", "--json").out)["error"]["code"] == "data"
    assert json.loads(cli("evaluate", run, "-n", "2", "--json").out)["scores"].keys() == {"kernel_random"}


@pytest.mark.slow
def test_one_sound_has_those_that_need_no_other(bulk: Any, cli: Any) -> None:
    run = bulk("sound", length=2_000)
    document = json.loads(cli("evaluate", run, "-n", "1", "--json").out)
    assert set(document["scores"]) == {name for name in SOUNDS if "_distance_" in name}
    assert len(document["missing"]) == 8


def test_all_scores_can_be_had(cli: Any, trained: Any) -> None:
    assert json.loads(cli("evaluate", trained, "--json").out)["missing"] == {}


def test_training_is_refused_where_the_best_checkpoint_could_not_be_chosen(bulk: Any, cli: Any) -> None:
    bulk("picture", size=8)
    call = ("run", "--plugin", "picture", "--data", "data", "--set", "size=8", "--out", "other")
    result = cli(*call, "--set", "evaluate_every=1")
    assert (result.code, result.out) == (2, "")
    assert "chosen by frechet_random, which needs more than 128 pictures, and the data has 4." in result.err
