"""Plugins without tasks: listeners along a small game; data sets, metrics, devices and precisions in use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mmgan
from mmgan import Dataset, Device, Draw, Plugins, Precision, Run, hookimpl
from mmgan.cli import main
from mmgan.testing import PLUGIN_RULES, report_plugin

NAMES = [rule.name for rule in PLUGIN_RULES]


def broken(plugin: Any) -> dict[str, str]:
    """Return what each rule that a plugin breaks says."""
    results = report_plugin(type(plugin).__name__, plugins=Plugins(plugin, installed=False))
    return {result.rule: result.what for result in results if result.outcome == "failed"}


def skipped(plugin: Any) -> dict[str, str]:
    results = report_plugin(type(plugin).__name__, plugins=Plugins(plugin, installed=False))
    return {result.rule: result.what for result in results if result.outcome == "skipped"}


class Means:
    """Averages losses, and keeps the means with the run."""

    def __init__(self) -> None:
        self.means: dict[str, float] = {}

    @hookimpl
    def after_log(self, metrics: Mapping[str, Any]) -> None:
        for name in metrics.keys() - set(mmgan.engine.METER):
            self.means[name] = 0.9 * self.means.get(name, metrics[name]) + 0.1 * metrics[name]

    @hookimpl
    def before_save(self, run: Run, state: dict[str, Any]) -> None:
        state["means"] = self.means | {"seconds": run.seconds}

    @hookimpl
    def after_load(self, state: Mapping[str, Any]) -> None:
        self.means = dict(state.get("means", {}))


@pytest.mark.slow
def test_a_listener_that_keeps_the_rules() -> None:
    assert broken(Means()) == {}
    assert list(skipped(Means())) == ["datasets", "metrics", "devices"]


class Dividing(Means):
    @hookimpl
    def after_evaluate(self, scores: Mapping[str, float]) -> None:
        _ = 1 / int(scores["distance"] * 0)


class Watching(Means):
    """Fails where a run has failed."""

    @hookimpl
    def on_run_error(self, error: BaseException) -> None:
        raise OSError("no network")


class Forgetting(Means):
    @hookimpl
    def after_load(self, state: Mapping[str, Any]) -> None:
        pass


class Expecting(Means):
    @hookimpl
    def after_load(self, state: Mapping[str, Any]) -> None:
        self.means = dict(state["means"])


class Grasping(Means):
    @hookimpl
    def before_save(self, run: Run, state: dict[str, Any]) -> None:
        state["players"]["G"]["updates"] += 1


class Unstorable(Means):
    @hookimpl
    def before_save(self, run: Run, state: dict[str, Any]) -> None:
        state["means"] = object()


class Optional(Dividing):
    """Would be switched off in a run."""

    mmgan_optional = True


@pytest.mark.parametrize(
    ("plugin", "rule", "what"),
    [
        (
            Dividing,
            "listens",
            "Plugin 'Dividing' failed in after_evaluate: ZeroDivisionError: division by zero "
            "(test_plugin_rules.py, line ",
        ),
        (Optional, "listens", "Plugin 'Optional' failed in after_evaluate: ZeroDivisionError"),
        (
            Watching,
            "listens",
            "When a run fails: Then on_run_error failed too: PluginError: Plugin 'Watching'",
        ),
        (Forgetting, "remembers", "The plugin's state differs after a resume: means."),
        (
            Expecting,
            "remembers",
            "A run that was made without the plugin can't be opened with it: Plugin 'Expecting' failed in "
            "after_load: KeyError: 'means' (test_plugin_rules.py, line ",
        ),
        (Grasping, "remembers", "before_save changes 'players' of the state, which is not the plugin's own."),
        (Unstorable, "listens", "means"),
    ],
)
def test_a_listener_that_breaks_a_rule(plugin: Any, rule: str, what: str) -> None:
    found = broken(plugin())
    assert what in found[rule]
    if plugin in (Watching, Forgetting, Expecting):
        assert list(found) == [rule]


class Early:
    """Ends runs before there is much to see."""

    @hookimpl
    def after_step(self, run: Run) -> None:
        run.finish("enough")

    @hookimpl
    def before_save(self, state: dict[str, Any]) -> None:
        state["early"] = 1


def test_a_listener_that_ends_a_run() -> None:
    assert broken(Early()) == {}
    assert "ends the run before there is a checkpoint" in skipped(Early())["remembers"]


# What is registered.


class Numbers(Dataset):
    def __init__(self, noise: bool) -> None:
        self.noise = noise

    def __len__(self) -> int:
        return 10

    def batch(self, indices: Tensor, draw: Draw) -> Tensor:
        return indices.float()[:, None].expand(-1, 2) + (torch.rand(()) if self.noise else 0)


class Sets:
    noise = False

    @hookimpl
    def register_datasets(self, register: Any) -> None:
        register("fine", lambda argument, config: Numbers(False), kind="numbers")
        register("other", lambda argument, config: Numbers(self.noise), kind="numbers")
        register("needy", self.needy, kind="numbers")

    def needy(self, argument: str, config: Any) -> Dataset:
        raise mmgan.DataError("needy:FILE names no file.")


class NoisySets(Sets):
    noise = True


def test_data_sets() -> None:
    assert broken(Sets()) == {}
    assert broken(NoisySets()) == {
        "datasets": "numbers/other: Batch 3 differs between a worker process and the main one."
    }

    class Unopened(Sets):
        @hookimpl
        def register_datasets(self, register: Any) -> None:
            register("needy", self.needy, kind="numbers")
            register("pictures", lambda argument, config: [config.size], kind="pictures")

    assert skipped(Unopened())["datasets"] == (
        "because numbers/needy can't be tried: needy:FILE names no file.; pictures/pictures can't be tried: "
        "no task that trains on pictures is installed"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan", "seqgan"])
def test_a_data_set_is_opened_by_a_task_of_its_kind(name: str) -> None:
    results = report_plugin(name, plugins=Plugins())
    assert {result.rule: result.outcome for result in results}["datasets"] == "passed"


class Measures:
    value: Any = 0.5

    @hookimpl
    def register_metrics(self, register: Any) -> None:
        register("images", self.measure, kind="images")
        register("texts", lambda generated, real: float(len(set(real) - set(generated))), kind="texts")

    def measure(self, generated: Tensor, real: Tensor) -> Any:
        assert generated.shape == real.shape
        return self.value


class Infinite(Measures):
    value = float("inf")


def test_metrics() -> None:
    assert broken(Measures()) == {}
    assert broken(Infinite()) == {
        "metrics": "The metric 'images/images' gives inf, which is not a finite number."
    }


class Broken(Device):
    def move(self, batch: Any) -> Any:
        raise ValueError("no such place")


class Absent(Device):
    def __init__(self, name: str) -> None:
        raise mmgan.UsageError("There is no such card here.")


class Devices:
    device: Any = staticmethod(lambda name: Device("cpu"))

    @hookimpl
    def register_devices(self, register: Any) -> None:
        register("mine", self.device)

    @hookimpl
    def register_precisions(self, register: Any) -> None:
        register("half", lambda device: Precision(device, "half", dtype=torch.bfloat16))


class BrokenDevices(Devices):
    device = staticmethod(lambda name: Broken("cpu"))


def test_devices_and_precisions() -> None:
    assert broken(Devices()) == {}
    assert "ValueError: no such place (test_plugin_rules.py" in broken(BrokenDevices())["devices"]

    class Elsewhere:
        @hookimpl
        def register_devices(self, register: Any) -> None:
            register("card", Absent)

    assert skipped(Elsewhere())["devices"] == "because card can't be tried: There is no such card here."


# The command.

WATCH = """
from mmgan import hookimpl

