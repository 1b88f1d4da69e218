"""A run: the state of one training. Its task, its players, its device and its place in the data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from mmgan import inference
from mmgan.backend import distributed, nonfinite, randomness
from mmgan.backend.choosing import device_for, precision_for
from mmgan.backend.precision import DTYPES, differentiate
from mmgan.backend.ranks import FINISH
from mmgan.config import Config
from mmgan.data import opening
from mmgan.data.loader import Loader
from mmgan.errors import PluginError, UsageError
from mmgan.meter import METER, Around, Meter, unmeasured
from mmgan.players import opposing_weights, prepare, rebuild, trained_weights
from mmgan.plugins import Plugins
from mmgan.plugins.blame import blaming
from mmgan.samples import Samples
from mmgan.storage import changing, checkpoint, rank_state, state
from mmgan.storage.folder import read_settings
from mmgan.storage.lock import FolderLock
from mmgan.task import Player, Stage, Task, check_stages

__all__ = ["Run", "read_settings"]

T = TypeVar("T")


class Run:
    """One training run, ready to be trained, sampled from or evaluated.

    Use :func:`mmgan.new_run` or :func:`mmgan.load_run`. Plugins read these:

    Attributes:
        task, config, device, precision, folder: What the run is.
        players: The task's players by name.
        step: Steps done.
        seconds: Time spent in steps.
        hook: Calls a hook of every plugin.
        ranks: The processes that train this run together: ``ranks.rank`` of ``ranks.world``.
        stop_signal: Set it to a signal's number, and training stops after the present step.
        saved: What ``task.state_dict`` gave when the run was saved, where it was opened from a checkpoint; an
            empty dict in a new one. A task whose networks have sizes that it found in its data (a vocabulary)
            reads them here in ``build``; afterwards it is empty.
    """

    #: How many samples a sample file shows.
    sample_count = 64
    data_may_open = False  # Not in ``Task.build``, nor once more in ``Task.data``.
    _loader: Loader | None = None

    def __init__(
        self,
        task_class: type[Task],
        config: Config,
        plugins: Plugins,
        folder: Path | None,
        saved: dict[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.config = config
        self.saved = saved or {}
        self.progress = progress
        self.plugins = plugins
        self.folder = folder
        self.ranks = distributed.ranks()
        self.hook = self.ranks.hooks(plugins.hook)
        self.step = self.batches = self.stop_signal = 0
        self.seconds = self.waited = 0.0
        self.finish_reason = ""
        self.meter = Meter(self)
        #: Entered around each part of a step, with its name and its phase; see :data:`mmgan.meter.Around`.
        self.part: Around = unmeasured
        #: The settings that differ from those of the checkpoint that was loaded: (before, now) by name.
        self.changed: changing.Changes = {}
        self.data_moved = False  # Whether ``data`` names a new place of the same data, which is then checked.
        #: The lock on the folder, while this process trains in it.
        self.lock: FolderLock | None = None

        randomness.seed_everything(config.seed)
        self.device = self.ranks.device_for_rank(device_for(config, plugins, self.hook))
        self.precision = precision_for(config, plugins, self.hook, self.device)
        self.finite = nonfinite.FiniteWatch(self.device.torch, self.precision.scales)
        randomness.use_deterministic(config.deterministic)
        if config.precision == "auto" and self.precision.name in DTYPES:
            # Kept with the run, so that a resume elsewhere does not compute in another precision unasked.
            self.config = config = config.model_copy(update={"precision": self.precision.name})

        self.task = task_class(config)
        self.task.run = self
        if config.evaluate_every:
            inference.need_metrics(self)
        self.players: dict[str, Player] = dict(self.task.build())
        self.stages = tuple(self.task.stages)
        check_stages(self.task, self.stages, self.players)
        for name, player in self.players.items():
            prepare(self, name, player)
        #: Which weights a player trains, and which are frozen meanwhile.
        self.trained = trained_weights(self.players)
        self.opponents = opposing_weights(self.trained)
        self.options = {name: changing.options_of(player.optimizer) for name, player in self.players.items()}
        self.position: dict[str, Any] = {}
        self.randomness = randomness.get_state(self.device.torch)
        if self.ranks.rank:
            # The networks began alike on all ranks; from here on each draws latents of its own.
            self.randomness = rank_state.rank_randomness(config.seed, 0, self.ranks.rank, self.device.torch)
        self.is_playing, self.data_may_open = False, True
        self.stage: Stage | None = None  # The stage and the phase that were played last.
        self.phase = ""
        self.stage_step = self.entered = 0  # The step's index in it; how many the task has begun.
        self.saved_by = self.ranks.world

    # What tasks use.

    def grad(self, function: nn.Module | Callable[[Tensor], Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``function(inputs)`` and its gradient by ``inputs``: what penalties are made of.

        The gradient is float32, can be differentiated again, and is safe under every precision.

        Args:
            function: A critic; each output may depend on its own sample only.
            inputs: (batch, …), requiring gradients.
        """
        return differentiate(self.precision, function, inputs)

    def open_data(self, *kinds: str) -> Any:
        """Open what ``--data`` names: a registered data set of one of these kinds, or a folder or file."""
        return opening.open_source(self.config, self.plugins, kinds, self.folder if self.step else None)

    def settings(self, name: str) -> Any:
        """Return a plugin's own settings: an instance of the model that it gave ``register_settings``."""
        return self.plugins.settings_in(self.config, name)

    def metrics(self, kind: str) -> dict[str, Any]:
        """Return the registered metrics of a kind, by name: ours and every plugin's."""
        found = self.plugins.of_kind(self.plugins.metrics, kind).items()
        return {name: entry.load() for name, entry in found}

    # What the engine uses.

    @property
    def dataset(self) -> Any:
        """What ``task.data()`` returned, opened when first needed: sampling needs none."""
        return self.loader.dataset

    @property
    def data_is_open(self) -> bool:
        """Whether the data is at hand. What samples show beside the generated must not open it."""
        return self._loader is not None

    @property
    def loader(self) -> Loader:
        """The endless stream of batches."""
        if self._loader is None:
            # Aside, since the data may be opened in the middle of training, after a resume.
            with (
                opening.once(self),
                randomness.isolated(self.config.seed, self.device.torch),
                blaming(type(self.task), self.config.plugin),
            ):
                dataset = self.task.data()
            cuda = self.device.type == "cuda"
            self._loader = opening.open_loader(dataset, self.config, self.ranks, pin_memory=cuda)
            if self.position:
                opening.check_same(self.config.data, dataset, self.position, self.data_moved)
                self._loader.load_state_dict(self.position)
        return self._loader

    def check_finite(self) -> None:
        """Wait for the device, and raise a DivergedError if a loss or a gradient was NaN or infinite."""
        self.finite.check()
        if self.precision.scales:
            for name in self.players:
                nonfinite.check_scale(name, self.precision.scaler(name).get_scale())

    def next_batch(self) -> Any:
        """Return the next batch, on the device, and count the time that was waited for it."""
        with self.part("data", ""):
            start = time.perf_counter()
            batch = next(self.loader)
            self.waited += time.perf_counter() - start
            self.batches += 1
            return self.device.move(batch)

    def log(self, name: str, value: Tensor | float) -> None:
        """Log a number or a scalar that is not a loss: ``after_log`` has its mean, over the ranks too."""
        if name in METER:
            raise PluginError(f"run.log can't take the name {name!r}: it is the engine's own.")
        self.meter.log(name, value)

    def rebuild(self, name: str, player: Player) -> None:
        """Replace a player, in ``Task.begin_stage``: a network has grown.

        The new one is prepared as all are, and has rank 0's weights on every rank. Its moving average goes on
        where names and shapes of weights are the same; its optimizer begins anew.
        """
        rebuild(self, name, player)

    def finish(self, reason: str) -> None:
        """End training after the present step, on all ranks, as finished; ``status.json`` says why."""
        self.finish_reason, self.stop_signal = reason, self.stop_signal or FINISH

    # What is asked of it beside training: computed aside, so that training is not disturbed.

    def sample(self, n: int, seed: int | None = None, prompt: str = "") -> Samples:
        """Generate ``n`` samples. The same seed gives the same latents.

        Args:
            n: How many.
            seed: By default one that follows from the run's seed.
            prompt: What each sample shall begin with.

        Raises:
            UsageError: There is a prompt, and the task takes none.
        """
        return inference.sample(self, n, seed, prompt)

    def sample_chunks(self, n: int, seed: int | None = None, prompt: str = "") -> Iterator[Samples]:
        """Generate what :meth:`sample` does chunk by chunk, so that not all of it is in memory at once.

        A chunk is computed when it is asked for; in between nothing of the run is changed.
        """
        return inference.sample_chunks(self, n, seed, prompt)

    def interpolate(self, n: int, seed: int | None = None) -> Samples:
        """Generate ``n`` samples along a walk through latent space, where the task has one."""
        return inference.interpolate(self, n, seed)

    def evaluate(self, n: int = 0) -> dict[str, float]:
        """Score ``n`` samples by the task's metrics; 0 lets the task choose.

        Returns:
            The scores; of a task of ours with a dict ``missing``: names of scores that can't be had, each
            with the reason, mostly that there are too few examples. A warning names them too.

        Raises:
            UsageError: The task has no metrics.
            DataError: No score can be had.
        """
        return inference.evaluate(self, n)

    def aside(self, work: Callable[[], T], seed: int) -> T:
        """Call ``work`` once, in float32, in eval mode, without gradients, and return what it returns.

        Args:
            work: Samples or evaluates.
            seed: The same seed gives the same randomness, which is not that of training.
        """
        return inference.aside(self, work, seed)

    # Saving and loading.

    @property
    def checkpoints(self) -> Path:
        """The folder of the run's checkpoints, where the run has a folder."""
        if self.folder is None:
            raise UsageError("This run has no folder to keep checkpoints in.", hint="new_run(…, folder=…)")
        return self.folder / "checkpoints"

    def save(self) -> Path:
        """Write a checkpoint of the present step, and return its path.

        Raises:
            DivergedError: Something in the run is NaN or infinite; nothing was written.
            UsageError: Several processes train, and it is not rank 0 that saves.
            CheckpointError: The disk refused it.
        """
        return state.save(self)

    def load(self, path: Path, loaded: checkpoint.Loaded | None = None) -> None:
        """Put the run back to where a checkpoint was taken; ``loaded`` is what is in it, if it was read.

        Raises:
            CheckpointError: The checkpoint is torn, altered, or of another task or other settings.
        """
        state.load(self, path, loaded)

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """Return the state dict of every network: ``G``, ``D``, and ``G.average`` for a moving average."""
        return state.weights_of(self)

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the weights that the run's future depends on."""
        return state.state_dict(self)

    def own_state(self) -> dict[str, Any]:
        """Return the part of :meth:`state_dict` that each of several ranks has for itself, on the CPU."""
        return state.own_state(self)

    def close(self) -> None:
        """Stop the loader's worker processes."""
        if self._loader is not None:
            self._loader.close()
