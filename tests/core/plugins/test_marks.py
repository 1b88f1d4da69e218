"""What looks like a hook and is none is said aloud; a file may hold its plugin as an object."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from toys import Games, Toy, toy_run

import mmgan
from mmgan import hookimpl
from mmgan.plugins import Plugins
from mmgan.plugins.marks import HOOKS, hooks_of


class Watch:
    """A listener with one hook, and one that is not marked."""

    seen = 0

    @hookimpl
    def after_step(self) -> None:
        self.seen += 1

    def after_log(self) -> None:
        raise AssertionError("never called")


def test_the_hooks_of_a_plugin() -> None:
    assert {"after_step", "register_tasks", "select_device"} <= HOOKS
    assert hooks_of(Watch()) == {"after_step"}


def test_an_unmarked_hook_of_a_plugin_or_a_listener_is_told() -> None:
    with pytest.warns(UserWarning, match="Plugin 'Watch' has a function after_log without @hookimpl"):
        Plugins(Watch(), installed=False)
    run = toy_run(steps=2)
    with pytest.warns(UserWarning, match="after_log without @hookimpl: it is never called"):
        run.plugins.attach([Watch()])


def test_a_method_of_a_task_that_is_called_like_a_hook_is_told() -> None:
    class Hopeful(Toy):
        def after_step(self) -> None:
            raise AssertionError("never called")

    with pytest.warns(UserWarning, match="The task 'toy' has a method after_step, which is a hook"):
        mmgan.train(toy_run(task=Hopeful, steps=2))


def test_what_a_module_imports_is_not_meant_as_its_hook(recwarn: pytest.WarningsRecorder) -> None:
    module: Any = ModuleType("borrowing")
    module.after_step = Watch.after_log
    module.register_tasks = Games().register_tasks
    Plugins(module, installed=False)
    assert not recwarn.list


FILES = {
    "nothing": (
        "import mmgan\n",
        "Plugin 'nothing' registers nothing: it has no function with @mmgan",
    ),
    "forgotten": ("def register_tasks(register):\n    pass\n", "registers nothing"),
    "number": ("plugin = 3\n", "registers nothing"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_registers_nothing_is_broken(tmp_path: Path, name: str) -> None:
    text, message = FILES[name]
    (tmp_path / f"{name}.py").write_text(text)
    (broken,) = Plugins(installed=True, folder=tmp_path).broken
    assert broken.name == name
    assert message in broken.error


def test_a_file_may_hold_its_plugin_as_an_object(tmp_path: Path) -> None:
    (tmp_path / "watching.py").write_text(
        "from mmgan import hookimpl\n\n\nclass Watch:\n    seen = 0\n\n    @hookimpl\n"
        "    def after_step(self):\n        self.seen += 1\n\n\nplugin = Watch()\n"
    )
    plugins = Plugins(folder=tmp_path)
    assert not plugins.broken
    with warnings.catch_warnings():
        run = mmgan.train("gan", plugins=plugins, data="ring", steps=3, width=4, batch_size=4, device="cpu")
    assert run.step == 3
    (watch,) = [plugin.module for plugin in plugins.loaded if plugin.name == "watching"]
    assert watch.seen == 3
