"""A run: a task, its config, a device, a precision, and the folder that holds all that it makes."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shlex
import shutil
import sys
import time
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mmgan import checkpoint, distributed, finite, rng
from mmgan.config import Config, check, to_toml
from mmgan.data.loader import Loader
from mmgan.device import Device
from mmgan.errors import CheckpointError, DataError, PluginError, UsageError, did_you_mean
from mmgan.listeners import default_listeners
from mmgan.plugins import Plugins
from mmgan.precision import DTYPES, Precision, differentiate
from mmgan.samples import Samples
from mmgan.task import Player, Task, stage_at

T = TypeVar("T")

#: Seeds of side work, apart from training's so that neither repeats the other.
_SAMPLE_SEED, _EVALUATE_SEED = 0x5A3E, 0xE7A1


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

        rng.seed_everything(config.seed)
        self.device = self.ranks.place(self._choose_device())
        self.precision = self._choose_precision()
        self.finite = finite.FiniteWatch(self.device.torch, self.precision.scales)
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
        self._loader: Loader | None = None
        self._position: dict[str, Any] = {}
        self._randomness = rng.get_state(self.device.torch)
        if self.ranks.rank:
            # The networks began alike on all ranks; from here on each draws latents of its own.
            self._randomness = distributed.randomness(config.seed, 0, self.ranks.rank, self.device.torch)
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
            with rng.isolated(self.config.seed, self.device.torch):
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
                self._loader.load_state_dict(self._position)
        return self._loader

    def check_finite(self) -> None:
        """Wait for the device, and stop a run that has diverged.

        Raises:
            DivergedError: A loss or a gradient was NaN or infinite.
        """
        self.finite.check()
        if self.precision.scales:
            for name in self.players:
                finite.check_scale(name, self.precision.scaler(name).get_scale())

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
        rng.set_state(self._randomness, self.device.torch)
        self._playing = True
        try:
            yield
            # The others stay until rank 0 has saved how it ended.
            self.ranks.meet(self)
        finally:
            self._playing = False
            self._randomness = rng.get_state(self.device.torch)

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

    def _one_by_one(self, chunks: Iterator[Samples], n: int | None, side: rng.Aside) -> Iterator[Samples]:
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

    def _side(self, seed: int) -> rng.Aside:
        # Hashed, so that no seed asked for repeats the randomness of training.
        text = f"{seed}/{self.config.seed}".encode()
        own = int.from_bytes(hashlib.blake2b(text, digest_size=4).digest())
        return rng.Aside(own, self.device.torch)

    @contextmanager
    def _apart(self, side: rng.Aside) -> Iterator[None]:
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
            finite.check_weights(name, player.module)
        state = self.state_dict()
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
                name: {"updates": player.updates, "optimizer": player.optimizer.state_dict()}
                for name, player in self.players.items()
            },
            "scalers": self.precision.state_dict(),
            "data": self._loader.state_dict() if self._loader else self._position,
            "task": self.task.state_dict(),
            "rng": rng.get_state(self.device.torch) if self._playing else self._randomness,
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
        weights, state = loaded or checkpoint.load(path)
        try:
            self._saved_by = 1 + len(state.get("ranks", []))
            state = distributed.own_part(state, self.ranks, self.config.seed, self.device.torch)
            for name, player in self.players.items():
                player.module.load_state_dict(weights[name])
                if player.average is not None:
                    player.average.load_state_dict(weights[f"{name}.average"])
                player.updates = state["players"][name]["updates"]
                _load_optimizer(player.optimizer, state["players"][name]["optimizer"])
            self.precision.load_state_dict(state["scalers"])
            self.task.load_state_dict(state["task"])
            self.step = state["step"]
            self._position = state["data"]
            if self._loader is not None:
                self._loader.load_state_dict(self._position)
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"The checkpoint {str(path)!r} does not fit this task and these settings: {error}",
                hint="A run's config.toml must stay as it was when the checkpoint was written.",
            ) from error
        self.saved = {}
        self.hook.after_load(run=self, state=state)
        self._randomness = state["rng"]

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
    made = ranks.rank == 0 and folder is not None and not folder.exists()
    # Of several processes the first one's folder is the run's.
    folder = ranks.share(lambda: _claim(folder) if folder is not None else None)
    if folder is not None:
        plugins.attach(default_listeners(config))

    def build() -> Run:
        run = Run(plugins.task(config.plugin), config, plugins, folder, progress=progress)
        _ = run.loader
        return run

    try:
        run = ranks.in_turn(build)
    except BaseException:
        if made and folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if folder is not None and ranks.rank == 0:
        checkpoint.write_atomically(folder / "config.toml", to_toml(run.config))
    return run


def _claim(folder: Path) -> Path:
    """Make a run's folder, or take one that is empty. At once, so that a wrong one costs no waiting."""
    hint = "Choose another --out."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as error:
        raise UsageError(f"Can't use {str(folder)!r} as a folder: {error.strerror}.", hint=hint) from None
    if used:
        again = f" Or continue the run in it: mmgan resume {shlex.quote(str(folder))}"
        raise UsageError(
            f"The folder {str(folder)!r} is not empty, and a run never overwrites another.",
            hint=hint + (again if (folder / "config.toml").exists() else ""),
        )
    return folder


