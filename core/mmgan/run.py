"""A run: a task, its config, a device, a precision, and the folder that holds all that it makes."""

from __future__ import annotations

import copy
import hashlib
import os
import shlex
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mmgan.backend import distributed, nonfinite, randomness
from mmgan.backend.device import Device
from mmgan.backend.precision import DTYPES, Precision, differentiate
from mmgan.config import GREATEST, Config, check, to_json, to_toml
from mmgan.counting import counted
from mmgan.data.loader import Loader
from mmgan.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    MmganError,
    PluginError,
    UsageError,
    did_you_mean,
    line,
    shown,
)
from mmgan.listeners import default_listeners
from mmgan.plugins import Plugins
from mmgan.samples import Samples
from mmgan.storage import changing, checkpoint, files, fitting, records
from mmgan.storage.folder import CONFIG, claimed, find_checkpoint, read_best, read_settings
from mmgan.storage.lock import FolderLock
from mmgan.task import Player, Task, stage_at

__all__ = ["Run", "find_checkpoint", "load_run", "new_run", "read_best", "read_settings"]

T = TypeVar("T")

#: Seeds of side work, apart from training's so that neither repeats the other.
_SAMPLE_SEED, _EVALUATE_SEED = 0x5A3E, 0xE7A1
#: How often a checkpoint is looked for while a run takes its older ones away.
_TRIES = 100


