"""The console entry: help, versions, exit codes, errors, and what plugins add or break."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import pytest
from releases import NEWEST_CLICK

import mmgan
from mmgan.cli import COMMANDS, failures

HELP = ["run", "resume", "sample", "evaluate", "bench", "plugins", "new-plugin", "config", "doctor"]


def test_lists_its_commands_in_the_order_of_use(cli: Any) -> None:
    result = cli("--help")
    assert result.code == 0
    assert not result.err
    lines = result.out.partition("Commands:")[2].split("\n")
    # Ours, then those of plugins.
    assert [line.split()[0] for line in lines if line.strip()] == [*HELP, "translate"]


@pytest.mark.parametrize("command", HELP)
def test_every_command_and_every_option_has_help(cli: Any, command: str) -> None:
    result = cli(command, "--help")
    assert result.code == 0
    module = next(module for module in COMMANDS if module.command.name == command)
    for parameter in module.command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert max(parameter.opts, key=len) in result.out


def test_version(cli: Any) -> None:
    assert cli("--version").out == f"mmgan {mmgan.__version__}\n"


@pytest.mark.parametrize("order", [("--version", "-v"), ("-v", "--version"), ("--verbose", "--version")])
def test_the_version_and_those_of_what_it_works_with(cli: Any, install: Any, order: tuple[str, ...]) -> None:
    install("helloplugin", COMMAND, version="2.5")
    install("raisingplugin", "1 / 0")
    result = cli(*order)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[:2] == [f"mmgan {mmgan.__version__}", f"python {platform.python_version()}"]
    assert lines[2] == f"torch {metadata.version('torch')}"
    assert {f"dcgan {metadata.version('mmgan')}", "hello 2.5", "raising 1.0 (broken)"} <= set(lines)


def test_the_version_without_torch_and_without_plugins(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setenv("MMGAN_LOAD_PLUGINS", "absent")
    result = cli("--version", "-v")
    assert result.code == 0
    assert result.out.splitlines()[2:] == ["torch is not installed"]
    assert result.err.startswith("warning: MMGAN_LOAD_PLUGINS names absent")


@pytest.mark.process
def test_python_dash_m() -> None:
    command = [sys.executable, "-m", "mmgan", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"mmgan {mmgan.__version__}\n"


@pytest.mark.process
def test_help_and_plugins_import_nothing_slow() -> None:
    program = """
import sys
from mmgan.cli import main
codes = [main(args) for args in (["--help"], ["run", "--help"], ["plugins"], ["plugins", "--json"])]
slow = {"torch", "torchvision", "torchaudio", "librosa", "numpy", "pydantic", "rich", "PIL", "tensorboard"}
sys.exit(str(codes) + str(slow & set(sys.modules)) if any(codes) or slow & set(sys.modules) else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_arguments_show_the_help_on_stderr(cli: Any) -> None:
    result = cli()
    assert (result.code, result.out) == (2, "")
    assert "Commands:" in result.err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["pluginz"], "'plugins'" if NEWEST_CLICK else "'pluginz'"),
        (["run", "--stepz", "5"], "'--steps'" if NEWEST_CLICK else "--steps"),
        (["run", "--steps", "many"], "'many' is not a valid integer"),
        (["run", "--plugin"], "'--plugin' requires an argument"),
        (["resume"], "'DIR'"),
        (["sample", "x", "-n", "0"], "0 is not in the range"),
    ],
)
def test_a_mistyped_call_names_what_was_given_and_where_to_look(
    cli: Any, args: list[str], message: str
) -> None:
    result = cli(*args)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: ")
    assert message in result.err
    command = args[0] if args[0] in HELP else ""
    assert f"hint: `mmgan {command} --help`".replace("  ", " ") in result.err


def test_a_mistyped_call_with_json(cli: Any) -> None:
    result = cli("run", "--json", "--stepz", "5")
    assert (result.code, result.err) == (2, "")
    error = json.loads(result.out)["error"]
    assert sorted(error) == ["code", "hint", "message"]
    assert error["code"] == "usage"


# --- What ends a command ---


@pytest.mark.parametrize(
    ("fault", "code", "exit_code", "message"),
    [
        (
            "bug",
            "plugin",
            3,
            "failed in misbehave, phase 'D' (task.py, line 81): ValueError: two",
        ),
        ("nan", "diverged", 6, "step 3"),
        ("memory", "run_failed", 1, "Out of memory. none is left"),
        ("full", "run_failed", 1, "No space left on device: 'somewhere'"),
        ("no-data", "data", 4, "There is no data."),
    ],
)
@pytest.mark.usefixtures("fake")
def test_an_error_is_two_lines_or_a_document_and_an_exit_code(
    cli: Any, fault: str, code: str, exit_code: int, message: str
) -> None:
    plain = cli("run", "--plugin", "fake", "--set", f"fault={fault}")
    assert (plain.code, plain.out) == (exit_code, "")
    assert f"error: {message}" in plain.err or message in plain.err
    assert "Traceback" not in plain.err

    document = cli("run", "--plugin", "fake", "--set", f"fault={fault}", "--json")
    assert document.code == exit_code
    assert "error:" not in document.err
    error = json.loads(document.out)["error"]
    assert error["code"] == code
    assert message in error["message"]
    if error["hint"]:
        assert f"hint: {error['hint']}" in plain.err


