"""The command line in this process and in others, and plugins that look installed without pip."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mmgan.cli import main

Install = Callable[..., None]


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Cli:
    """Calls the command line in this process, or in one of its own."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *args: object) -> Result:
        self._capture.readouterr()
        code = main([str(arg) for arg in args])
        return Result(code, *self._capture.readouterr())

    def start(self, *args: object, **options: Any) -> subprocess.Popen[str]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen([sys.executable, "-m", "mmgan", *map(str, args)], **options)


@pytest.fixture(autouse=True)
def _aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of the test's own, without the settings of whoever runs it."""
    for name in [name for name in os.environ if name.startswith("MMGAN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _hearing_all_signals() -> Iterator[None]:
    """Let processes hear SIGHUP where these tests were started by `nohup`, which they would inherit."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ignored()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ignored() -> list[int]:
    """Return the signals of a user that are ignored here."""
    names = ("SIGHUP", "SIGTERM")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) == signal.SIG_IGN]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a module with an entry point, here and in processes started from here."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    before = set(sys.modules)

    def install(name: str, source: str | Path, version: str = "1.0") -> None:
        if isinstance(source, Path):
            shutil.copytree(source, site / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (site / f"{name}.py").write_text(source)
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[mmgan]\n{name.removesuffix('plugin')} = {name}\n")

    yield install
    for name in set(sys.modules) - before:
        if str(site) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def fake(install: Install) -> None:
    """Install the plugin ``fake``."""
    install("fakeplugin", Path(__file__).parent / "fakeplugin")


@pytest.fixture
def trained(fake: None, cli: Cli) -> Path:
    """A run of ``fake`` that has finished its 12 steps, with checkpoints at 5, 10 and 12."""
    assert cli("run", "--plugin", "fake", "--out", "trained").code == 0
    return Path("trained")


@pytest.fixture
def bulk(install: Install, cli: Cli) -> Callable[..., Path]:
    """Make a run of one step of a game of the plugin ``bulk``, on four pictures or sounds."""
    import numpy as np
    import soundfile
    from PIL import Image

    install("bulkplugin", Path(__file__).parent / "bulkplugin")

    def make(plugin: str, **settings: object) -> Path:
        data = Path("data")
        data.mkdir()
        for number in range(4):
            if plugin == "picture":
                Image.new("L", (8, 8), 60 * number).save(data / f"{number}.png")
            else:
                noise = np.random.default_rng(number).uniform(-1, 1, 2_000)
                soundfile.write(data / f"{number}.wav", noise, 16_000)
        extra = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        call = ("run", "--plugin", plugin, "--data", data, "--steps", 1, "--batch-size", 2, "--out", "run")
        assert cli(*call, *extra).code == 0
        return Path("run")

    return make
