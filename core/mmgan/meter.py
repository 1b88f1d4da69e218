"""The speed of training and of its parts, and the means of losses between two logs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgan.errors import PluginError

if TYPE_CHECKING:
    from mmgan.run import Run
    from mmgan.task import Stage

#: The names in ``after_log``'s metrics that are not losses: the stage, and the speed.
METER = ("stage", "seconds", "steps_per_s", "samples_per_s", "data_wait")


#: Given a part of a step and its phase, "" outside of phases, the context that the part is played in. Parts
#: are ``data``, ``forward``, and for each phase ``update``, in which are ``loss``, ``backward``, ``average``.
Around = Callable[[str, str], AbstractContextManager[Any]]
_NOTHING: AbstractContextManager[None] = nullcontext()


def unmeasured(part: str, phase: str) -> AbstractContextManager[None]:
    """Return the context of a part of a step that nobody measures."""
    return _NOTHING


def log(run: Run, name: str, value: Tensor | float) -> None:
    """Log a number or a scalar that is not a loss: ``after_log`` has its mean, over the ranks too."""
    if name in METER:
        raise PluginError(f"run.log can't take the name {name!r}: it is the engine's own.")
    run.meter.log(name, value)


class Meter:
    """Measures speed, and averages losses and logged values without waiting for the device."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.pending: list[Mapping[str, Tensor]] = []
        self.logged: defaultdict[str, list[Tensor | float]] = defaultdict(list)
        self.mark = run.seconds
        run.waited, run.taken = 0.0, 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time a step; sampling, evaluating and saving are not part of it."""
        start = time.perf_counter()
        yield
        self.run.seconds += time.perf_counter() - start

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Remember a step's losses, as tensors."""
        self.pending.append(losses)

    def log(self, name: str, value: Tensor | float) -> None:
        """Remember a value that is not a loss; a tensor is not read before the next log."""
        self.logged[name].append(value.detach() if isinstance(value, Tensor) else value)

    def read(self, stage: Stage) -> dict[str, Any]:
        """Return mean losses and speed since the last call. Synchronises with the device."""
        start = time.perf_counter()
        names = dict.fromkeys(name for losses in self.pending for name in losses)
        means = {
            name: torch.stack([losses[name].float() for losses in self.pending if name in losses]).mean()
            for name in names
        }
        metrics: dict[str, Any] = {name: float(mean) for name, mean in means.items()}
        logged = {name: sum(map(float, values)) / len(values) for name, values in self.logged.items()}
        metrics |= self.run.ranks.mean_of_each(logged)
        self.logged.clear()
        # The steps queued on a GPU end here, so the wait for them is theirs.
        self.run.seconds += time.perf_counter() - start
        elapsed = max(self.run.seconds - self.mark, 1e-9)
        steps = len(self.pending)
        metrics |= {
            "stage": stage.name,
            "seconds": self.run.seconds,
            "steps_per_s": steps / elapsed,
            "samples_per_s": self.run.taken * self.run.ranks.world / elapsed,
            "data_wait": self.run.waited / elapsed,
        }
        self.pending, self.mark = [], self.run.seconds
        self.run.waited, self.run.taken = 0.0, 0
        return metrics
