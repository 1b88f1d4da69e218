"""What the listeners' tests share: a small game whose scores and failures are scripted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from torch import Tensor
from toys import Games, Stopper, Toy, toy_run

import mmgan
from mmgan import Run, Samples
from mmgan.plugins import Plugins


class Words(Samples):
    """The cheapest samples there are."""

    suffix = ".txt"

    def __init__(self, values: Tensor) -> None:
        self.text = " ".join(f"{value:.6f}" for value in values.flatten().tolist())

    def __len__(self) -> int:
        return 1

    def save(self, path: Path) -> None:
        path.write_text(self.text)

    def save_each(self, folder: Path) -> list[Path]:
        raise NotImplementedError

    def to_tensorboard(self, writer: Any, tag: str, step: int) -> None:
        writer.add_text(tag, self.text, step)


class Scripted(Toy):
    """Scores by the step; what a loss does at a step may be replaced."""

    best_score = "distance"
    scores: ClassVar[dict[int, float]] = {}
    surprises: ClassVar[dict[int, Callable[[Tensor], Tensor]]] = {}

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        surprise = self.surprises.get(self.run.step + 1, lambda loss: loss)
        return {name: surprise(loss) for name, loss in super().loss(phase, batch, shared).items()}

    def sample(self, n: int) -> Samples:
        return Words(self.run.players["G"].sampler(self.latents(2)))

    def evaluate(self, n: int) -> dict[str, float]:
        return {"distance": self.scores.get(self.run.step, 1.0), "other": 2.0}


class Kit:
    """Makes runs of the scripted game in one folder, and opens them again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.task = type("Game", (Scripted,), {"scores": {}, "surprises": {}})

    def new(self, *extra: Any, **settings: Any) -> Run:
        settings = {"steps": 20, "log_every": 5, "sample_every": 0, "checkpoint_every": 0} | settings
        return toy_run("toy", self.folder, *extra, task=self.task, **settings)

    def resume(self, *extra: Any, which: str = "last", **changes: Any) -> Run:
        plugins = Plugins(Games(), *extra, installed=False)
        plugins.tasks["toy"].thing = self.task
        return mmgan.load_run(self.folder, plugins, which, changes)

    def stop(self, run: Run, at: int, signal: int = 2) -> None:
        run.plugins.attach([Stopper(at, signal)])


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing to disk is most of what these tests would wait for, and none looks at it."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(tmp_path / "run")
