"""What a task or a listener may tell the engine: values to log, and that it is enough."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toys import Toy, reload, toy_run

from mmgan import PluginError, Run, hookimpl, train
from mmgan.backend.ranks import Ranks


class Telling(Toy):
    """Logs what it sees of the scores."""

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        losses = super().loss(phase, batch, shared)
        if phase == "D":
            self.run.log("sign", self.d(batch).sign().mean())
            self.run.log("step", self.run.step)
        return losses


class Log:
    def __init__(self) -> None:
        self.logs: dict[int, Mapping[str, Any]] = {}

    @hookimpl
    def after_log(self, step: int, metrics: Mapping[str, Any]) -> None:
        self.logs[step] = dict(metrics)


def test_logged_values_are_means_since_the_last_log() -> None:
    log = Log()
    train(toy_run("toy", None, log, task=Telling, steps=10, log_every=4))
    assert [metrics["step"] for metrics in log.logs.values()] == [1.5, 5.5, 8.5]
    assert all(-1 <= metrics["sign"] <= 1 for metrics in log.logs.values())
    assert "sign" not in toy_run(task=Telling).meter.logged


def test_logging_changes_nothing_that_is_learned() -> None:
    plain, telling = toy_run(steps=5), toy_run(task=Telling, steps=5)
    for run in (plain, telling):
        train(run)
    for name, weights in plain.weights().items():
        for key, value in weights.items():
            if "running" not in key:
                assert torch.equal(telling.weights()[name][key], value)


@pytest.mark.parametrize("name", ["seconds", "stage", "steps_per_s"])
def test_the_engine_s_own_names_can_t_be_logged(name: str) -> None:
    with pytest.raises(PluginError, match=f"can't take the name '{name}'"):
        toy_run().log(name, 1.0)


def test_one_process_is_its_own_mean() -> None:
    assert Ranks().mean(torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert Ranks().mean_of_each({"a": 1.0}) == {"a": 1.0}


class Enough:
    """A listener that ends a run."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def after_step(self, run: Run, step: int) -> None:
        if step == self.step:
            run.finish("the distance no longer falls")


def test_a_run_that_is_finished_early_says_why_and_goes_on_when_asked(tmp_path: Path) -> None:
    report = train(toy_run("toy", tmp_path / "run", Enough(7), steps=20))
    assert (report.state, report.step, report.signal) == ("finished", 7, 0)
    assert report.reason == "the distance no longer falls"
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("finished", 0)
    assert status["reason"] == "the distance no longer falls"
    again = reload(tmp_path / "run")
    assert again.step == 7
    assert train(again).step == 20
    assert json.loads((tmp_path / "run/status.json").read_text())["reason"] is None


def test_a_task_may_finish_too_and_at_the_last_step_there_is_nothing_early() -> None:
    class Short(Toy):
        def forward(self, batch: Tensor) -> Any:
            if self.run.step == 2:
                self.run.finish("enough")
            return super().forward(batch)

    report = train(toy_run(task=Short, steps=20))
    assert (report.state, report.step, report.reason) == ("finished", 3, "enough")
    report = train(toy_run(task=Short, steps=3))
    assert (report.state, report.step, report.reason) == ("finished", 3, "")


def test_a_signal_that_came_first_counts() -> None:
    class Both:
        @hookimpl
        def after_step(self, run: Run, step: int) -> None:
            run.stop_signal = 15
            run.finish("enough")

    report = train(toy_run("toy", None, Both(), steps=20))
    assert (report.state, report.step, report.signal, report.reason) == ("interrupted", 1, 15, "")
