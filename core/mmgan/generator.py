"""What a run has learned, without the run: sampling from a checkpoint in a program of one's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from mmgan import inference
from mmgan.backend import randomness
from mmgan.backend.ranks import Ranks
from mmgan.conditions import conditions
from mmgan.drawing import Sharing, Truncation
from mmgan.errors import UsageError
from mmgan.opening import open_run
from mmgan.players import networks
from mmgan.plugins import Plugins
from mmgan.samples import Samples

if TYPE_CHECKING:
    from mmgan.config import Config
    from mmgan.data.info import DataInfo
    from mmgan.run import Run
    from mmgan.task import Task

T = TypeVar("T")

#: A class by its name or number, or one for each sample.
Label = str | int | Sequence[str | int]

# Building networks seeds the process's generators, which are put back: not by two threads at once.
_loading = threading.Lock()


def load(
    folder: str | Path,
    which: str | int = "last",
    device: str | None = "auto",
    plugins: Plugins | None = None,
    **changes: Any,
) -> Generator:
    """Open what a run has learned: ``mmgan.load("runs/dcgan-001").sample(16)``.

    The process's random numbers are as before when it returns; what other threads draw meanwhile is not as
    it would be otherwise.

    Args:
        folder: The run's folder; nothing in it is changed. It may be trained on meanwhile.
        which: Which checkpoint: ``last``, ``best``, or a step.
        device: Where to compute; None: as the run did.
        plugins: By default all that are installed, loaded for this generator alone.
        changes: Settings that differ from the run's, such as a task's ``sample_settings``.

    Raises:
        CheckpointError: This is not a run's folder, or it holds no whole checkpoint.
        ConfigError, PluginError: See their classes.
    """
    if device is not None:
        changes = {**changes, "device": device}
    with _loading, randomness.kept():
        run = open_run(Path(folder), plugins or Plugins(), str(which), changes, Ranks(), to_train=False)
        return Generator(run)


class Generator:
    """What a run has learned; :func:`mmgan.load` opens one. It holds no optimizer, no data and no lock on the
    run's folder, and nothing of it is random but by the seeds that it is given.

    Several threads may use it. They sample at once where the task is :attr:`~mmgan.Task.reentrant`, as
    ``dcgan``, ``gan`` and ``wavegan`` are; else one after the other, with the process's random numbers put
    aside meanwhile. A seed gives the samples that it gives :meth:`mmgan.Run.sample`, to the byte.

    Args:
        run: A run that was opened to sample: it can't be trained any more.

    Attributes:
        task: The run's task.
        config: Its settings.
        step: The step of the checkpoint.
        plugin: The name of the task.
        device: Where it computes, a ``torch.device``.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.task: Task[Any] = run.task
        self.config: Config = run.config
        self.step: int = run.step
        self.plugin: str = run.config.plugin
        self.device: torch.device = run.device.torch
        # What a class says of how it samples holds for a subclass only if that says so, too.
        said = vars(type(run.task))
        self._sharing = run.sharing = Sharing(run, bool(said.get("reentrant", False)))
        for network in networks(run):
            network.eval().requires_grad_(False)
        _let_go(run, tuple(said.get("needed_to_sample", ())))

    def __repr__(self) -> str:
        return f"<mmgan.Generator of {self.plugin} at step {self.step} from {str(self._run.folder)!r}>"

    @property
    def data_info(self) -> DataInfo | None:
        """What is known of the data that the run was trained on, such as the names of its classes; None for a
        run of before this was kept.
        """
        return self._run.known

    def sample(
        self,
        n: int,
        seed: int | None = None,
        prompt: str = "",
        label: Label | None = None,
        truncation: float = 1.0,
    ) -> Samples:
        """Generate ``n`` samples; see also :meth:`stream`.

        Args:
            n: How many, at least 1.
            seed: The same seed gives the same samples. By default one that follows from the run's seed.
            prompt: What each sample shall begin with, where the task takes prompts.
            label: A class, or one for each, where the task learns classes; by default all get their share.
            truncation: A factor on the latents, in (0, 1]: less variety, and more typical samples (compare
                Brock et al. 2019); 1: as trained.

        Raises:
            UsageError: The task does not take what is asked for.
        """
        _check_count(n)
        with self._truncated(truncation):
            return inference.sample(self._run, n, seed, prompt, label=label)

    def stream(
        self,
        n: int,
        seed: int | None = None,
        prompt: str = "",
        label: Label | None = None,
        truncation: float = 1.0,
    ) -> Iterator[Samples]:
        """Generate what :meth:`sample` does chunk by chunk, in little memory where the task has chunks.

        A chunk is computed when it is asked for. An iterator is for one thread; each may have its own.
        """
        _check_count(n)
        truncated = self._truncated(truncation)
        return _each(inference.sample_chunks(self._run, n, seed, prompt, label=label), truncated)

    def interpolate(
        self, n: int, seed: int | None = None, label: Label | None = None, truncation: float = 1.0
    ) -> Samples:
        """Generate ``n`` samples along a walk through latent space, where the task has one.

        Args:
            n, seed, label, truncation: As for :meth:`sample`; by default the walk is of the first class.
        """
        _check_count(n)
        with self._truncated(truncation):
            return inference.interpolate(self._run, n, seed, label=label)

    def latents(self, n: int, seed: int | None = None) -> Tensor:
        """Return the latents of ``sample(n, seed)``: (n, latent), on the device.

        Raises:
            UsageError: The task has none.
        """
        _check_count(n)
        self._need("latents")
        latents: Tensor = self._aside(lambda: self._task.latents(n), seed)
        return latents

    @torch.no_grad()
    def __call__(self, latents: Tensor, label: Label | Tensor | None = None) -> Tensor:
        """Turn latents into examples, without gradients.

        Args:
            latents: Real numbers of the shape that :meth:`latents` gives, such as (n, latent).
            label: As for :meth:`sample`, or int64 (n,).

        Returns:
            What the task generates, on the device: pictures (n, channels, size, size) or sounds (n, channels,
            length), float32 in [-1, 1].

        Raises:
            UsageError: The latents have another shape, or the task does not generate from latents.
        """
        self._need("latents", "generate")
        expected = ("n", *self._latent_shape)
        if not isinstance(latents, Tensor) or not latents.is_floating_point():
            what = f"of {latents.dtype}" if isinstance(latents, Tensor) else f"a {type(latents).__name__}"
            raise UsageError(f"Latents are a tensor of real numbers, and not {what}.")
        if latents.ndim != len(expected) or latents.shape[1:] != self._latent_shape or not len(latents):
            raise UsageError(
                f"Latents of the shape {tuple(latents.shape)} don't fit: {self.plugin} takes "
                f"({', '.join(map(str, expected))}), n at least 1.",
                hint="g.latents(n) gives such.",
            )
        asked = {"label": label.tolist() if isinstance(label, Tensor) else label}
        given = conditions(self._run, len(latents), asked)
        moved = latents.to(self.device, torch.float32)
        found: Tensor = self._aside(lambda: self._task.generate(moved, **given), None)
        return found

    def aside(self, work: Callable[[], T], seed: int) -> T:
        """Call ``work``, which uses the task's networks, and return what it returns.

        It may draw from the process's generators, which have this seed and are put back afterwards; no other
        thread samples from this generator meanwhile. See :meth:`mmgan.Run.aside`.
        """
        side = self._sharing.locked(inference.seed_of(self._run, seed))
        with inference.apart(self._run, side):
            return work()

    @property
    def _task(self) -> Any:
        return self.task

    @cached_property
    def _latent_shape(self) -> torch.Size:
        return self.latents(1).shape[1:]

    def _aside(self, work: Callable[[], T], seed: int | None) -> T:
        return inference.aside(self._run, work, inference.SAMPLE_SEED if seed is None else seed)

    def _need(self, *methods: str) -> None:
        for method in methods:
            if not callable(getattr(self.task, method, None)):
                ways = [way for way in ("latents", "generate") if hasattr(self.task, way)]
                raise UsageError(
                    f"{self.plugin} has no {method}.",
                    hint=f"It has {' and '.join(['sample', 'stream', *ways])}.",
                )

    def _truncated(self, psi: float) -> AbstractContextManager[None]:
        if not (isinstance(psi, int | float) and 0 < psi <= 1):
            raise UsageError(f"truncation = {psi!r} is not a number greater than 0, and at most 1.")
        if psi == 1:
            return nullcontext()
        if not callable(getattr(self.task, "truncate", None)):
            raise UsageError(f"{self.plugin} has no latents to truncate.", hint="Leave out the truncation.")
        return Truncation(self._run, psi)


def _each(chunks: Iterator[Samples], truncated: AbstractContextManager[None]) -> Iterator[Samples]:
    while True:
        # Not across the yield: in between the thread may do anything else.
        with truncated:
            samples = next(chunks, None)
        if samples is None:
            return
        yield samples


def _check_count(n: int) -> None:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise UsageError(f"n = {n!r} is not a number of samples, 1 or more.")


def _let_go(run: Run, needed: tuple[str, ...]) -> None:
    """Free the memory of what training alone needs."""
    run.trained, run.opponents, run.options = {}, {}, {}
    for player in run.players.values():
        player.optimizer.state.clear()
        # They hold the weights.
        player.optimizer.param_groups.clear()
    if not needed:
        return
    samplers = [player.sampler for name, player in run.players.items() if name in needed]
    kept = {module for network in (*samplers, *run.helpers.values()) for module in network.modules()}
    for network in networks(run):
        # One that shares a layer with a sampler stays.
        if kept.isdisjoint(network.modules()):
            network.to("meta")
