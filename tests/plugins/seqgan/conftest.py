"""Runs of the plugin, made as the command line makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import mmgan

#: A language, networks and stages that take a second.
SMALL = {
    "vocabulary": 40, "length": 8, "embedding": 8, "hidden": 8, "batch_size": 8, "mle_steps": 4,
    "negatives": 8, "pretrain_rounds": 2, "pretrain_epochs": 2, "rounds": 2, "epochs": 1, "iterations": 3,
    "rollouts": 2, "evaluate_every": 0, "sample_every": 0, "device": "cpu", "tensorboard": False,
}  # fmt: skip


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., mmgan.Run]:
    """Make a run; with ``train`` it is trained too, with ``keep`` it has the folder ``run``."""

    def make(train: bool = False, keep: bool = False, **settings: object) -> mmgan.Run:
        plugins = mmgan.Plugins()
        flags = SMALL | settings
        config = mmgan.resolve(plugins.task("seqgan").Config, "seqgan", flags=flags, environment={})
        run = mmgan.new_run(config, plugins, tmp_path / "run" if keep else None)
        if train:
            mmgan.train(run)
        return run

    return make


@pytest.fixture
def rhymes(tmp_path: Path) -> Path:
    """A file of 60 short texts."""
    file = tmp_path / "rhymes.txt"
    animals, ends = ("cat", "dog", "cow", "hen", "pig"), ("sat", "ran", "ate", "sang")
    lines = [f"the {one} {end} by the {other}" for one in animals for other in animals[:3] for end in ends]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file
