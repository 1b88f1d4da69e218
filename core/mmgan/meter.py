"""The speed of training, and the means of its losses between two logs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgan.task import Stage

if TYPE_CHECKING:
    from mmgan.run import Run

#: What ``after_log`` tells beside the losses.
METER = ("stage", "seconds", "steps_per_s", "samples_per_s", "data_wait")


class Meter:
    """Measures speed, and averages losses between two logs without waiting for the device."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.pending: list[Mapping[str, Tensor]] = []
        self.mark = run.seconds
        run.waited, run.batches = 0.0, 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time a step; sampling, evaluating and saving are not part of it."""
        start = time.perf_counter()
        yield
        self.run.seconds += time.perf_counter() - start

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Remember a step's losses, as tensors."""
        self.pending.append(losses)

    def read(self, stage: Stage) -> dict[str, Any]:
        """Return mean losses and speed since the last call. Synchronises with the device."""
        start = time.perf_counter()
        names = dict.fromkeys(name for losses in self.pending for name in losses)
        means = {
            name: torch.stack([losses[name].float() for losses in self.pending if name in losses]).mean()
            for name in names
        }
        metrics: dict[str, Any] = {name: float(mean) for name, mean in means.items()}
        # The steps queued on a GPU end here, so the wait for them is theirs.
        self.run.seconds += time.perf_counter() - start
        elapsed = max(self.run.seconds - self.mark, 1e-9)
        steps = len(self.pending)
        metrics |= {
            "stage": stage.name,
            "seconds": self.run.seconds,
            "steps_per_s": steps / elapsed,
            "samples_per_s": self.run.batches * self.run.config.batch_size * self.run.ranks.world / elapsed,
            "data_wait": self.run.waited / elapsed,
        }
        self.pending, self.mark = [], self.run.seconds
        self.run.waited, self.run.batches = 0.0, 0
        return metrics