COUNT = [0]


@hookimpl
def after_step(step):
    COUNT[0] += 1
    print("talk")


@hookimpl
def before_save(state):
    state["count"] = COUNT[0]


@hookimpl
def after_load(state):
    COUNT[0] = state.get("count", 0)
"""


@pytest.mark.slow
def test_the_command_takes_a_listener(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kit_watch.py").write_text(WATCH)
    (tmp_path / "kit_lost.py").write_text(WATCH.replace('state.get("count", 0)', "0"))
    words = ["--plugins-dir", str(tmp_path), "plugins", "check"]
    assert main([*words, "kit_watch"]) == 0
    out, err = capsys.readouterr()
    assert [row.split()[:2] for row in out.splitlines()[1:3]] == [
        ["listens", "passed"],
        ["remembers", "passed"],
    ]
    assert err.startswith(f"1/{len(NAMES)} listens\n")
    assert main([*words, "kit_lost", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert [rule["rule"] for rule in document["rules"]] == NAMES
    assert [rule["rule"] for rule in document["rules"] if rule["what"]] == ["remembers"]
    assert main([*words, "kit_watch", "--set", "width=4"]) == 2
    assert "without a task of that name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("translation", 2, "has the tasks pix2pix, cyclegan, and each is checked by its own name"),
        ("core", 3, "There is no plugin 'core'"),
    ],
)
def test_what_can_not_be_checked(
    capsys: pytest.CaptureFixture[str], name: str, code: int, message: str
) -> None:
    assert main(["plugins", "check", name]) == code
    assert message in capsys.readouterr().err


def test_a_task_is_not_a_plugin() -> None:
    with pytest.raises(mmgan.PluginError, match="'pix2pix' is a task and not a plugin"):
        report_plugin("pix2pix")


def test_a_prompt_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def report(name: str, settings: Any, **options: Any) -> Any:
        asked.update(options)
        raise mmgan.UsageError("enough")

    monkeypatch.setattr("mmgan.testing.report", report)
    assert main(["plugins", "check", "seqgan", "--prompt", "once"]) == 2
    assert asked["prompt"] == "once"
