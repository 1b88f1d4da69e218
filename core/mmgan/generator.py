"""A generator: what a run has learned, without the run.

    g = mmgan.load("runs/dcgan-001")
    g.sample(16, seed=3, label="cat", truncation=0.7)
    g(g.latents(16, seed=3))
    for chunk in g.stream(100_000): ...

It has no optimizer and no discriminator, needs no data, attaches no listener, and draws from no generator of
random numbers but its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from mmgan import inference, opening
from mmgan.backend import randomness
from mmgan.backend.ranks import Ranks
from mmgan.conditions import checked_count, conditions
from mmgan.errors import UsageError
from mmgan.players import networks
from mmgan.plugins import Plugins

if TYPE_CHECKING:
    from mmgan.config import Config
    from mmgan.data.info import DataInfo
    from mmgan.run import Run
    from mmgan.samples import Samples
    from mmgan.task import Task

__all__ = ["Generator", "load"]

T = TypeVar("T")

# Two threads must not put the process's generators back at the same time.
_loading = threading.Lock()


class Generator:
    """What a run has learned. :func:`mmgan.load` makes one.

    Several threads may use it at once, and get what each would get alone. Where the task says that it is
    :attr:`~mmgan.Task.reentrant` they work side by side, otherwise one after the other.

    Attributes:
        task: The task, with the networks that sampling needs.
        config: The settings of the run.
        plugin: The name of the task.
        step: The step of the checkpoint.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.task: Task[Any] = run.task
        self.config: Config = run.config
        self.plugin: str = run.config.plugin
        self.step: int = run.step
        self._turn = threading.RLock()
        # It counts for the class that says so, since a subclass may draw in other ways.
        run.reentrant = bool(vars(type(run.task)).get("reentrant"))
        if not run.reentrant:
            run.turn = self._turn
        keep_what_samples(run)

    def __repr__(self) -> str:
        return f"<mmgan.Generator of {self.plugin} at step {self.step} from {str(self._run.folder)!r}>"

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
        asked = {"label": label, "truncation": truncation, **asked}
        return inference.sample(self._run, checked_count(n), seed, prompt, **asked)

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
        asked = {"label": label, "truncation": truncation, **asked}
        return inference.sample_chunks(self._run, checked_count(n), seed, prompt, **asked)

    def interpolate(
        self, n: int, seed: int | None = None, label: Any = None, truncation: float | None = None
    ) -> Samples:
        """Generate ``n`` samples along a walk through latent space, of one class; see :meth:`sample`."""
        return inference.interpolate(self._run, checked_count(n), seed, label=label, truncation=truncation)

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        """Draw the latents that :meth:`sample` turns into samples: (n, latent), on the device.

        Raises:
            UsageError: The task does not turn latents into samples.
        """
        task = self._with("latents")
        latents: Tensor = inference.aside(self._run, lambda: task.latents(checked_count(n)), seed)
        return latents

    def __call__(self, latents: Tensor, label: Any = None) -> Tensor:
        """Turn latents into pictures or sounds, as the networks give them: float32, (n, …), on the device.

        Args:
            latents: Real numbers, (n, latent).
            label: As for :meth:`sample`, or int64 (n,).

        Raises:
            UsageError: The task does not turn latents into samples, or these are not latents.
        """
        task = self._with("latents", "generate")
        if not isinstance(latents, Tensor) or not latents.is_floating_point():
            what = f"of {latents.dtype}" if isinstance(latents, Tensor) else f"a {type(latents).__name__}"
            raise UsageError(f"Latents are a tensor of real numbers, and not {what}.")
        shape = self.latents(1).shape[1:]
        if latents.shape[1:] != shape or not len(latents):
            raise UsageError(
                f"Latents of the shape {tuple(latents.shape)} don't fit: {self.plugin} takes "
                f"({', '.join(['n', *map(str, shape)])}), n at least 1.",
                hint="g.latents(n) gives such.",
            )
        asked = {"label": label.tolist() if isinstance(label, Tensor) else label}
        given = conditions(self._run, len(latents), asked, task.generate)
        moved = latents.to(self._run.device.torch, torch.float32)
        examples: Tensor = inference.aside(self._run, lambda: task.generate(moved, **given), None)
        return examples

    def aside(self, work: Callable[[], T], seed: int | None = None) -> T:
        """Call ``work``, which uses the task's networks, and return what it returns.

        It may draw from the process's generators, which have this seed meanwhile and are put back; one such
        work is done at a time. For plugins that use networks in other ways than to sample.
        """
        with self._turn:
            return inference.aside(self._run, work, seed, alone=True)

    def _with(self, *methods: str) -> Any:
        """Return the task, which must have these methods."""
        if not all(hasattr(self.task, method) for method in methods):
            raise UsageError(
                f"{self.plugin} does not turn latents into samples.", hint="g.sample(n) samples it."
            )
        return self.task


def load(
    folder: str | Path,
    which: str | int = "last",
    device: str | None = "auto",
    plugins: Plugins | None = None,
    **settings: Any,
) -> Generator:
    """Load what a run has learned.

    The process's random numbers are as before when it returns; what other threads draw meanwhile is not.

    Args:
        folder: The run's folder; nothing in it is changed. It may be trained on meanwhile.
        which: Which checkpoint: "last", "best", or a step.
        device: Where to compute, such as "cpu"; None: as the run did.
        plugins: By default all that are installed.
        settings: Settings that only sampling reads, such as ``temperature=0.7``.

    Raises:
        CheckpointError: This is not a run's folder, or it holds no whole checkpoint.
        MmganError: Its plugin or device is missing, or a setting can't be.
    """
    changes = {**settings, **({"device": device} if device else {})}
    gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    deterministic = torch.are_deterministic_algorithms_enabled()
    # Building networks seeds the process's generators, from which somebody else may be drawing.
    with _loading, randomness.isolated(0, torch.device("cuda" if gpu else "cpu")):
        try:
            run = opening.open_run(
                Path(folder), plugins or Plugins(), str(which), changes, Ranks(), to_train=False
            )
        finally:
            randomness.use_deterministic(deterministic)
    return Generator(run)


def keep_what_samples(run: Run) -> None:
    """Free a run of what sampling does not need: optimizers, other players, raw weights beside averages."""
    for network in networks(run):
        network.eval().requires_grad_(False)
    run.trained, run.opponents, run.options = {}, {}, {}
    for player in run.players.values():
        player.optimizer.state.clear()
        # They hold the weights.
        player.optimizer.param_groups.clear()
    # Like `reentrant`, it counts for the class that says so.
    needed = vars(type(run.task)).get("needed_to_sample", ())
    if not needed:
        return
    samplers = [player.sampler for name, player in run.players.items() if name in needed]
    kept = {layer for network in (*samplers, *run.helpers.values()) for layer in network.modules()}
    for network in networks(run):
        # One that shares a layer with a sampler stays. What uses another one gets torch's error.
        if kept.isdisjoint(network.modules()):
            network.to("meta")
