"""The sdist and the wheel of this checkout, and a virtual environment with the wheel."""

from __future__ import annotations

import os
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from outside import PIP, run


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist and the wheel, which is made from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder)
    return folder


@pytest.fixture(scope="session")
def scripts(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a virtual environment in which the wheel is installed.

    With ``BARE=1`` pip installs all that the wheel requires, which takes minutes and gigabytes. Without, the
    packages of the environment that runs the tests are there too, but not the mmgan in it.
    """
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder)
    paths = {"base": str(folder), "platbase": str(folder)}
    programs = Path(sysconfig.get_path("scripts", "venv", vars=paths))
    options = []
    if not os.environ.get("BARE"):
        own = Path(sysconfig.get_path("purelib", "venv", vars=paths))
        shared = [path for path in sys.path if Path(path).name == "site-packages"]
        # A folder named so is searched after the environment's own, and its .pth files are not read: an mmgan
        # that is installed there from a checkout is not found.
        (own / "shared.pth").write_text("\n".join(shared))
        options = ["--no-deps", "--no-index"]
    (wheel,) = dist.glob("*.whl")
    run(*PIP, programs / "python", "install", "--quiet", *options, wheel)
    return programs
