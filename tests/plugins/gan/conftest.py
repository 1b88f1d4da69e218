"""Runs of the plugin, made as the command line makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import mmgan


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., mmgan.Run]:
    """Make a run without a folder; settings as ``--set`` gives them. With ``steps`` it is trained too."""
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path / "cache"))

    def make(**settings: object) -> mmgan.Run:
        plugins = mmgan.Plugins()
        defaults = {"device": "cpu", "tensorboard": False}
        config = mmgan.resolve(plugins.task("gan").Config, "gan", flags=defaults | settings, environment={})
        run = mmgan.new_run(config, plugins)
        if "steps" in settings:
            mmgan.train(run)
        return run

    return make
