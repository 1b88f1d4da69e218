"""Settings that a plugin declares for itself: given, checked, kept with the run, changed on resume."""

from __future__ import annotations

import pickle
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field
from toys import Games, ToyConfig, toy_run

import mmgan
from mmgan import ConfigError, PluginError, Plugins, Run, hookimpl, train
from mmgan.config import check, describe, to_toml


class Patience(BaseModel):
    patience: int = Field(3, ge=1, description="evaluations without progress")
    watched: list[str] = Field([], description="scores")


class Guardian:
    """A listener with settings."""

    def __init__(self, model: Any = Patience, name: str = "guardian") -> None:
        self.model, self.name, self.seen = model, name, 0

    @hookimpl
    def register_settings(self, register: Any) -> None:
        register(self.name, self.model)

    @hookimpl
    def before_run(self, run: Run) -> None:
        self.seen = run.settings("guardian").patience if self.name == "guardian" else 0


def resolved(**flags: Any) -> Any:
    plugins = Plugins(Games(), Guardian(), installed=False)
    return mmgan.resolve(plugins.config_class("toy"), "toy", flags=flags, environment={})


def test_they_are_typed_and_checked_with_the_task_s() -> None:
    config = resolved(guardian={"patience": "5", "watched": "a,b"}, lr="0.1")
    assert isinstance(config, ToyConfig)
    assert config.guardian == Patience(patience=5, watched=["a", "b"])  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"no setting 'guardian.patince'. Did you mean 'guardian.patience'"):
        resolved(guardian={"patince": "5"})
    with pytest.raises(ConfigError, match=r"no setting 'guardia'. Did you mean 'guardian'"):
        resolved(guardia={"patience": "5"})
    with pytest.raises(ConfigError, match=r"guardian.patience = 0: Input should be greater"):
        resolved(guardian={"patience": "0"})
    plugins = Plugins(Games(), Guardian(), installed=False)
    assert "# evaluations without progress\n# guardian.patience = 3\n" in describe(
        plugins.config_class("toy"), "toy"
    )


def test_settings_of_two_loads_are_equal_and_travel_to_other_processes() -> None:
    one, other = resolved(guardian={"patience": 5}), resolved(guardian={"patience": 5})
    assert one == other
    assert pickle.loads(pickle.dumps(one)) == one
    assert one.model_copy(deep=True) == one


def test_a_run_has_its_defaults_whoever_made_its_config() -> None:
    guardian = Guardian()
    plugins = Plugins(Games(), guardian, installed=False)
    config = check(ToyConfig, {"plugin": "toy", "device": "cpu", "steps": 1})
    train(mmgan.new_run(config, plugins))
    assert guardian.seen == 3
    assert plugins.settings_in(config, "guardian") == Patience()
    with pytest.raises(PluginError, match=r"no table of settings 'guardia'. Did you mean 'guardian'"):
        plugins.settings_in(config, "guardia")


def reopened(folder: Path, *extra: Any, **changes: Any) -> Run:
    return mmgan.load_run(folder, Plugins(Games(), *extra, installed=False), changes=changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    guardian = Guardian()
    train(toy_run("toy", tmp_path / "run", guardian, steps=2, guardian={"patience": 5}))
    assert guardian.seen == 5
    return tmp_path / "run"


def test_they_are_kept_and_can_change_on_resume(folder: Path) -> None:
    assert tomllib.loads((folder / "config.toml").read_text())["guardian"]["patience"] == 5
    assert reopened(folder, Guardian()).changed == {}
    guardian = Guardian()
    run = reopened(folder, guardian, steps=4, guardian={"patience": 9})
    assert run.changed == {"guardian.patience": (5, 9)}
    train(run)
    assert guardian.seen == 9
    again = reopened(folder, Guardian())
    assert again.settings("guardian") == Patience(patience=9)
    assert again.changed == {}


def test_a_run_from_before_the_plugin_has_the_defaults(tmp_path: Path) -> None:
    train(toy_run(folder=tmp_path / "run", steps=2))
    run = reopened(tmp_path / "run", Guardian())
    assert run.settings("guardian") == Patience()
    assert run.changed == {}


def test_a_run_outlives_the_plugin_with_a_warning(folder: Path) -> None:
    with pytest.warns(UserWarning, match=r"\[guardian\] in the run's config.toml: no plugin that is install"):
        run = reopened(folder, steps=4)
    assert len(run.sample(2)) == 2
    train(run)


def test_a_setting_that_the_plugin_has_got_since_is_not_a_change(folder: Path) -> None:
    class More(Patience):
        window: int = Field(4, description="steps")

    assert reopened(folder, Guardian(More)).changed == {}
    changed = reopened(folder, Guardian(More), guardian={"window": 5}).changed
    assert changed == {"guardian.window": (4, 5)}


class Demanding(BaseModel):
    patience: int


@pytest.mark.parametrize(
    ("guardian", "message"),
    [
        (Guardian(Demanding), "'guardian' in register_settings, and patience has no default"),
        (Guardian(dict), "which is not a subclass of pydantic.BaseModel"),
        (Guardian("nowhere:Settings"), "which can't be imported"),
        (Guardian(name="lr"), "registered the settings 'lr', which is a task's setting: toys.ToyConfig.lr"),
        (Guardian(name="a.b"), "which can't be their name"),
    ],
)
def test_what_can_t_be_settings_is_refused(guardian: Guardian, message: str) -> None:
    plugins = Plugins(Games(), guardian, installed=False)
    with pytest.raises(PluginError) as caught:
        plugins.config_class("toy")
    assert message in caught.value.message
    assert "Guardian" in caught.value.message


def test_two_plugins_can_t_have_one_name() -> None:
    with pytest.raises(PluginError, match=r"both register 'guardian' in register_settings"):
        Plugins(Guardian(), type("Other", (Guardian,), {})(), installed=False)


# The convolutions', which were a setting of every task.


@pytest.mark.parametrize("given", ["tune", {"mode": "tune"}])
def test_the_mode_of_convolutions_in_both_forms(given: Any) -> None:
    config = resolved(convolutions=given)
    assert config.convolutions.mode == "tune"  # type: ignore[attr-defined]
    assert tomllib.loads(to_toml(config))["convolutions"] == {"mode": "tune"}
    with pytest.raises(ConfigError, match=r"convolutions.mode = 'TUNE': .* Did you mean 'tune'"):
        resolved(convolutions="TUNE")


def test_a_run_with_the_earlier_form_has_not_changed(folder: Path) -> None:
    config = folder / "config.toml"
    text = config.read_text().replace('[convolutions]\nmode = "auto"\n', "")
    config.write_text('convolutions = "auto"\n' + text)
    assert reopened(folder, Guardian()).changed == {}
    state = folder / "checkpoints" / "step-000002" / "state.json"
    assert '"mode": "auto"' in state.read_text()
