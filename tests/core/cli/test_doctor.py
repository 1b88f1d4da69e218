"""``mmgan doctor``."""

from __future__ import annotations

import importlib
import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import mmgan


@pytest.mark.usefixtures("fake")
def test_json(cli: Any, tmp_path: Path) -> None:
    import torch

    result = cli("doctor", "--json")
    assert (result.code, result.err) == (0, "")
    document = json.loads(result.out)
    assert document["schema"] == 1
    versions = document["versions"]
    assert versions["mmgan"] == mmgan.__version__
    assert versions["python"] == platform.python_version()
    assert versions["torch"] == torch.__version__.partition("+")[0]
    assert {"numpy", "torchvision", "pillow"} <= set(versions)
    assert "pytest" not in versions
    assert document["devices"][0] == "cpu"
    assert document["device"]["name"] in {"cpu", "cuda", "mps"}
    assert document["device"]["reason"]
    assert document["precision"]["name"] in {"fp32", "bf16", "fp16"}
    if document["device"]["name"] == "cpu":
        whats = "product of", "Conv2d(128, 256", "memory formats of Conv2d(128, 256"
        assert [what.startswith(start) for what, start in zip(document["measured"], whats, strict=True)]
        assert all(seconds > 0 for times in document["measured"].values() for seconds in times.values())
    assert document["threads"] == torch.get_num_threads()
    assert document["memory"] is None or document["memory"] > 0
    assert document["cache"] == {"folder": str(tmp_path / "cache"), "writable": True}
    assert document["problems"] == []


def test_text(cli: Any) -> None:
    result = cli("doctor")
    assert result.code == 0
    names = [line.split("  ")[0] for line in result.out.splitlines()]
    assert names[:2] == ["mmgan", "python"]
    for name in ("devices", "device auto", "precision auto", "threads", "bf16", "memory", "cache"):
        assert name in names
    if "device auto    cpu" in result.out:
        assert re.search(r"measured +fp32 [\d.]+ ms, bf16 [\d.]+ ms: product of", result.out)


def test_a_broken_plugin_is_a_problem(cli: Any, install: Any) -> None:
    install("raisingplugin", "1 / 0")
    result = cli("doctor")
    assert result.code == 1
    assert "plugin 'raising' is broken: ZeroDivisionError: division by zero" in result.out


def test_a_plugin_that_can_not_choose_a_device_is_a_problem(cli: Any, install: Any) -> None:
    hook = "@hookimpl\ndef select_device(config):\n    raise RuntimeError('no driver')\n"
    install("driverplugin", f"from mmgan import hookimpl\n{hook}")
    result = cli("doctor")
    assert result.code == 1
    assert "no driver" in result.out


def test_no_task_is_a_problem(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMGAN_LOAD_PLUGINS", "")
    result = cli("doctor", "--json")
    assert result.code == 1
    assert json.loads(result.out)["problems"] == ["no plugin brings a task to train."]


def test_a_cache_that_can_not_be_written_is_no_problem(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").touch()
    monkeypatch.setenv("MMGAN_CACHE_DIR", "file/cache")
    result = cli("doctor")
    assert result.code == 0
    assert "a temporary folder is used instead" in result.out


def test_a_torch_that_can_not_be_imported(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def refuse(name: str, package: str | None = None) -> Any:
        if name in ("torch", "torchvision"):
            raise ImportError("undefined symbol")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", refuse)
    result = cli("doctor")
    assert result.code == 1
    assert "torch can't be imported: undefined symbol" in result.out
    assert "devices" not in result.out


def test_builds_that_do_not_fit_torch(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU-only torch beside a torchaudio that was built for CUDA."""
    library = importlib.import_module("mmgan.data.audio.library")

    def refuse() -> Any:
        raise OSError("libc10_cuda.so: no\nsuch file")

    monkeypatch.setattr(library, "_imported", refuse)
    result = cli("doctor")
    assert result.code == 1
    assert "problem  " in result.out
    assert "The torchaudio that is installed does not fit torch: libc10_cuda.so: no such file." in result.out
    assert "pip install --force-reinstall torch torchaudio --index-url" in result.out
    assert "device auto" in result.out
    # And where it is needed it is no bug of ours.
    result = cli("run", "--plugin", "wavegan", "--data", "drums:5", "--steps", "1", "--out", "run")
    assert result.code == 2
    assert "does not fit torch" in result.err


def test_a_missing_package_is_a_problem(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    monkeypatch.setattr(metadata, "requires", lambda name: ["absent-package>=1", "pytest; extra == 'dev'"])
    result = cli("doctor", "--json")
    assert result.code == 1
    document = json.loads(result.out)
    assert document["versions"]["absent-package"] is None
    assert document["problems"] == ["the package 'absent-package' is not installed."]


def test_an_extra_that_is_not_installed_is_told_and_is_no_problem(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    requirements = ["torch>=2", "absent-package>=1; extra == 'text'", "mmgan[text]; extra == 'all'"]
    monkeypatch.setattr(metadata, "requires", lambda name: [*requirements, "absent-tool; extra == 'dev'"])
    result = cli("doctor", "--json")
    assert result.code == 0
    document = json.loads(result.out)
    assert document["versions"]["absent-package"] is None
    assert set(document["versions"]) == {"mmgan", "python", "torch", "absent-package"}
    assert document["problems"] == []
    assert "absent-package  not installed" in " ".join(cli("doctor").out.split("\n"))


def test_a_machine_without_torchvision(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    result = cli("doctor")
    assert result.code == 0, result.out
