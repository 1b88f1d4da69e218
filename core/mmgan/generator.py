"""A generator: what a run has learned, without the run.

    g = mmgan.load("runs/dcgan-001")
    g.sample(16, seed=3, label="cat", truncation=0.7)
    g(g.latents(16, seed=3))
    for chunk in g.stream(100_000): ...

It has no optimizer and no discriminator, needs no data, calls no listener, and draws from no generator of
random numbers but its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from mmgan import inference, opening
from mmgan.backend import randomness
from mmgan.conditions import conditions
from mmgan.errors import UsageError

if TYPE_CHECKING:
    from mmgan.config import Config
    from mmgan.data.info import DataInfo
    from mmgan.plugins import Plugins
    from mmgan.run import Run
    from mmgan.samples import Samples
    from mmgan.task import Task

__all__ = ["Generator", "load"]

T = TypeVar("T")


class Generator:
    """What a run has learned. :func:`mmgan.load` makes one.

    Several threads may use it at once, and get what each would get alone. Where the task says that it is
    :attr:`~mmgan.Task.reentrant` they work side by side, otherwise one after the other.

    Attributes:
        task: The task, with the networks that sampling needs.
        config: The settings of the run.
        step: The step of the checkpoint.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.task: Task[Any] = run.task
        self.config: Config = run.config
        self.step = run.step

    def __repr__(self) -> str:
        return f"<Generator of {self.config.plugin} at step {self.step:,} on {self._run.device.torch}>"

    @property
    def data_info(self) -> DataInfo:
        """What is known of the data that it was trained on: its shape, its classes' names."""
        info: DataInfo = self._run.data_info
        return info

    def sample(
        self,
        n: int,
        seed: int | None = None,
        prompt: str = "",
        label: Any = None,
        truncation: float | None = None,
        **asked: Any,
    ) -> Samples:
        """Generate ``n`` samples. The same seed gives the same ones, whatever else is sampled.

        Args:
            n: How many.
            seed: By default one that follows from the run's seed.
            prompt: What each shall begin with, where the task takes it.
            label: A class, by its name or number, or n of them. None, where the task takes labels: all
                classes, one after the other.
            truncation: In (0, 1]: how far latents may lie from their mean, for samples that are more typical
                and less varied.
            asked: Other conditions that the task takes.

        Raises:
            UsageError: Something is asked for that the task does not take, or there is no such class.
        """
        return inference.sample(self._run, n, seed, prompt, label=label, truncation=truncation, **asked)

    def stream(
        self,
        n: int,
        seed: int | None = None,
        prompt: str = "",
        label: Any = None,
        truncation: float | None = None,
        **asked: Any,
    ) -> Iterator[Samples]:
        """Generate what :meth:`sample` does in chunks of little memory, each when it is asked for."""
        return inference.sample_chunks(
            self._run, n, seed, prompt, label=label, truncation=truncation, **asked
        )

    def interpolate(
        self, n: int, seed: int | None = None, label: Any = None, truncation: float | None = None
    ) -> Samples:
        """Generate ``n`` samples along a walk through latent space, of one class; see :meth:`sample`."""
        return inference.interpolate(self._run, n, seed, label=label, truncation=truncation)

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        """Draw the latents that :meth:`sample` turns into samples: (n, latent), on the device.

        Raises:
            UsageError: The task does not turn latents into samples.
        """
        latents: Tensor = self.aside(lambda: self._latent_task.latents(n), seed)
        return latents

    def __call__(self, latents: Tensor, label: Any = None) -> Tensor:
        """Turn latents into pictures or sounds, as the networks give them: float32, (n, …), on the device.

        Args:
            latents: float (n, latent).
            label: As for :meth:`sample`.

        Raises:
            UsageError: The task does not turn latents into samples, or these are not latents.
        """
        task = self._latent_task
        expected = task.latents(0).shape[1]
        if not isinstance(latents, Tensor) or latents.ndim != 2 or latents.shape[1] != expected:
            what = tuple(latents.shape) if isinstance(latents, Tensor) else type(latents).__name__
            raise UsageError(
                f"Latents of {self.config.plugin} are a tensor (n, {expected}), and not {what}.",
                hint="g.latents(n) draws some.",
            )
        given = conditions(self._run, len(latents), {"label": label})
        moved = latents.to(self._run.device.torch, torch.float32)
        examples: Tensor = self.aside(lambda: task.generate(moved, *given.values()))
        return examples

    def aside(self, work: Callable[[], T], seed: int | None = None) -> T:
        """Call ``work`` without gradients, with randomness of this seed, and return what it returns.

        For plugins that use a task's networks in other ways.
        """
        return inference.aside(self._run, work, seed)

    @property
    def _latent_task(self) -> Any:
        if not (hasattr(self.task, "latents") and hasattr(self.task, "generate")):
            raise UsageError(
                f"{self.config.plugin} does not turn latents into samples.", hint="g.sample(n) samples it."
            )
        return self.task


def load(
    folder: str | Path,
    which: str | int = "last",
    *,
    device: str = "",
    plugins: Plugins | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Generator:
    """Load what a run has learned.

    Args:
        folder: The run's folder.
        which: Which checkpoint: "last", "best", or a step.
        device: Where to compute, such as "cpu"; by default where the run was trained.
        plugins: By default all that are installed.
        settings: Settings that only sampling reads, such as ``{"temperature": 0.7}``.

    Raises:
        CheckpointError: This is not a run's folder, or it holds no whole checkpoint.
        MmganError: Its plugin or device is missing, or a setting can't be.
    """
    changes = {**(settings or {}), **({"device": device} if device else {})}
    # Building networks seeds the process's generators, from which somebody else may be drawing.
    gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    deterministic = torch.are_deterministic_algorithms_enabled()
    with randomness.isolated(0, torch.device("cuda" if gpu else "cpu")):
        run = opening.load_run(Path(folder), plugins, str(which), changes, listening=False)
    randomness.use_deterministic(deterministic)
    keep_what_samples(run)
    return Generator(run)


def keep_what_samples(run: Run) -> None:
    """Free a run of what sampling does not need: optimizers, other players, raw weights beside averages."""
    kept = run.task.sampled_players or tuple(run.players)
    for name, player in run.players.items():
        player.optimizer.state.clear()
        player.optimizer.param_groups.clear()
        player.module.eval()
        if name not in kept or (player.average is not None and run.task.sampled_players):
            # Gone from memory; what uses it all the same gets torch's error about the meta device.
            player.module.to("meta")
    run.trained, run.opponents = {}, {}
    run.reentrant = bool(vars(type(run.task)).get("reentrant"))
    if not run.reentrant:
        run.turn = threading.RLock()
