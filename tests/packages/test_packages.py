"""The packages: what is in the sdist and the wheel, and whether an installed wheel trains."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from outside import PIP, ROOT, run

import mmgan

pytestmark = [pytest.mark.slow, pytest.mark.process]

PACKAGES = {"mmgan": ROOT / "core/mmgan"} | {path.name: path for path in (ROOT / "plugins").glob("mmgan_*")}


def sources(folder: Path) -> set[str]:
    """Return the files below a folder, without what Python makes of them."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if "__pycache__" not in path.parts}


def test_the_sdist_holds_what_git_tracks(dist: Path) -> None:
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs the git repository, to compare with")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.run(listing, capture_output=True, text=True, cwd=ROOT, check=True).stdout.split()
    expected = {name for name in tracked if not name.startswith(".ci/") and (ROOT / name).exists()}
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert held == expected | {"PKG-INFO"}


def test_the_wheel_holds_the_packages_and_nothing_else(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {f"{name}/{file}" for name, path in PACKAGES.items() for file in sources(path)}
    # Type checkers read the types of a package that says so.
    assert {f"{name}/py.typed" for name in PACKAGES} <= held


def test_what_the_wheel_says_of_itself(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (place,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        said = email.message_from_bytes(archive.read(place))
        assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())
    assert said["Version"] == mmgan.__version__
    versions = {line.rpartition(" ")[2] for line in said.get_all("Classifier", []) if ":: 3." in line}
    assert said["Requires-Python"] == f">={min(versions, key=lambda text: int(text[2:]))}"
    assert set(said.get_all("Provides-Extra", [])) == {
        "audio", "features", "tensorboard", "text", "torchvision", "translation", "all", "dev",
    }  # fmt: skip


def test_an_installed_wheel_trains(scripts: Path, tmp_path: Path) -> None:
    assert run(*PIP, scripts / "python", "check") == "No broken requirements found.\n"
    place = run(scripts / "python", "-c", "import mmgan; print(mmgan.__file__)", cwd=tmp_path)
    assert Path(place).is_relative_to(scripts.parent)
    assert run(scripts / "mmgan", "--version", cwd=tmp_path) == f"mmgan {mmgan.__version__}\n"
    size = [] if os.environ.get("BARE") else ["--set", "width=8"]
    folder = run(scripts / "mmgan", "run", "--plugin", "dcgan", "--steps", "20", *size, cwd=tmp_path)
    assert (tmp_path / folder.strip() / "samples/step-000020.png").stat().st_size > 1_000
    assert (tmp_path / folder.strip() / "checkpoints/step-000020/manifest.json").is_file()
