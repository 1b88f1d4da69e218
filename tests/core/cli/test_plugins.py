"""``mmgan plugins`` and ``mmgan config``."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

import mmgan

REGISTER = """
from mmgan import hookimpl

@hookimpl
def register_tasks(register):
    register({name!r}, "somewhere:Task")
"""
BROKEN = {
    "raising": "1 / 0",
    "leaving": "raise SystemExit(3)",
    "taking": REGISTER.format(name="dcgan"),
    "misspelt": REGISTER.format(name="new").replace("register_tasks", "register_taks"),
}


@pytest.fixture
def broken(install: Any) -> None:
    for name, source in BROKEN.items():
        install(f"{name}plugin", source)


@pytest.mark.usefixtures("fake")
def test_a_table_on_stdout(cli: Any) -> None:
    result = cli("plugins")
    assert result.code == 0
    header, *rows = result.out.splitlines()
    assert header.split() == ["NAME", "VERSION", "PACKAGE", "TASKS", "HOOKS"]
    (row,) = [row for row in rows if row.startswith("fake")]
    assert row.split() == ["fake", "1.0", "fakeplugin", "fake", "register_tasks"]
    assert row.index("1.0") == header.index("VERSION")
    assert "mmgan run --plugin" in result.err


@pytest.mark.usefixtures("fake")
def test_json(cli: Any) -> None:
    result = cli("plugins", "--json")
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert document["schema"] == 1
    plugins = {plugin["name"]: plugin for plugin in document["plugins"]}
    assert plugins["fake"] == {
        "name": "fake",
        "version": "1.0",
        "package": "fakeplugin",
        "tasks": ["fake"],
        "hooks": ["register_tasks"],
        "error": None,
    }
    assert plugins["core"]["version"] == mmgan.__version__


@pytest.mark.usefixtures("broken", "fake")
def test_broken_plugins_are_listed_with_their_errors(cli: Any) -> None:
    document = cli("plugins", "--json")
    assert document.code == 0
    errors = {plugin["name"]: plugin["error"] for plugin in json.loads(document.out)["plugins"]}
    assert errors["fake"] is None
    assert errors["raising"] == "ZeroDivisionError: division by zero"
    assert errors["leaving"] == "SystemExit: 3"
    assert "'dcgan' and 'taking' both register 'dcgan'" in errors["taking"]
    assert "Did you mean 'register_tasks'?" in errors["misspelt"]

    text = cli("plugins").out
    assert "broken: ZeroDivisionError" in text


@pytest.mark.usefixtures("broken", "fake")
def test_broken_plugins_raise_only_when_asked_for(cli: Any) -> None:
    assert cli("run", "--plugin", "fake", "--steps", "1").code == 0
    result = cli("run", "--plugin", "raising")
    assert (result.code, result.out) == (3, "")
    assert "ZeroDivisionError" in result.err
    assert "'raisingplugin'" in result.err


@pytest.mark.usefixtures("fake")
def test_config_is_a_file_to_edit(cli: Any) -> None:
    result = cli("config", "fake")
    assert (result.code, result.err) == (0, "")
    assert tomllib.loads(result.out) == {"plugin": "fake"}
    assert "\n# steps = 12\n" in result.out
    assert "# learning rate" in result.out

    with open("my.toml", "w") as file:
        file.write(result.out.replace("# steps = 12", "steps = 2"))
    ran = cli("run", "--plugin", "fake", "--config", "my.toml", "--json")
    assert json.loads(ran.out)["step"] == 2


def test_config_of_no_plugin(cli: Any) -> None:
    result = cli("config", "dcgn")
    assert (result.code, result.out) == (3, "")
    assert "Did you mean 'dcgan'?" in result.err
