"""The Dockerfile, as far as it can be tried without Docker: what it copies is enough to build the wheel."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from outside import ROOT, run

LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
PAGE = (ROOT / "docs/install.md").read_text(encoding="utf-8")


def instructions(name: str) -> list[str]:
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{name} ")]


def copied() -> list[str]:
    """Return what is copied from the checkout."""
    return [word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]]


def test_what_is_copied_is_there_and_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    for name in copied():
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())


@pytest.mark.slow
@pytest.mark.process
def test_what_is_copied_makes_the_wheel(dist: Path, tmp_path: Path) -> None:
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path)
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", "out", cwd=tmp_path)
    (ours,), (theirs,) = dist.glob("*.whl"), (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(ours) as one, zipfile.ZipFile(theirs) as other:
        assert set(one.namelist()) == set(other.namelist())


def test_the_image_runs_mmgan_and_not_as_root() -> None:
    last = max(number for number, line in enumerate(LINES) if line.startswith("FROM "))
    users = [line for line in LINES[last:] if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("USER root", "USER 0")
    assert instructions("ENTRYPOINT") == ['["mmgan"]']


def test_the_commands_beside_it_are_those_of_the_documentation() -> None:
    built = [line.removeprefix("#").strip() for line in LINES if line.startswith("#     docker build")]
    assert len(built) == 2
    for command in built:
        assert f"\n{command}\n" in PAGE
        for argument in re.findall(r"--build-arg (\w+)=", command):
            assert any(line.startswith(f"{argument}=") for line in instructions("ARG"))
    tags = {re.search(r"--tag (\S+)", command)[1] for command in built}  # type: ignore[index]
    started = [shlex.split(line) for line in PAGE.splitlines() if line.startswith("docker run ")]
    assert {next(word for word in words if word in tags) for words in started} == tags