@pytest.mark.usefixtures("fake")
def test_tracebacks_only_when_asked_for(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    call = ("run", "--plugin", "fake", "--set", "fault=bug")
    assert "-v shows the traceback" in cli(*call).err
    assert "Traceback" in cli("-v", *call).err
    assert "Traceback" in cli("--verbose", *call).err
    monkeypatch.setenv("MMGAN_DEBUG", "1")
    assert "Traceback" in cli(*call).err
    monkeypatch.setenv("MMGAN_DEBUG", "0")
    assert "Traceback" not in cli(*call).err


@pytest.mark.parametrize(
    ("error", "exit_code", "text"),
    [
        (KeyboardInterrupt(), 130, "Interrupted"),
        (click.Abort(), 1, "Aborted"),
        (click.ClickException("a plugin's"), 1, "a plugin's"),
        (EOFError("torn"), 70, "EOFError: torn"),
        (RuntimeError(), 70, "internal bug: RuntimeError"),
        (OSError("no number"), 70, "OSError: no number"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), 1, "Out of memory. CUDA"),
    ],
)
def test_what_an_error_means(error: BaseException, exit_code: int, text: str) -> None:
    failure = failures.explain(error)
    assert failure.exit_code == exit_code
    assert text in failure.message


def test_an_end_of_file_is_no_interrupt(cli: Any, install: Any) -> None:
    """Click takes EOFError for Ctrl-D at a prompt; from a reader of files it is an error."""
    install("helloplugin", COMMAND.replace("click.echo('hello')", "raise EOFError('torn')"))
    result = cli("hello")
    assert result.code == 70
    assert "torn" in result.err


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("fake")
def test_a_warning_is_one_line_without_its_file(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMGAN_LEARNING_RAT", "1")
    err = cli("run", "--plugin", "fake", "--steps", "1").err
    (line,) = [line for line in err.splitlines() if "MMGAN_LEARNING_RAT" in line]
    assert line.startswith("warning: MMGAN_LEARNING_RAT is not a setting")
    assert ".py" not in err


@pytest.mark.process
def test_a_reader_who_left_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "mmgan", "plugins", "--json"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_working_folder_that_is_gone(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = cli("run", "--plugin", "gan")
    assert (result.code, result.out) == (2, "")
    assert "The folder in which this was started is gone." in result.err
    assert cli("--help").code == 0


def test_a_home_folder_that_is_not_known(cli: Any) -> None:
    for call in (["resume", "~nobody-here/x"], ["run", "--plugin", "gan", "--data", "~nobody-here/x"]):
        result = cli(*call)
        assert result.code in (4, 5)
        assert "~nobody-here/x" in result.err
    settings = ("data_root=~nobody-here/x", "inception_weights=~nobody-here/x", "data=/absent")
    assert cli("run", "--plugin", "gan", *[word for item in settings for word in ("--set", item)]).code == 4


def test_a_terminal_of_no_size(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for width in ("0", "-1", "²", "9" * 5000):
        monkeypatch.setenv("COLUMNS", width)
        assert cli("run", "--help").code == 0
        assert os.environ.get("COLUMNS", "0") == "0"


# --- Plugins ---

COMMAND = """
import click
from mmgan import hookimpl

@hookimpl
def register_commands(cli):
    @cli.command()
    def hello():
        "Say hello."
        click.echo('hello')
        return 5
"""


def test_a_plugin_adds_a_command(cli: Any, install: Any) -> None:
    install("helloplugin", COMMAND)
    assert cli("hello") == (0, "hello\n", "")
    assert "Say hello." in cli("--help").out


@pytest.mark.skipif(not hasattr(click.exceptions, "NoArgsIsHelpError"), reason="click 8.1 prints it itself")
def test_a_group_of_a_plugin_without_a_command_shows_its_help(cli: Any, install: Any) -> None:
    install("helloplugin", COMMAND.replace("@cli.command()", "@cli.group()"))
    result = cli("hello")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("Usage: mmgan hello")


def test_a_plugin_that_fails_to_add_commands_loses_only_its_own(cli: Any, install: Any) -> None:
    install("helloplugin", COMMAND)
    install("raisingplugin", COMMAND.replace("hello", "half") + "    raise ValueError('no luck')\n")
    install("thiefplugin", COMMAND.replace("hello", "plugins"))
    result = cli("hello")
    assert (result.code, result.out) == (0, "hello\n")
    assert "warning: plugin 'raising' could not add its commands: no luck" in result.err
    assert "warning: plugin 'thief' could not add its commands: the name 'plugins' is taken." in result.err
    assert cli("half").code == 2
    assert "thief" in cli("plugins").out


def test_plugins_that_can_not_be_loaded_at_all(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMGAN_LOAD_PLUGINS", "gan,absent")
    for args in (["plugins"], ["run", "--plugin", "gan"], ["config", "gan"], ["doctor"], ["resume", "x"]):
        result = cli(*args)
        assert (result.code, result.out) == (3, "")
        assert "MMGAN_LOAD_PLUGINS names absent" in result.err
    for args in (["--help"], ["--version"], ["run", "--help"]):
        assert cli(*args).code == 0
