"""A run: the state of one training. Its task, its players, its device and its place in the data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmgan import building, inference, meter, rolling_back
from mmgan.backend import nonfinite
from mmgan.backend.device import Device
from mmgan.backend.precision import Precision, differentiate
from mmgan.backend.ranks import FINISH, ROLL_BACK, Ranks
from mmgan.config import Config
from mmgan.data import opening
from mmgan.data.info import DataInfo
from mmgan.data.loader import Loader
from mmgan.errors import UsageError
from mmgan.helpers import Fill, helper
from mmgan.keeping import Kept, keep
from mmgan.meter import Around, Meter, unmeasured
from mmgan.players import Weights, rebuild
from mmgan.plugins import Plugins
from mmgan.stages import batch_size_of
from mmgan.storage import changing, state
from mmgan.storage.folder import read_settings
from mmgan.storage.lock import FolderLock
from mmgan.storage.records import RollBack
from mmgan.task import Player, Stage, Task

__all__ = ["Run", "read_settings"]


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

    # Of a run that is only sampled from, by :mod:`mmgan.generator`: may several threads at once; who may now.
    reentrant = False
    turn: AbstractContextManager[Any] = nullcontext()
    #: How many samples a sample file shows.
    sample_count = 64
    #: Whether ``Task.build`` is done, ``Task.data`` is under way, steps are played.
    is_built = data_opens = is_playing = False
    # Built by `set_up`.
    config: Config
    saved: dict[str, Any]
    device: Device
    precision: Precision
    finite: nonfinite.FiniteWatch
    task: Task[Any]
    players: dict[str, Player]
    stepper: Any  # Its ``step`` plays a step: the task's, or on a GPU that of graphs of it.
    #: Networks that are never trained; what fills in their weights; digests of these.
    helpers: dict[str, nn.Module]
    helper_loads: dict[str, Fill | None]
    helper_digests: dict[str, str]
    #: What moves in training beside weights, by name.
    kept: dict[str, Kept]
    stages: tuple[Stage, ...]
    #: Which weights a player trains, and which are frozen meanwhile.
    trained: Weights
    opponents: Weights
    #: The options with which each player's optimizer was built.
    options: dict[str, list[dict[str, Any]]]
    randomness: dict[str, Any]
    position: dict[str, Any]
    #: The stage and the phase that were played last, the step's index in the stage, and how many of the
    #: stages the task has begun.
    stage: Stage | None
    phase: str
    stage_step: int
    entered: int

    def __init__(
        self,
        task_class: type[Task],
        config: Config,
        plugins: Plugins,
        ranks: Ranks,
        folder: Path | None,
        saved: dict[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
        known: DataInfo | None = None,
    ) -> None:
        self.task_class = task_class
        self.known = known  # What is known of the data, if anything: `data_info` opens it.
        self.progress = progress
        self.plugins = plugins
        self.folder = folder
        self.ranks = ranks
        self.hook = self.ranks.hooks(plugins.hook)
        self.step = self.taken = self.stop_signal = 0
        self.seconds = self.waited = 0.0
        self.finish_reason = ""
        #: A roll-back that will be done after the present step, and all that were.
        self.roll_back_request: rolling_back.Request | None = None
        self.roll_backs: list[RollBack] = []
        self.meter = Meter(self)
        #: Entered around each part of a step, with its name and its phase; see :data:`mmgan.meter.Around`.
        self.part: Around = unmeasured
        #: The settings that differ from those of the checkpoint that was loaded: (before, now) by name.
        self.changed: changing.Changes = {}
        self.data_moved = False  # Whether ``data`` names a new place of the same data, which is then checked.
        #: The lock on the folder, while this process trains in it.
        self.lock: FolderLock | None = None
        self._dataset: Any = None
        self._loader: Loader | None = None
        self.feed: Iterator[Any] | None = None  # Gives the batches instead of the loader, if it is there.
        self.saved_by = self.ranks.world
        self.set_up(config, saved)

    def set_up(self, config: Config, saved: dict[str, Any] | None = None) -> None:
        """Build device, precision, task and players by these settings, as in a new run."""
        building.build(self, config, saved)

    # What tasks use.

    def grad(self, function: nn.Module | Callable[[Tensor], Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``function(inputs)`` and its gradient by ``inputs``: what penalties are made of.

        The gradient is float32, can be differentiated again, and is safe under every precision.

        Args:
            function: A critic; each output may depend on its own sample only.
            inputs: (batch, …), requiring gradients.
        """
        return differentiate(self.precision, function, inputs, compiled=self.config.compile is True)

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

    def registered(self, table: str, name: str, kind: str = "") -> Any:
        """Return what ``register_losses`` (table "losses") or the like was given as ``name``, of ``kind``."""
        entries = getattr(self.plugins, table)
        entries = self.plugins.of_kind(entries, kind) if kind else entries
        return self.plugins.lookup(entries, name, table).load()

    data_info = property(building.data_info)
    generator = property(inference.generator)

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
            self._loader = building.open_loader(self)
        return self._loader

    def check_finite(self) -> None:
        """Wait for the device, and raise a DivergedError if a loss or a gradient was NaN or infinite."""
        self.finite.check()
        if self.precision.scales:
            for name in self.players:
                nonfinite.check_scale(name, self.precision.scaler(name).get_scale())

    def next_batch(self) -> Any:
        """Return the next batch, on the device, and count the time that was waited for it."""
        if self.feed is not None:
            return next(self.feed)
        with self.part("data", ""):
            start = time.perf_counter()
            batch = next(self.loader)
            self.waited += time.perf_counter() - start
            self.taken += self.batch_size
            return self.device.move(batch)

    log = meter.log
    helper = helper
    keep = keep
    rebuild = rebuild
    batch_size = property(batch_size_of)

    def finish(self, reason: str) -> None:
        """End training after the present step, on all ranks, as finished; ``status.json`` says why."""
        self.finish_reason, self.stop_signal = reason, self.stop_signal or FINISH

    roll_back = rolling_back.roll_back
    best = property(rolling_back.best)

    @property
    def asked(self) -> int:
        """What this rank asks of all before the next step: a signal's number, ROLL_BACK, FINISH, or 0."""
        return max(self.stop_signal, ROLL_BACK if self.roll_back_request else 0)

    order_seed = property(rolling_back.order_seed)

    # What is asked of it beside training: computed aside, so that training is not disturbed.

    sample = inference.sample
    sample_chunks = inference.sample_chunks
    interpolate = inference.interpolate
    evaluate = inference.evaluate
    examples = inference.examples
    aside = inference.aside

    # Saving and loading.

    @property
    def checkpoints(self) -> Path:
        """The folder of the run's checkpoints, where the run has a folder."""
        if self.folder is None:
            raise UsageError("This run has no folder to keep checkpoints in.", hint="new_run(…, folder=…)")
        return self.folder / "checkpoints"

    save = state.save
    load = state.load
    weights = state.weights_of
    state_dict = state.state_dict
    own_state = state.own_state

    def close(self) -> None:
        """Stop the loader's worker processes."""
        if self._loader is not None:
            self._loader.close()
