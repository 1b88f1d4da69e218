"""The built-in games on a GPU, small, and what the tests in tests/gpu do with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import everything

import mmgan
from mmgan.config import check
from mmgan.engine import play, training
from mmgan.plugins import Plugins

#: SeqGAN's stages end with steps 3 and 7: likelihood, D, the game.
GAMES: dict[str, dict[str, Any]] = {
    "gan": {"plugin": "gan", "data": "ring", "width": 32, "ema": 0.9},
    "gan-labels": {"plugin": "gan", "width": 16, "flip": True, "ema": 0.9, "conditional": True},
    "dcgan": {"plugin": "dcgan", "width": 8, "flip": True, "ema": 0.9},
    "dcgan-labels": {"plugin": "dcgan", "width": 8, "ema": 0.9, "conditional": True},
    "r3gan": {"plugin": "r3gan", "widths": (8, 8, 8, 8), "group": 8, "flip": True, "ema_half_life": 100.0},
    "wavegan": {"plugin": "wavegan", "data": "drums:140", "dim": 2, "critic_steps": 2, "ema": 0.9},
    "wavegan-labels": {
        "plugin": "wavegan", "data": "drums:140", "dim": 2, "critic_steps": 2, "ema": 0.9,
        "conditional": True,
    },
    "seqgan": {
        "plugin": "seqgan", "vocabulary": 30, "length": 6, "hidden": 8, "embedding": 8, "rollouts": 2,
        "lag": 0.5, "mle_steps": 3, "negatives": 8, "pretrain_rounds": 1, "pretrain_epochs": 2, "rounds": 1,
        "epochs": 1,
    },
    "pix2pix": {"plugin": "pix2pix", "width": 4, "d_width": 4, "flip": True, "ema": 0.9},
    # A pool that is full after three steps.
    "cyclegan": {"plugin": "cyclegan", "width": 4, "d_width": 4, "blocks": 1, "pool": 20, "ema": 0.9},
}  # fmt: skip
PRECISIONS = ("fp32", "bf16", "fp16")
#: With what a game is played: every precision, as it is and as CUDA graphs.
WAYS = [
    pytest.param(game, precision, graphs, id=f"{game}-{precision}-graphs-{graphs}")
    for game in GAMES
    for precision in PRECISIONS
    for graphs in ("off", "on")
]


def make(
    game: str, folder: Path | None = None, *listeners: Any, graphs: str = "off", **settings: Any
) -> mmgan.Run:
    """Make a run of a game on the GPU, without samples and evaluations of its own."""
    plugins = Plugins(*listeners)
    wanted: dict[str, Any] = {
        "steps": 1000, "batch_size": 8, "device": "cuda", "precision": "fp32", "tensorboard": False,
        "sample_every": 0, "checkpoint_every": 0, "graphs": graphs,
    } | GAMES[game] | settings  # fmt: skip
    return mmgan.new_run(check(plugins.config_class(wanted["plugin"]), wanted), plugins, folder)


def skip_without_graphs(game: str, graphs: str) -> None:
    """Skip a test that is about graphs where the game does not have them."""
    if graphs == "on" and not has_graphs(game):
        pytest.skip(f"the task of {game} does not say that its steps can be recorded")


def has_graphs(game: str) -> bool:
    """Whether a game's task says that its steps can be recorded as CUDA graphs."""
    # It counts for the class that says so.
    return bool(vars(Plugins().task(GAMES[game]["plugin"])).get("graphs"))


class Losses:
    """A listener that keeps the losses of each step."""

    def __init__(self) -> None:
        self.of_steps: list[dict[str, torch.Tensor]] = []

    @mmgan.hookimpl
    def after_step(self, losses: dict[str, torch.Tensor]) -> None:
        """Keep them, on the GPU."""
        self.of_steps.append(losses)

    def read(self) -> list[dict[str, float]]:
        """Return them as numbers."""
        return [{name: float(value) for name, value in each.items()} for each in self.of_steps]


def play_to(run: mmgan.Run, step: int) -> None:
    """Play a run up to a step, as training does."""
    with training(run):
        play(run, step)


@contextmanager
def no_synchronisation() -> Iterator[None]:
    """Raise where anything waits for the GPU inside this."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@contextmanager
def replays_counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Give a list that gets an item whenever a CUDA graph is replayed inside this."""
    replays: list[int] = []
    replay = torch.cuda.CUDAGraph.replay

    def counted(graph: torch.cuda.CUDAGraph) -> None:
        replays.append(1)
        replay(graph)

    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda.CUDAGraph, "replay", counted)
        yield replays


def assert_same(one: mmgan.Run, other: mmgan.Run) -> None:
    """Assert that two runs are equal to the byte, wherever each keeps its tensors."""
    left, right = everything(one), everything(other)
    assert left.keys() == right.keys()
    assert [key for key in left if not torch.equal(left[key].cpu(), right[key].cpu())] == []
