"""How games on pictures are judged: against what was held out, for copies, by a classifier."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mmgan
from mmgan import Player
from mmgan.metrics import cas
from mmgan.metrics.features import PooledPixels, RandomFeatures
from mmgan.metrics.image import image_scores
from mmgan.plugins import Plugins
from mmgan.tasks.image import ImageTask, ImageTaskConfig
from mmgan.tasks.judging import judge
from mmgan.tasks.latent import ConditionalConfig

#: Of some tests it is not the matter that there are few samples.
pytestmark = pytest.mark.filterwarnings("ignore:.* is left out:UserWarning")

SMALL: dict[str, Any] = {"data": "digits", "size": 8, "channels": 1, "tensorboard": False, "device": "cpu"}


class ReplayConfig(ImageTaskConfig, ConditionalConfig):
    """Settings of a generator that can be told what to make."""


class Replay(ImageTask):
    """It learns nothing, and samples are pictures of the data that a test puts into ``tape``."""

    Config = ReplayConfig
    tape: torch.Tensor

    def build(self) -> dict[str, Player]:
        made = nn.Sequential(nn.Linear(self.config.latent, 64), nn.Unflatten(1, (1, 8, 8)))
        nets = {"G": made, "D": nn.Sequential(nn.Flatten(), nn.Linear(64, 1))}
        return {name: Player(net, torch.optim.SGD(net.parameters(), 1e-2)) for name, net in nets.items()}

    def loss(self, phase: str, batch: Any, shared: Any) -> Any:
        pictures = self.parts(batch)[0]
        given = pictures if phase == "D" else self.latents(len(pictures))
        return {phase: self.run.players[phase].module(given).square().mean()}

    def alike(self, n: int, label: torch.Tensor | None = None) -> Iterator[torch.Tensor]:
        if label is None:
            return iter(self.tape[torch.arange(n) % len(self.tape)].split(self.chunk))
        return iter(self.of_class[label[torch.arange(n) % len(label)]].split(self.chunk))

    @property
    def of_class(self) -> torch.Tensor:
        """The first picture of each class."""
        data = self.run.dataset
        return torch.cat(
            [data.pictures((data.labels == label).nonzero()[0]) for label in range(self.classes)]
        )


def replay(folder: Path | None = None, **settings: Any) -> Any:
    run = mmgan.new_run(Replay, folder=folder, **SMALL, **settings)
    run.task.tape = run.dataset.pictures(torch.arange(len(run.dataset)))
    return run


def reload(folder: Path, **changes: Any) -> Any:
    plugins = Plugins()
    plugins.add(Replay)
    return mmgan.load_run(folder, plugins, changes=changes)


class TestHoldout:
    @pytest.mark.slow
    def test_scores_are_those_against_what_was_held_out(self) -> None:
        run = replay(holdout=0.2, features="pixels")
        scores = run.evaluate()
        held = run.dataset.held_out
        assert len(held) == 359
        real = held.pictures(torch.randperm(359, generator=torch.Generator().manual_seed(0)))
        made = run.task.tape[:359]
        expected = image_scores([made], [real], PooledPixels(1))
        for name, value in expected.items():
            assert scores[name] == pytest.approx(value, rel=1e-4, abs=1e-9), name
        assert "against 359 pictures that were held out." in scores.words[1]
        assert "of 359 samples look real; they cover" in scores.words[0]

    def test_without_it_scores_are_those_against_the_data(self) -> None:
        run = replay(features="pixels")
        scores, few = run.evaluate(), run.evaluate(200)
        assert scores["frechet_pixels"] == pytest.approx(0, abs=1e-3)
        assert "against 1,797 pictures that it was trained on." in scores.words[1]
        assert "against 200 pictures that it was trained on." in few.words[1]
        which = torch.randperm(1797, generator=torch.Generator().manual_seed(0))[:200]
        real = run.dataset.pictures(which)
        expected = image_scores([run.task.tape[:200]], [real], PooledPixels(1))
        assert {name: few[name] for name in expected} == pytest.approx(expected, rel=1e-4)

    def test_default_settings_train_as_ever(self) -> None:
        states = []
        for settings in ({}, {"holdout": 0}, {"holdout": 0.0, "cas": True}):
            run = mmgan.train(Replay, steps=4, batch_size=8, **SMALL, **settings)
            states.append(run.players["D"].module.state_dict())
            assert run.dataset.held_out is None
        for state in states[1:]:
            assert all(torch.equal(value, state[name]) for name, value in states[0].items())

    def test_it_is_the_same_after_a_resume(self, tmp_path: Path) -> None:
        run = mmgan.train(Replay, folder=tmp_path / "run", steps=3, batch_size=8, holdout=50, **SMALL)
        before = run.dataset.held_out.pixels(torch.arange(50))
        again = reload(tmp_path / "run", steps=6)
        assert torch.equal(again.dataset.held_out.pixels(torch.arange(50)), before)
        whole = mmgan.train(Replay, steps=6, batch_size=8, holdout=50, **SMALL)
        mmgan.train(again)
        for name, value in whole.players["D"].module.state_dict().items():
            assert torch.equal(again.players["D"].module.state_dict()[name], value)

    @pytest.mark.parametrize(
        ("value", "problem"), [(0.7, "a share from 0 to 0.5"), (2.5, "a share"), (-1, "0")]
    )
    def test_values_that_mean_nothing(self, value: float, problem: str) -> None:
        with pytest.raises(mmgan.ConfigError, match=f"holdout = .*{problem}"):
            replay(holdout=value)

    def test_a_run_can_t_change_it(self, tmp_path: Path) -> None:
        mmgan.train(Replay, folder=tmp_path / "run", steps=1, batch_size=8, holdout=50, **SMALL)
        for value in (0, 60):
            with pytest.raises(mmgan.ConfigError, match=f"holdout can't change from 50.0 to {value}"):
                reload(tmp_path / "run", holdout=value)

    def test_a_run_of_before_can_t_begin_to(self, tmp_path: Path) -> None:
        mmgan.train(Replay, folder=tmp_path / "run", steps=1, batch_size=8, **SMALL)
        step = tmp_path / "run/checkpoints/step-000001"
        state = json.loads((step / "state.json").read_text())
        del state["settings"]["holdout"]
        (step / "state.json").write_text(json.dumps(state))
        manifest = json.loads((step / "manifest.json").read_text())
        manifest["files"]["state.json"] = hashlib.sha256((step / "state.json").read_bytes()).hexdigest()
        (step / "manifest.json").write_text(json.dumps(manifest))
        assert reload(tmp_path / "run").changed == {}
        with pytest.raises(mmgan.ConfigError, match="holdout can't change from 0.0 to 50"):
            reload(tmp_path / "run", holdout=50)

    def test_the_best_checkpoint_needs_enough_of_them(self) -> None:
        with pytest.raises(mmgan.ConfigError, match="more than 64 held-out pictures, and the data has 60"):
            mmgan.new_run(Replay, evaluate_every=1, holdout=60, features="pixels", **SMALL)
        mmgan.new_run(Replay, evaluate_every=1, holdout=65, features="pixels", **SMALL)

    def test_data_of_a_task_s_own_that_holds_nothing_out(self) -> None:
        class Own(Replay):
            def data(self) -> Any:
                data = super().data()
                data.held_out = None
                return data

        run = mmgan.new_run(Own, holdout=0.1, **SMALL)
        with pytest.raises(mmgan.PluginError, match=r"holdout = 0\.1: the data of own holds nothing out"):
            run.evaluate()


class Counted(RandomFeatures):
    """Features that count the pictures that they are asked for."""

    seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        Counted.seen += len(images)
        return super().forward(images)


def test_features_of_real_pictures_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = replay(holdout=200)
    monkeypatch.setattr(run.task, "features", Counted)
    first = run.evaluate(150)
    assert Counted.seen == 150 + 150 + 1597
    assert run.evaluate(150) == first
    assert Counted.seen == 150 + 150 + 1597 + 150
    run.evaluate(160)
    assert Counted.seen == 150 + 150 + 1597 + 150 + 160 + 160


class TestCopies:
    @pytest.mark.slow
    def test_a_generator_of_training_pictures_and_one_of_new_ones(self) -> None:
        run = replay(holdout=0.3)
        scores = run.evaluate()
        assert scores["copied_random"] == scores["copied_pixels"] == 1
        assert "539 are copies of training pictures or close to it" in scores.words[0]
        run.task.tape = run.dataset.held_out.pictures(torch.arange(539))
        scores = run.evaluate()
        assert max(scores["copied_random"], scores["copied_pixels"]) < 0.05

    def test_they_are_looked_for_in_all_training_pictures(self) -> None:
        run = replay()
        run.task.tape = run.task.tape[-20:]
        assert run.evaluate(20)["copied_random"] == 1

    def test_pixels_are_looked_at_once(self) -> None:
        run = replay(features="pixels")
        assert [name for name in run.evaluate(50) if name.startswith("copied")] == ["copied_pixels"]


class TestClassifying:
    @pytest.fixture(autouse=True)
    def brief(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cas, "STEPS", 150)

    @pytest.mark.slow
    @pytest.mark.parametrize("holdout", [0, 0.2])
    def test_one_sample_a_class_teaches_less_than_the_data(self, holdout: float) -> None:
        run = replay(conditional=True, cas=True, holdout=holdout)
        scores = run.evaluate(100)
        assert scores["cas_real"] > 0.95
        assert 0.2 < scores["cas"] < scores["cas_real"] - 0.1
        tested = 359
        assert (
            f"A classifier that learns from 1,438 samples reads {scores['cas']:.1%} of {tested} real"
            in (scores.words[-1])
        )

    def test_only_with_classes(self) -> None:
        with pytest.raises(mmgan.ConfigError, match="this run has learned none"):
            replay(cas=True).evaluate()

    def test_progress_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cas, "STEPS", 3)
        run = replay(conditional=True, cas=True)
        told: list[tuple[int, int]] = []
        run.progress = lambda done, total: told.append((done, total))
        run.evaluate(100)
        assert told[-1] == (1438 + 6, 1438 + 6)
        assert all(done <= total for done, total in told)


def test_judge_is_what_evaluate_calls() -> None:
    run = replay(features="pixels")
    assert set(judge(run.task, 30)) == set(run.evaluate(30))
