"""Completion by Tab: what is offered, in the shells that are here, and that torch is not waited for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmgan.cli import COMMANDS, main

Offer = Callable[..., list[str]]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Offer:
    """Return what is offered for the last of some words, as ``type,value`` lines."""

    def offer(*words: str) -> list[str]:
        monkeypatch.setenv("_MMGAN_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", " ".join(["mmgan", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([])
        out, err = capfd.readouterr()
        assert (ended.value.code, err) == (0, "")
        return out.split()

    return offer


def test_commands_and_those_of_plugins(offer: Offer) -> None:
    ours = [*(module.command.name for module in COMMANDS), "translate"]
    assert offer("") == [f"plain,{name}" for name in ours]
    assert offer("tra") == ["plain,translate"]
    assert "plain,--direction" in offer("translate", "runs/x", "--d")


def test_tasks(offer: Offer) -> None:
    assert offer("run", "--plugin", "d") == ["plain,dcgan"]
    assert {"plain,gan", "plain,seqgan"} < set(offer("run", "--plugin", ""))
    assert offer("bench", "--plugin", "wa") == ["plain,wavegan"]
    assert offer("config", "cyc") == ["plain,cyclegan"]
    assert offer("plugins", "check", "conv") == ["plain,convolutions"]


def test_runs(offer: Offer) -> None:
    assert offer("resume", "") == ["dir,"]
    for name in ("dcgan-001", "dcgan-002", "gan-001"):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "config.toml").touch()
    Path("runs/notes").mkdir()
    assert offer("resume", "") == ["plain,runs/dcgan-001", "plain,runs/dcgan-002", "plain,runs/gan-001"]
    assert offer("sample", "runs/g") == ["plain,runs/gan-001"]
    assert offer("evaluate", "/elsewhere") == ["dir,/elsewhere"]


@pytest.mark.parametrize(
    "words",
    [("run", "--data"), ("run", "--config"), ("run", "--out"), ("resume", "x", "--data"), ("--plugins-dir",)],
)
def test_files_are_left_to_the_shell(offer: Offer, words: tuple[str, ...]) -> None:
    assert offer(*words, "./pic") == ["file,./pic"]


def test_the_plugins_of_a_folder(offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = "@hookimpl\ndef register_tasks(register):\n    register('solo', 'solo:Solo')\n"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/solo.py").write_text(f"from mmgan import hookimpl\n{hook}")
    monkeypatch.setenv("MMGAN_PLUGINS_DIR", "folder")
    assert offer("run", "--plugin", "so") == ["plain,solo"]


def test_nothing_is_said_beside_it(offer: Offer, install: Any) -> None:
    """Warnings would be drawn into the line that is typed."""
    install("raisingplugin", "import warnings\nwarnings.warn('odd')\nprint('loud')\n1 / 0")
    assert offer("run", "--plugin", "dc") == ["plain,dcgan"]


def test_plugins_that_can_not_be_loaded(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMGAN_LOAD_PLUGINS", "absent")
    monkeypatch.setenv("_MMGAN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "mmgan run --plugin ")
    monkeypatch.setenv("COMP_CWORD", "3")
    result = cli()
    assert (result.out, result.err) == ("", "")


@pytest.mark.process
def test_torch_is_not_imported(tmp_path: Path) -> None:
    program = """
import sys
from mmgan.cli import main
try:
    main([])
finally:
    print({"torch", "numpy", "pydantic", "rich", "PIL"} & set(sys.modules), file=sys.stderr)
"""
    words = {"_MMGAN_COMPLETE": "bash_complete", "COMP_WORDS": "mmgan run --plugin ", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | words, cwd=tmp_path
    )
    assert "plain,dcgan" in done.stdout
    assert done.stderr == "set()\n"


#: Programs that load the function that `mmgan` writes, and print what Tab would offer after `run --plugin d`.
SHELLS = {
    "bash": """
eval "$(_MMGAN_COMPLETE=bash_source mmgan)"
complete -p mmgan | grep -q -- '-F _mmgan_completion mmgan' || exit 1
COMP_WORDS=(mmgan run --plugin d) COMP_CWORD=3
_mmgan_completion mmgan
echo "${COMPREPLY[@]}"
""",
    "zsh": """
autoload -U compinit && compinit -u -D
eval "$(_MMGAN_COMPLETE=zsh_source mmgan)"
[[ $_comps[mmgan] == _mmgan_completion ]] || exit 1
compadd() { print -- ${completions[@]} }
words=(mmgan run --plugin d) CURRENT=4
_mmgan_completion
""",
    "fish": """
_MMGAN_COMPLETE=fish_source mmgan | source
complete --do-complete 'mmgan run --plugin d'
""",
}


@pytest.mark.process
@pytest.mark.parametrize("shell", SHELLS)
def test_in_a_shell(shell: str, tmp_path: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"needs {shell}, which is not installed")
    program = tmp_path / "bin/mmgan"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mmgan "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }
    command = [shell, "-c", SHELLS[shell]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stdout.split()) == (0, ["dcgan"]), done.stderr
