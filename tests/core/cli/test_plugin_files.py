"""Plugins that are single files: ``--plugins-dir`` and ``MMGAN_PLUGINS_DIR``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmgan.errors import UsageError
from mmgan.plugins import Plugins

IDEA = '''
"""A game in one file: hooks and task together."""
from fakeplugin.task import Fake
from mmgan import hookimpl

class Idea(Fake):
    """The same game."""

@hookimpl
def register_tasks(register):
    register("idea", Idea)
'''
FAKE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test files of its own, and find the game that the idea is made of."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(FAKE)])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = str(getattr(sys.modules[name], "__file__", ""))
        if "ideas" in file or name.startswith("fakeplugin"):
            del sys.modules[name]


@pytest.fixture
def ideas() -> Path:
    folder = Path("ideas")
    folder.mkdir()
    (folder / "idea.py").write_text(IDEA)
    return folder


@pytest.mark.usefixtures("ideas")
@pytest.mark.parametrize("place", [0, 1, 4])
@pytest.mark.parametrize("option", [["--plugins-dir", "ideas"], ["--plugins-dir=ideas"]])
def test_a_file_trains_wherever_the_option_stands(cli: Any, option: list[str], place: int) -> None:
    words = ["run", "--plugin", "idea", "--steps", "2"]
    words[place:place] = [] if place == 4 else option
    result = cli(*words, *(option if place == 4 else []))
    assert (result.code, result.out) == (0, "runs/idea-001\n"), result.err


@pytest.mark.usefixtures("ideas")
def test_sampling_and_resuming_need_the_folder(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("--plugins-dir", "ideas", "run", "--plugin", "idea", "--steps", "2", "--out", "out").code == 0
    for command in (["sample", "out", "-n", "1"], ["resume", "out", "--steps", "3"]):
        without = cli(*command)
        assert (without.code, without.out) == (3, "")
        assert "There is no plugin 'idea'." in without.err
        assert "--plugins-dir FOLDER" in without.err
        assert cli(*command, "--plugins-dir", "ideas").code == 0
    monkeypatch.setenv("MMGAN_PLUGINS_DIR", "ideas")
    assert cli("sample", "out", "-n", "1").err.count("warning") == 0
    wrong = cli("run", "--plugin", "ide")
    assert "Did you mean 'idea'?" in wrong.err
    assert "--plugins-dir" not in wrong.err, "there is a folder already"


def test_files_are_listed_and_broken_ones_stop_nothing(cli: Any, ideas: Path) -> None:
    (ideas / "torn.py").write_text("def f(:")
    (ideas / "json.py").write_text("")  # the name of another module
    (ideas / "dcgan.py").write_text("")  # the name of another plugin
    taking = IDEA.replace('"idea"', '"dcgan"').replace("from fakeplugin.task import Fake", "Fake = object")
    (ideas / "taking.py").write_text(taking)
    (ideas / "_helper.py").write_text("1 / 0")
    (ideas / "notes.txt").write_text("")
    result = cli("--plugins-dir", "ideas", "plugins", "--json")
    assert (result.code, result.err) == (0, "")
    found = {plugin["package"]: plugin for plugin in json.loads(result.out)["plugins"]}
    assert {package for package in found if "ideas" in package} == {
        f"ideas/{name}.py" for name in ("idea", "torn", "json", "dcgan", "taking")
    }
    assert found["ideas/idea.py"]["error"] is None
    assert found["ideas/idea.py"]["tasks"] == ["idea"]
    assert found["ideas/torn.py"]["error"].startswith("SyntaxError")
    assert "'ideas/json.py' has the name of another module: 'json' is " in found["ideas/json.py"]["error"]
    clash = "Two plugins have the name 'dcgan': that of 'mmgan' and that of 'ideas/dcgan.py'."
    assert found["ideas/dcgan.py"]["error"] == clash
    assert "'dcgan' and 'taking' both register 'dcgan'" in found["ideas/taking.py"]["error"]
    assert json.dumps is sys.modules["json"].dumps

    asked = cli("--plugins-dir", "ideas", "run", "--plugin", "torn")
    assert asked.code == 3
    assert "hint: Fix or remove 'ideas/torn.py'" in asked.err
    asked = cli("--plugins-dir", "ideas", "run", "--plugin", "dcgan")
    assert asked.code == 3
    assert clash in asked.err


def test_a_file_may_use_the_one_beside_it_and_dotted_strings(cli: Any, ideas: Path) -> None:
    (ideas / "_layers.py").write_text("from fakeplugin.task import Fake as Base")
    (ideas / "my-idea.py").write_text(
        "from mmgan import hookimpl\n@hookimpl\ndef register_tasks(register):\n"
        "    register('lazy', '_layers:Base')\n"
        "@hookimpl\ndef register_commands(cli):\n    @cli.command()\n    def think():\n        'Think.'\n"
    )
    assert cli("config", "lazy", "--plugins-dir", "ideas").code == 0
    assert "think" in cli("--plugins-dir", "ideas", "--help").out
    assert cli("think", "--plugins-dir", "ideas").code == 0


def test_an_option_without_a_folder(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["--plugins-dir"], ["plugins", "--plugins-dir"], ["--plugins-dir=", "plugins"]):
        result = cli(*words)
        assert (result.code, result.out) == (2, "")
        assert "--plugins-dir needs a folder." in result.err
    for words in (["plugins"], ["run", "--plugin", "gan"]):
        result = cli("--plugins-dir", "nowhere", *words)
        assert (result.code, result.out) == (2, "")
        assert "'nowhere' is not a folder" in result.err
    monkeypatch.setenv("MMGAN_PLUGINS_DIR", "nowhere")
    assert cli("plugins").code == 2
    assert cli("--help").code == 0
    assert cli("--version").code == 0
    monkeypatch.setenv("MMGAN_PLUGINS_DIR", "")
    assert cli("plugins").code == 0


def test_the_last_folder_counts_and_two_dashes_end_options(cli: Any, ideas: Path) -> None:
    Path("empty").mkdir()
    names = cli("--plugins-dir", "empty", "plugins", "--plugins-dir", str(ideas)).out
    assert "idea" in names
    assert cli("new-plugin", "--", "--plugins-dir").code == 2


@pytest.mark.usefixtures("ideas")
def test_from_python() -> None:
    assert "idea" in Plugins(folder=Path("ideas")).tasks
    assert "idea" not in Plugins(folder=Path("ideas"), installed=False).tasks
    with pytest.raises(UsageError, match="'nowhere' is not a folder"):
        Plugins(folder=Path("nowhere"))


@pytest.mark.process
def test_a_worker_process_finds_what_a_file_defines() -> None:
    """One that is spawned, as everywhere but on Linux."""
    Path("ideas").mkdir()
    hook = "import mmgan\n\n\n@mmgan.hookimpl\ndef after_step():\n    pass\n\n\n"
    Path("ideas/counting.py").write_text(f"{hook}def double(x):\n    return 2 * x\n")
    program = """
import multiprocessing
from mmgan.plugins import Plugins

plugin = next(plugin for plugin in Plugins().loaded if plugin.name == "counting")
with multiprocessing.get_context("spawn").Pool(1) as pool:
    print(pool.map(plugin.module.double, [21]))
"""
    environment = {**os.environ, "MMGAN_PLUGINS_DIR": "ideas"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[42]\n"), done.stderr
