"""Training from Python in one call: by a class or a name, with settings as arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toys import Games, Toy, toy_run

import mmgan
from mmgan import ConfigError, PluginError, UsageError, hookimpl
from mmgan.plugins import Plugins


class Counter:
    steps = 0

    @hookimpl
    def after_step(self) -> None:
        self.steps += 1


def test_a_class_is_trained_with_settings_and_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMGAN_STEPS", "999")
    counter = Counter()
    run = mmgan.train(Toy, plugins=[counter], steps=3, batch_size=4, device="cpu")
    assert (run.step, counter.steps, run.config.batch_size, run.folder) == (3, 3, 4, None)
    assert run.config.plugin == "toy"
    assert len(run.sample(5)) == 5


def test_a_name_is_looked_up_among_the_plugins(tmp_path: Path) -> None:
    run = mmgan.train("toy", plugins=Plugins(Games(), installed=False), folder=tmp_path / "run", steps=2)
    assert run.step == 2
    assert (tmp_path / "run/config.toml").exists()
    again = mmgan.load_run(tmp_path / "run", Plugins(Games(), installed=False))
    assert again.step == 2


def test_it_is_the_run_that_the_long_way_gives() -> None:
    from toys import assert_same

    short = mmgan.train(Toy, steps=5, device="cpu", precision="fp32")
    long = toy_run(steps=5)
    report = mmgan.train(long)
    assert (report.state, report.step) == ("finished", 5)
    assert_same(short, long)


@pytest.mark.parametrize(
    ("what", "settings", "error", "message"),
    [
        (Toy, {"stepz": 3}, ConfigError, "steps"),
        (Toy, {"steps": 0}, ConfigError, "steps"),
        ("toyy", {}, PluginError, "no plugin 'toyy'"),
        (Counter, {}, PluginError, "not a subclass of mmgan.Task"),
    ],
)
def test_what_can_t_be_trained(
    what: Any, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        mmgan.train(what, **settings)
    assert message in str(caught.value) + getattr(caught.value, "hint", "")


def test_a_run_or_a_config_has_its_settings_already() -> None:
    run = toy_run()
    with pytest.raises(UsageError, match="has its settings, plugins and folder already"):
        mmgan.train(run, steps=3)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="steps: a whole config has its settings already"):
        mmgan.new_run(run.config, Plugins(Games(), installed=False), steps=3)


def test_the_next_run_of_the_same_plugins_has_its_own_listeners(tmp_path: Path) -> None:
    plugins = Plugins(Games(), installed=False)

    def own() -> list[str]:
        return sorted(
            name for one in plugins.manager.get_plugins() if "listeners" in (name := type(one).__module__)
        )

    mmgan.new_run("toy", plugins, tmp_path / "first")
    default = own()
    assert "mmgan.listeners.checkpointer" in default
    mmgan.train("toy", plugins=plugins, folder=tmp_path / "second", steps=2)
    assert own() == default
    mmgan.load_run(tmp_path / "second", plugins)
    assert own() == default
    mmgan.new_run("toy", plugins)
    assert own() == []
