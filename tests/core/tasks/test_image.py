"""What games on pictures have in common: latents, chunks, walks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn

import mmgan
from mmgan import Player
from mmgan.metrics.scores import Scores
from mmgan.tasks.image import ImageTask


class Grey(ImageTask):
    """One layer; a picture's every pixel is the tanh of its first latent."""

    def build(self) -> dict[str, Player]:
        shape = (self.config.channels, self.config.size, self.config.size)
        linear = nn.Linear(self.config.latent, shape[0] * shape[1] * shape[2], bias=False)
        with torch.no_grad():
            linear.weight.zero_()
            linear.weight[:, 0] = 1
        self.g = nn.Sequential(linear, nn.Unflatten(1, shape), nn.Tanh())
        self.d = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 1))
        nets = {"G": self.g, "D": self.d}
        return {name: Player(net, torch.optim.SGD(net.parameters(), 1e-2)) for name, net in nets.items()}

    def loss(self, phase: str, batch: Any, shared: Any) -> Any:
        raise NotImplementedError


def grey() -> mmgan.Run:
    return mmgan.new_run(
        Grey, data="digits", size=8, channels=1, device="cpu", precision="fp32", tensorboard=False
    )


def test_chunks_are_the_samples_of_one_go(monkeypatch: Any) -> None:
    monkeypatch.setattr(ImageTask, "chunk", 3)
    run = grey()
    together = run.sample(8, seed=2).images
    chunks = list(run.sample_chunks(8, seed=2))
    assert [len(chunk) for chunk in chunks] == [3, 3, 2]
    assert torch.equal(torch.cat([chunk.images for chunk in chunks]), together)


def test_a_walk_is_closed() -> None:
    walk = grey().interpolate(64).images
    assert len(walk) == 64
    steps = (walk[:, 0, 0, 0].roll(-1) - walk[:, 0, 0, 0]).abs()
    assert float(steps.max()) < 0.5


class Counting:
    """A judge that counts, and that lacks something."""

    samples = 300

    def scores(self, pictures: Iterable[torch.Tensor], device: torch.device, progress: Any) -> Scores:
        batches = list(pictures)
        assert {batch.shape[1:] for batch in batches} == {(1, 8, 8)}
        scores = Scores({"judged": sum(map(len, batches))})
        scores.missing["insight"] = "Nobody has it."
        return scores


def test_data_with_a_judge_has_its_scores_too() -> None:
    run = grey()
    plain = run.evaluate(200)
    run.dataset.judge = Counting()
    with pytest.warns(UserWarning, match="insight is left out: Nobody has it"):
        judged = run.evaluate(200)
    # What was scored before is scored as before.
    assert judged == plain | {"judged": 200}
    with pytest.warns(UserWarning, match="insight"):
        assert run.evaluate()["judged"] == Counting.samples