class Run:
    """One training run, ready to be trained, sampled from or evaluated.

    Use :func:`new_run` or :func:`load_run`. Plugins read these:

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
        self.step = 0
        self.seconds = 0.0
        self.waited = 0.0
        self.batches = 0
        self.stop_signal = 0
        #: The settings that differ from those of the checkpoint that was loaded: (before, now) by name.
        self.changed: changing.Changes = {}
        #: Whether ``data`` names a new place of the same data, which is then checked.
        self.data_moved = False
        #: The lock on the folder, while this process trains in it.
        self.lock: FolderLock | None = None

        randomness.seed_everything(config.seed)
        self.device = self.ranks.place(self._choose_device())
        self.precision = self._choose_precision()
        self.finite = nonfinite.FiniteWatch(self.device.torch, self.precision.scales)
        torch.use_deterministic_algorithms(config.deterministic)
        if config.deterministic:
            # What cuBLAS needs to repeat itself; it reads this when it is first used. Not run here.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if config.precision == "auto" and self.precision.name in DTYPES:
            # Kept with the run, so that a resume elsewhere does not compute in another precision unasked.
            self.config = config = config.model_copy(update={"precision": self.precision.name})

        self.task = task_class(config)
        self.task.run = self
        if config.evaluate_every:
            self._need_metrics()
        self.players: dict[str, Player] = dict(self.task.build())
        self.stages = tuple(self.task.stages)
        self._check_stages()
        for name, player in self.players.items():
            self.device.prepare(player)
            if config.sync_batch_norm:
                self.ranks.synchronize_batch_norm(player, self.device)
            self.hook.configure_module(run=self, name=name, module=player.module)
            if player.ema > 0:
                player.average = copy.deepcopy(player.module).eval().requires_grad_(False)
        # Which weights a player trains, and which are frozen meanwhile. Weights that two players share are
        # never frozen for either, and those that the task itself froze stay frozen.
        self.trained = {
            name: [p for p in player.module.parameters() if p.requires_grad]
            for name, player in self.players.items()
        }
        self.opponents = {
            name: [
                p
                for other, theirs in self.trained.items()
                if other != name
                for p in theirs
                if all(p is not own for own in self.trained[name])
            ]
            for name in self.players
        }
        self._options = {name: changing.options_of(player.optimizer) for name, player in self.players.items()}
        self._loader: Loader | None = None
        self._position: dict[str, Any] = {}
        self._randomness = randomness.get_state(self.device.torch)
        if self.ranks.rank:
            # The networks began alike on all ranks; from here on each draws latents of its own.
            self._randomness = distributed.rank_randomness(config.seed, 0, self.ranks.rank, self.device.torch)
        self._playing = False
        self._saved_by = self.ranks.world

    def _check_stages(self) -> None:
        """Find what would only show in the middle of training.

        Raises:
            PluginError: A phase is of a player that there is not, or is never played.
            ConfigError: The stages are over before the run is.
        """
        for stage in self.stages:
            for phase in stage.phases:
                where = f"Phase {phase.name!r} of stage {stage.name!r} of {self.config.plugin}"
                if phase.player not in self.players:
                    raise PluginError(
                        f"{where} is of the player {phase.player!r}.",
                        hint=f"Players: {', '.join(self.players)}.",
                    )
                if phase.every < 1 or phase.repeat < 1:
                    raise PluginError(f"{where}: every and repeat must be at least 1.")
        stage_at(self.stages, self.config.steps - 1)

    def _choose_device(self) -> Device:
        if self.config.device in self.plugins.devices:
            chosen: Device = self.plugins.devices[self.config.device].load()(self.config.device)
        else:
            chosen = self.hook.select_device(config=self.config)
        return chosen

    def _choose_precision(self) -> Precision:
        if self.config.precision in self.plugins.precisions:
            chosen: Precision = self.plugins.precisions[self.config.precision].load()(self.device)
        else:
            chosen = self.hook.make_precision(device=self.device, config=self.config)
        return chosen

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
        """Open what ``--data`` names: a registered data set of one of these kinds, or a folder or file.

        Raises:
            DataError: There is no such thing, or it can't be read.
        """
        table = self.plugins.datasets
        name, _, argument = self.config.data.partition(":")
        known = {key: entry for kind in kinds for key, entry in self.plugins.of_kind(table, kind).items()}
        named = {key: entry for key, entry in known.items() if key != "folder"}
        # By os.path, which takes what can be no path for none.
        exists = os.path.exists(self.config.data)
        if name in named:
            if exists:
                warnings.warn(
                    f"data = {name!r} is the data set of that name. For what lies here under it, write "
                    f"./{name}.",
                    stacklevel=2,
                )
            return named[name].load()(argument, self.config)
        if exists and "folder" in known:
            return known["folder"].load()(self.config.data, self.config)
        if self.step and self.folder is not None and os.path.isabs(self.config.data):
            raise DataError(
                f"The data of this run, {self.config.data!r}, is not there any more.",
                hint=f"Where it lies now: mmgan resume {shlex.quote(str(self.folder))} --data PATH; "
                "`mmgan evaluate` takes --data too.",
            )
        other = next((entry.kind for key, entry in table.items() if key == f"{entry.kind}/{name}"), "")
        if other:
            raise DataError(
                f"data = {name!r} holds {other}, and {self.config.plugin} trains on {' or '.join(kinds)}.",
                hint=f"Data sets for it: {', '.join(sorted(named))}; or give a folder.",
            )
        raise DataError(
            f"data = {self.config.data!r} is no folder, no file and no data set. "
            f"{did_you_mean(name, named)}".rstrip(),
            hint=f"Data sets for it: {', '.join(sorted(named)) or 'none'}; or give a folder.",
        )

    def metrics(self, kind: str) -> dict[str, Any]:
        """Return the registered metrics of a kind, by name: ours and every plugin's."""
        return {
            name: entry.load() for name, entry in self.plugins.of_kind(self.plugins.metrics, kind).items()
        }

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
            with randomness.isolated(self.config.seed, self.device.torch):
                dataset = self.task.data()
            self._loader = Loader(
                dataset,
                self.config.batch_size,
                self.config.seed,
                workers=self.config.workers,
                rank=self.ranks.rank,
                world=self.ranks.world,
                pin_memory=self.device.type == "cuda",
            )
            if self._position:
                self._check_data(dataset)
                self._loader.load_state_dict(self._position)
        return self._loader

    def _check_data(self, dataset: Any) -> None:
        """Compare the data with that of the checkpoint: by its content, or by its count where that is all.

        Raises:
            DataError: It is not the same, and was said to have moved only.
        """
        before, now = self._position.get("fingerprint", ""), getattr(dataset, "fingerprint", "")
        counts = self._position.get("examples", len(dataset)), len(dataset)
        if before == now if before and now else counts[0] == counts[1]:
            return
        found = f"{counted(counts[0], 'example')} then, {counts[1]:,} now"
        if self.data_moved:
            raise DataError(
                f"{self.config.data!r} is not the data that this run was trained on ({found}).",
                hint="Give --data the same files at another place. To train on others: --set data=PATH.",
            )
        # Another count is told by the loader.
        if counts[0] == counts[1]:
            warnings.warn(
                "The data has changed since the run was saved: it goes on, but not as if it had not stopped.",
                stacklevel=2,
            )

    def check_finite(self) -> None:
        """Wait for the device, and stop a run that has diverged.

        Raises:
            DivergedError: A loss or a gradient was NaN or infinite.
        """
        self.finite.check()
        if self.precision.scales:
            for name in self.players:
                nonfinite.check_scale(name, self.precision.scaler(name).get_scale())

    def next_batch(self) -> Any:
        """Return the next batch, on the device, and count the time that was waited for it."""
        start = time.perf_counter()
        batch = next(self.loader)
        self.waited += time.perf_counter() - start
        self.batches += 1
        return self.device.move(batch)

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Train inside this: the process draws the run's own randomness, from where the run left it."""
        if self._saved_by != self.ranks.world:
            warnings.warn(
                f"The number of processes that train this run changes from {self._saved_by} to "
                f"{self.ranks.world}: it goes on, but not as if it had never stopped.",
                stacklevel=2,
            )
        averages = [player.average for player in self.players.values() if player.average is not None]
        self.ranks.equalize([*(player.module for player in self.players.values()), *averages])
        randomness.set_state(self._randomness, self.device.torch)
        self._playing = True
        try:
            yield
            # The others stay until rank 0 has saved how it ended.
            self.ranks.meet(self)
        finally:
            self._playing = False
            self._randomness = randomness.get_state(self.device.torch)

    def sample(self, n: int, seed: int | None = None, prompt: str = "") -> Samples:
        """Generate ``n`` samples. The same seed gives the same latents; training is not disturbed.

        Args:
            n: How many.
            seed: By default one that follows from the run's seed.
            prompt: What each sample shall begin with.

        Raises:
            UsageError: There is a prompt, and the task takes none.
        """
        self._check_prompt(prompt)
        return self.aside(
            lambda: self.task.complete(n, prompt) if prompt else self.task.sample(n),
            _SAMPLE_SEED if seed is None else seed,
        )

    def sample_chunks(self, n: int, seed: int | None = None, prompt: str = "") -> Iterator[Samples]:
        """Generate what :meth:`sample` does chunk by chunk, so that not all of it is in memory at once.

        A chunk is computed when it is asked for. In between, and when no more are asked for, nothing of the
        run is changed.

        Raises:
            UsageError: There is a prompt, and the task takes none.
        """
        self._check_prompt(prompt)
        side = self._side(_SAMPLE_SEED if seed is None else seed)
        if _has_own_chunks(type(self.task)):
            return self._one_by_one(iter(self.task.sample_chunks(n, prompt)), n, side)
        return self._one_by_one(Task.sample_chunks(self.task, n, prompt), None, side)

    def _one_by_one(
        self, chunks: Iterator[Samples], n: int | None, side: randomness.Aside
    ) -> Iterator[Samples]:
        """Compute each chunk aside, and tell it which of the ``n`` samples it holds; None: it holds all."""
        done = 0
        while True:
            with self._apart(side):
                samples = next(chunks, None)
            if samples is None:
                return
            if n is not None:
                samples.offset, samples.total = done, n
            done += len(samples)
            yield samples

    def _check_prompt(self, prompt: str) -> None:
        if prompt and type(self.task).complete is Task.complete:
            raise UsageError(f"{self.config.plugin} takes no prompts.")

    def interpolate(self, n: int, seed: int | None = None) -> Samples:
        """Generate ``n`` samples along a walk through latent space.

        Raises:
            UsageError: The task has no latent space to walk through.
        """
        if type(self.task).interpolate is Task.interpolate:
            raise UsageError(f"{self.config.plugin} has no walk through its latent space.")
        return self.aside(lambda: self.task.interpolate(n), _SAMPLE_SEED if seed is None else seed)

    def evaluate(self, n: int = 0) -> dict[str, float]:
        """Score ``n`` samples by the task's metrics; 0 lets the task choose.

        Returns:
            The scores; of a task of ours with a dict ``missing``: names of scores that can't be had, each
            with the reason, mostly that there are too few examples. A warning names them too.

        Raises:
            UsageError: The task has no metrics.
            DataError: No score can be had.
        """
        self._need_metrics()
        scores = self.aside(lambda: self.task.evaluate(n), _EVALUATE_SEED)
        missing: dict[str, str] = getattr(scores, "missing", {})
        if missing and not scores:
            raise DataError(
                f"No score can be had. {' '.join(dict.fromkeys(missing.values()))}",
                hint="Ask for more with -n, or train on more data.",
            )
        for name, reason in missing.items():
            warnings.warn(f"{name} is left out: {reason}", stacklevel=2)
        return scores

    def _need_metrics(self) -> None:
        if type(self.task).evaluate is Task.evaluate:
            raise UsageError(
                f"{self.config.plugin} has no metrics to evaluate.",
                hint="--set evaluate_every=0 trains without.",
            )

    def aside(self, work: Callable[[], T], seed: int) -> T:
        """Sample or evaluate: in float32, in eval mode (running statistics), with randomness of its own.

        Args:
            work: Called once, without gradients; what it returns is returned.
            seed: The same seed gives the same randomness; training is not disturbed.
        """
        with self._apart(self._side(seed)):
            return work()

    def _side(self, seed: int) -> randomness.Aside:
        # Hashed, so that no seed asked for repeats the randomness of training.
        text = f"{seed}/{self.config.seed}".encode()
        own = int.from_bytes(hashlib.blake2b(text, digest_size=4).digest())
        return randomness.Aside(own, self.device.torch)

    @contextmanager
    def _apart(self, side: randomness.Aside) -> Iterator[None]:
        modes = [(m, m.training) for p in self.players.values() for m in p.module.modules()]
        try:
            for module, _ in modes:
                module.training = False
            with side.drawn(), torch.no_grad():
                yield
        finally:
            for module, mode in modes:
                module.training = mode

    # Saving and loading.

    @property
    def checkpoints(self) -> Path:
        """The folder of the run's checkpoints.

        Raises:
            UsageError: The run was made without a folder.
        """
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
        if self.ranks.world > 1 and (self.ranks.rank or not self._playing):
            raise UsageError(
                f"A run of {self.ranks.world} processes is saved by rank 0, and while it trains.",
                hint="checkpoint_every says when; a run is saved when it ends, too.",
            )
        self.check_finite()
        for name, player in self.players.items():
            nonfinite.check_weights(name, player.module, player.optimizer)
            if player.average is not None:
                nonfinite.check_weights(f"{name}.average", player.average)
        state = self.state_dict() | {"settings": changing.settings_of(self.config)}
        if self.ranks.world > 1:
            own = self.own_state()
            state["ranks"] = [
                other | {"task": distributed.difference(other["task"], own["task"])}
                for other in self.ranks.gather(own)
            ]
        self.hook.before_save(run=self, state=state)
        return checkpoint.save(self.checkpoints, self.step, self.weights(), state)

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """Return the state dict of every network: ``G``, ``D``, and ``G.average`` for a moving average."""
        modules = {name: player.module for name, player in self.players.items()}
        averages = {f"{name}.average": p.average for name, p in self.players.items() if p.average is not None}
        return {name: module.state_dict() for name, module in {**modules, **averages}.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the weights that the run's future depends on."""
        return {
            "plugin": self.config.plugin,
            "step": self.step,
            "players": {
                name: {
                    "updates": player.updates,
                    "optimizer": player.optimizer.state_dict(),
                    "options": self._options[name],
                }
                for name, player in self.players.items()
            },
            "scalers": self.precision.state_dict(),
            "data": self._loader.state_dict() if self._loader else self._position,
            "task": self.task.state_dict(),
            "rng": randomness.get_state(self.device.torch) if self._playing else self._randomness,
        }

    def own_state(self) -> dict[str, Any]:
        """Return the part of :meth:`state_dict` that each of several ranks has for itself, on the CPU."""
        state = self.state_dict()
        own: dict[str, Any] = Device("cpu").move({"rng": state["rng"], "task": state["task"]})
        return own

    def load(self, path: Path, loaded: checkpoint.Loaded | None = None) -> None:
        """Put the run back to where a checkpoint was taken.

        Args:
            path: The checkpoint.
            loaded: What is in it, where it was read already.

        Raises:
            CheckpointError: The checkpoint is torn, altered, or of another task or other settings.
        """
        weights, document = loaded or checkpoint.load(path)
        try:
            saved = records.State.model_validate(document)
            if checkpoint.path_of(path.parent, saved.step).name != path.name:
                raise ValueError(f"its state is of step {saved.step}")
            size = saved.settings.get("batch_size", 1)
            if not isinstance(size, int) or not 1 <= size <= GREATEST["batch_size"]:
                raise ValueError(f"it was made with batch_size = {shown(size)}")
            self.changed = changing.find(saved.settings, self.config)
            changing.check(self.changed, self.task.fixed_settings, saved.step)
            self._saved_by = 1 + len(saved.ranks)
            state = distributed.own_part(document, self.ranks, self.config.seed, self.device.torch)
            randomness.check_state(state["rng"], self.device.torch)
            self._load_players(weights, saved)
            self.precision.load_state_dict(state["scalers"])
            self.task.load_state_dict(state["task"])
            self.step = saved.step
            self._position = self._rescaled(state["data"])
            if self._loader is not None:
                self._loader.load_state_dict(self._position)
            self.saved = {}
            self.hook.after_load(run=self, state=state)
        except MmganError:
            raise
        # A state of a stranger's may make a task, a generator or torch raise anything.
        except Exception as error:
            raise self._unfit(path, weights, error) from error
        self._randomness = state["rng"]

    def _load_players(self, weights: Mapping[str, Mapping[str, Tensor]], saved: records.State) -> None:
        """Load weights, moving averages and optimizers.

        Raises:
            ValueError: They do not fit what the task has built.
        """
        expected = self.weights().keys()
        if expected != weights.keys() or self.players.keys() != saved.players.keys():
            raise ValueError(f"it holds the networks {', '.join(weights)}, and not {', '.join(expected)}")
        for name, player in self.players.items():
            own = saved.players[name]
            fitting.load_weights(name, player.module, weights[name])
            if player.average is not None:
                fitting.load_weights(f"{name}.average", player.average, weights[f"{name}.average"])
            player.updates = own.updates
            fitting.load_optimizer(name, player.optimizer, own.optimizer)
            changing.apply_options(player.optimizer, own.options, self._options[name])
            # An option may ask for more than was kept, as momentum does.
            fitting.check_state(name, player.optimizer)

    def _rescaled(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the data's position in batches of the present size."""
        before, now = self.changed.get("batch_size", (1, 1))
        return {**data, "position": data["position"] * before // now} if data else data

    def _unfit(self, path: Path, weights: Mapping[str, Mapping[str, Tensor]], error: Exception) -> MmganError:
        """Say that a checkpoint does not fit, and which changed settings are why."""
        reason = checkpoint.first_problem(error) if isinstance(error, ValidationError) else line(error)
        if self.changed:
            culprits = [key for key in self.changed if not self._would_fit(key, weights)] or [*self.changed]
            told = changing.describe({key: self.changed[key] for key in culprits})
            return ConfigError(
                f"{' and '.join(culprits)} can't change in a run that has begun ({told}): {reason}.",
                hint="Take that back (in its config.toml, or --set), or begin a new run.",
            )
        return CheckpointError(
            f"The checkpoint {str(path)!r} does not fit this task and these settings: {reason}.",
            hint="A run's config.toml must stay as it was when the checkpoint was written.",
        )

    def _would_fit(self, key: str, weights: Mapping[str, Mapping[str, Tensor]]) -> bool:
        """Whether networks built with this one of the changed settings have the shapes of a checkpoint's."""
        try:
            return self._builds_alike(key, weights)
        except Exception:
            # This one alone makes no game, or the plugin can't build it: it may be the reason or not.
            return True

    def _builds_alike(self, key: str, weights: Mapping[str, Mapping[str, Tensor]]) -> bool:
        before = {name: old for name, (old, _) in self.changed.items() if name != key}
        config = check(type(self.config), {**to_json(self.config), **before})
        task = type(self.task)(config)
        task.run = self
        with randomness.isolated(config.seed, self.device.torch):
            players = task.build()
        return all(
            {k: v.shape for k, v in player.module.state_dict().items()}
            == {k: v.shape for k, v in weights.get(name, {}).items()}
            for name, player in players.items()
        )

    def close(self) -> None:
        """Stop the loader's worker processes."""
        if self._loader is not None:
            self._loader.close()


def new_run(
    config: Config,
    plugins: Plugins | None = None,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Build a run: its folder, its players and its data. An error leaves no folder behind.

    Args:
        config: The resolved settings.
        plugins: By default all that are installed.
        folder: A new or empty folder, or None for a run that keeps nothing.
        progress: Told (done, total) while the data is being prepared.

    Raises:
        ConfigError, DataError, PluginError: See their classes.
        UsageError: The folder holds something already.
    """
    plugins = plugins or Plugins()
    plugins.detach()
    ranks = distributed.ranks()
    with ExitStack() as stack:
        if folder is not None:
            wanted = folder
            # Of several processes the first one's folder is the run's.
            folder = ranks.share(lambda: stack.enter_context(claimed(wanted)))
            plugins.attach(default_listeners(config))

        def build() -> Run:
            run = Run(plugins.task(config.plugin), config, plugins, folder, progress=progress)
            _ = run.loader
            return run

        run = ranks.in_turn(build)
        if folder is not None and ranks.rank == 0:
            files.write_text(folder / CONFIG, to_toml(run.config))
    return run


def load_run(
    folder: Path,
    plugins: Plugins | None = None,
    which: str = "last",
    changes: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Open a run's folder at a checkpoint. A torn or altered checkpoint is passed over with a message.

    Args:
        folder: The run's folder.
        plugins: By default all that are installed.
        which: ``last``, ``best``, or a step.
        changes: Settings to go on with, as ``--set`` gives them; kept in the folder once it trains.
        progress: Told (done, total) while the data is being prepared.

    Raises:
        CheckpointError: This is not a run's folder, or it holds no whole checkpoint.
    """
    plugins = plugins or Plugins()
    task_class, values = read_settings(folder, plugins)
    config = check(task_class.Config, {**values, **_only_new_runs(task_class.Config), **(changes or {})})
    plugins.detach()
    plugins.attach(default_listeners(config, changed=bool(changes)))
    path, loaded = _read_checkpoint(folder / "checkpoints", which)
    task_state = loaded[1].get("task") if isinstance(loaded[1], dict) else None
    try:
        with fitting.of_size(loaded[0]):
            run = Run(task_class, config, plugins, folder, task_state, progress)
    except MmganError:
        raise
    # A task builds its networks by a state that may be a stranger's: anything may come of it.
    except Exception as error:
        raise CheckpointError(
            f"The networks of {config.plugin} can't be built by {str(folder / CONFIG)!r} and the checkpoint "
            f"{path.name}: {type(error).__name__}: {line(error)}".rstrip(": "),
            hint="Settings must be those of when the checkpoint was written. -v: the traceback.",
        ) from error
    run.load(path, loaded)
    return run


def _only_new_runs(config_class: type[Config]) -> dict[str, Any]:
    """Return the defaults of settings that speak to new runs only, whatever the folder says."""
    return {
        name: field.get_default()
        for name, field in config_class.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("only_new_runs")
    }


def _read_checkpoint(folder: Path, which: str) -> tuple[Path, checkpoint.Loaded]:
    """Find a checkpoint and read it. Where a run that trains has taken it away meanwhile, take the next."""
    ranks = distributed.ranks()
    for _ in range(_TRIES):
        present = checkpoint.steps(folder)
        try:
            path = ranks.share(lambda: find_checkpoint(folder, which))
            return path, checkpoint.load(path)
        except CheckpointError:
            if checkpoint.steps(folder) == present or ranks.world > 1 or which not in ("last", "best"):
                raise
    raise CheckpointError(
        f"The checkpoints in {str(folder)!r} are taken away faster than they can be read.",
        hint="The run that trains there may keep more: --set keep=10.",
    )


def _has_own_chunks(task_class: type[Task]) -> bool:
    """Whether a task's chunks are of the class that says how it samples, or of a later one."""
    ways = ("sample", "complete", "sample_chunks")
    latest = next(base for base in task_class.__mro__ if any(way in vars(base) for way in ways))
    return "sample_chunks" in vars(latest)