def read_settings(folder: Path, plugins: Plugins) -> tuple[type[Task], dict[str, Any]]:
    """Return the task of a run's folder, and the run's settings as they were written.

    Raises:
        CheckpointError: This is no run's folder.
        PluginError: The task's plugin is missing or broken.
    """
    try:
        values = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    except OSError:
        raise CheckpointError(
            f"{str(folder)!r} is no run's folder: it has no config.toml.",
            hint="`mmgan run` makes one and says where.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{str(folder / 'config.toml')!r} is not TOML: {error}.") from None
    return plugins.task(str(values.get("plugin", ""))), values


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
        changes: Settings that may change: ``steps``, ``device``, and the task's ``sample_settings``.
        progress: Told (done, total) while the data is being prepared.

    Raises:
        CheckpointError: This is no run's folder, or it holds no whole checkpoint.
    """
    plugins = plugins or Plugins()
    task_class, values = read_settings(folder, plugins)
    config = check(task_class.Config, {**values, **(changes or {})})
    path = distributed.ranks().share(lambda: find_checkpoint(folder / "checkpoints", which))
    plugins.detach()
    plugins.attach(default_listeners(config))
    loaded = checkpoint.load(path)
    run = Run(task_class, config, plugins, folder, loaded[1].get("task"), progress)
    run.load(path, loaded)
    return run


def find_checkpoint(folder: Path, which: str = "last") -> Path:
    """Return a whole checkpoint: the last, the best, or the one of a step.

    Raises:
        CheckpointError: There is none; the message says which were passed over, and why.
    """
    present = checkpoint.steps(folder)
    if which == "best":
        best = read_best(folder)
        if not best:
            raise CheckpointError(
                "No checkpoint is the best one: the run was never evaluated while it trained.",
                hint="--checkpoint last; or train with --set evaluate_every=500.",
            )
        which = str(best["step"])
    if which != "last":
        if not which.isdigit() or int(which) not in present:
            raise CheckpointError(
                f"There is no checkpoint {which!r} in {str(folder)!r}.",
                hint=f"Allowed: last, best, {', '.join(map(str, present)) or 'none yet'}.",
            )
        path = checkpoint.path_of(folder, int(which))
        checkpoint.verify(path)
        return path
    reasons = []
    for step in reversed(present):
        path = checkpoint.path_of(folder, step)
        try:
            checkpoint.verify(path)
        except CheckpointError as error:
            reasons.append(error.message)
            print(f"warning: {error.message} It is passed over.", file=sys.stderr)
            continue
        return path
    raise CheckpointError(
        " ".join(reasons) or f"{str(folder)!r} holds no checkpoint yet.",
        hint="Train again into a new folder: the run's config.toml can be given to --config.",
    )


def read_best(folder: Path) -> dict[str, Any]:
    """Return which checkpoint had the best score: ``{"step", "score", "value"}``, or an empty dict."""
    try:
        best = json.loads((folder / "best.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return best if isinstance(best, dict) else {}


def _has_own_chunks(task_class: type[Task]) -> bool:
    """Whether a task's chunks are of the class that says how it samples, or of a later one."""
    ways = ("sample", "complete", "sample_chunks")
    latest = next(base for base in task_class.__mro__ if any(way in vars(base) for way in ways))
    return "sample_chunks" in vars(latest)


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load an optimizer's state, each tensor in its weight's memory format: fused kernels rely on that."""
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.ndim > 0:
                values[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
