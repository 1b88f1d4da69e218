"""``mmgan new-plugin``: what it writes passes ruff, mypy and its own tests, and trains."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mmgan
from mmgan.cli.new_plugin import KINDS, class_of, write
from mmgan.plugins import Plugins

TASKS = {kind: f"my-{kind}" for kind in KINDS}
#: Four packages' tests in one call: none of their pyproject.toml counts.
IMPORTS = ("--import-mode=importlib", "--rootdir")
#: Shared with the project, where torch has been read already.
CACHE = ("--cache-dir", Path(__file__).resolve().parents[3] / ".mypy_cache")


class Packages:
    """One package of each kind, a folder in which they look installed, and the programs that look at them."""

    def __init__(self, root: Path) -> None:
        self.folders = [root / task for task in TASKS.values()]
        self.site = root / "site"
        self.site.mkdir()
        for (kind, task), folder in zip(TASKS.items(), self.folders, strict=True):
            write(folder, task, kind)
            install(folder, self.site)
        code = [path for folder in self.folders for path in folder.glob("*/*.py")]
        # At once, since each takes long and this process has other things to do meanwhile.
        self.processes = {
            "pytest": self.start("pytest", "-q", "-p", "no:cacheprovider", *IMPORTS, root, *self.folders),
            "mypy": self.start("mypy", "--strict", "--explicit-package-bases", *CACHE, *code),
            "ruff check": self.start("ruff", "check", *self.folders),
            "ruff format": self.start("ruff", "format", "--check", *self.folders),
        }

    def start(self, *command: object) -> subprocess.Popen[str]:
        """Start a program of Python's for which the packages are installed."""
        environment = {**os.environ, "PYTHONPATH": str(self.site), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-m", *map(str, command)]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            words, cwd=self.site, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes.values():
            with process:
                process.kill()


def install(folder: Path, site: Path) -> None:
    """Leave what ``pip install -e`` leaves, by what the package's own pyproject.toml says."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    (package,) = (file.parent for file in folder.glob("*/__init__.py"))
    (site / package.name).symlink_to(package)
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{key} = {value}" for key, value in project["entry-points"]["mmgan"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[mmgan]", *lines]) + "\n")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packages]:
    packages = Packages(tmp_path_factory.mktemp("packages"))
    yield packages
    packages.close()


@pytest.fixture
def installed(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """Let this process find them."""
    monkeypatch.syspath_prepend(str(packages.site))
    yield packages
    for name in [name for name in sys.modules if name.startswith("mmgan_my_")]:
        del sys.modules[name]


def test_it_writes_a_package_and_says_what_to_type(cli: Any) -> None:
    result = cli("new-plugin", "sketch")
    assert result.code == 0
    assert result.out.splitlines() == [
        "sketch/.github/workflows/test.yml",
        "sketch/.gitignore",
        "sketch/README.md",
        "sketch/mmgan_sketch/__init__.py",
        "sketch/mmgan_sketch/py.typed",
        "sketch/mmgan_sketch/task.py",
        "sketch/pyproject.toml",
        "sketch/tests/test_sketch.py",
    ]
    assert all(Path(line).is_file() for line in result.out.splitlines())
    assert "@" not in "".join(path.read_text() for path in Path("sketch/mmgan_sketch").glob("t*.py"))
    for line in ("next: pip install -e sketch", "mmgan run --plugin sketch", "pytest sketch"):
        assert line in result.err


def test_another_folder(cli: Any) -> None:
    result = cli("new-plugin", "sketch", "--kind", "text", "--out", "deep/my sketch")
    assert result.code == 0
    assert "pip install -e 'deep/my sketch'" in result.err
    assert Path("deep/my sketch/mmgan_sketch/sentences.py").is_file()


def test_nothing_is_overwritten(cli: Any) -> None:
    Path("sketch").mkdir()
    result = cli("new-plugin", "sketch")
    assert (result.code, result.out) == (2, "")
    assert "'sketch' exists already" in result.err
    assert "--out" in result.err
    assert not list(Path("sketch").iterdir())
    Path("file").touch()
    assert cli("new-plugin", "sketch", "--out", "file").code == 2
    Path("nowhere").symlink_to("missing")
    assert cli("new-plugin", "sketch", "--out", "nowhere").code == 2


@pytest.mark.parametrize("name", ["3d", "", "my gan", "../up", "a.b", "über", "my-", "_x", "@name@"])
def test_a_name_that_is_none(cli: Any, name: str) -> None:
    result = cli("new-plugin", "--", name)
    assert (result.code, result.out) == (2, "")
    assert f"can't have the name {name!r}" in result.err
    assert not list(Path().glob("*/pyproject.toml"))


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("dcgan", "mmgan"),
        ("core", "mmgan"),
        ("cyclegan", "translation"),
        ("raising", "raisingplugin"),
        ("GAN", "the module mmgan_gan"),
    ],
)
def test_a_name_that_is_taken(cli: Any, install: Any, name: str, owner: str) -> None:
    install("raisingplugin", "1 / 0")
    result = cli("new-plugin", name)
    assert (result.code, result.out) == (2, "")
    assert f"The name {name!r} is taken, by {owner}." in result.err


def test_names_of_classes() -> None:
    names = {"my-gan": "MyGAN", "sketch": "SketchGAN", "a_b-c": "ABCGAN", "none": "NoneGAN", "gan": "GAN"}
    assert {name: class_of(name) for name in names} == names


@pytest.mark.process
def test_they_read_like_a_method_section(packages: Packages) -> None:
    for folder in packages.folders:
        (task,) = folder.glob("*/task.py")
        assert len(task.read_text().splitlines()) <= 60, task
    workflow = (packages.folders[0] / ".github/workflows/test.yml").read_text()
    assert "mypy mmgan_my_image" in workflow


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "task"), TASKS.items())
@pytest.mark.usefixtures("installed")
def test_it_trains_samples_and_goes_on(cli: Any, kind: str, task: str) -> None:
    plugin = next(plugin for plugin in Plugins().loaded if plugin.name == task)
    assert (plugin.package, plugin.version) == (f"mmgan-{task}", "0.1.0")
    small = ("--batch-size", "8", "--set", "tensorboard=false", "--set", "width=4")
    small += ("--set", "length=1024", "--data", "drums:100") if kind == "audio" else ()
    result = cli("run", "--plugin", task, "--steps", "3", *small)
    assert (result.code, result.out) == (0, f"runs/{task}-001\n"), result.err
    sampled = cli("sample", f"runs/{task}-001", "-n", "4", "--out", "samples")
    assert sampled.code == 0, sampled.err
    assert sampled.out
    resumed = cli("resume", f"runs/{task}-001", "--steps", "4")
    assert resumed.code == 0, resumed.err


def test_mmgan_is_typed_for_strangers() -> None:
    """Else mypy would say of every import from mmgan that it is not exported."""
    package = Path(mmgan.__file__).parent
    assert (package / "py.typed").is_file()
    source = (package / "__init__.py").read_text()
    for name in mmgan.__all__:
        assert f" import {name} as {name}\n" in source or f"\n{name} = " in source, name


# Last, since these have worked meanwhile.
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("program", ["ruff check", "ruff format", "mypy", "pytest"])
def test_a_stranger_s_tools_find_nothing(packages: Packages, program: str) -> None:
    process = packages.processes[program]
    said, _ = process.communicate()
    assert process.returncode == 0, said
