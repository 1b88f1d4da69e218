"""Making a run, training it in one call, and opening one that was saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, overload

from pydantic import ValidationError

from mmgan import engine
from mmgan.backend import distributed
from mmgan.backend.ranks import Ranks
from mmgan.config import Config, check, resolve, to_toml
from mmgan.data.info import DataInfo
from mmgan.errors import CheckpointError, MmganError, UsageError, line
from mmgan.extras import need
from mmgan.listeners import attach_defaults
from mmgan.plugins import Plugins
from mmgan.plugins.blame import blaming
from mmgan.plugins.settings import without_strangers
from mmgan.run import Run
from mmgan.settings import merged
from mmgan.storage import checkpoint, files, fitting
from mmgan.storage.folder import CONFIG, claimed, find_checkpoint, read_settings
from mmgan.task import Task

#: How often a checkpoint is looked for while a run takes its older ones away.
_TRIES = 100


@overload
def train(what: Run) -> engine.Report: ...
@overload
def train(
    what: type[Task[Any]] | str,
    *,
    plugins: Plugins | Sequence[Any] | None = None,
    folder: str | Path | None = None,
    **settings: Any,
) -> Run: ...
def train(
    what: Run | type[Task[Any]] | str,
    *,
    plugins: Plugins | Sequence[Any] | None = None,
    folder: str | Path | None = None,
    **settings: Any,
) -> engine.Report | Run:
    """Train a run that was made before, and return how it ended; or make a run of a task, and train that.

        run = mmgan.train(MyTask, data="ring", steps=500)
        run = mmgan.train("dcgan", data="./pictures", size=32, folder="runs/first")

    Args:
        what: A run, a task's class, which need not be installed, or the name of an installed task.
        plugins: For a new run: plugin objects to load beside the installed ones, such as listeners, or a
            :class:`mmgan.Plugins`.
        folder: For a new run: as for :func:`new_run`.
        settings: For a new run: those that differ from the defaults. ``MMGAN_…`` variables are not read.

    Raises:
        ConfigError, DataError, PluginError, DivergedError: See their classes.
        UsageError: The folder holds something already, or a run is given together with settings.
    """
    if isinstance(what, Run):
        if settings or plugins is not None or folder is not None:
            raise UsageError("A run that is made has its settings, plugins and folder already.")
        return engine.train(what)
    run = new_run(what, plugins, Path(folder) if folder is not None else None, **settings)
    engine.train(run)
    return run


def new_run(
    config: Config | type[Task[Any]] | str,
    plugins: Plugins | Sequence[Any] | None = None,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Run:
    """Build a run: its folder, its players and its data. An error leaves no folder behind.

    Args:
        config: The resolved settings; or a task's class or name, with ``settings`` that differ from the
            defaults.
        plugins: By default all that are installed; or plugin objects to load beside them.
        folder: A new or empty folder, or None for a run that keeps nothing.
        progress: Told (done, total) while the data is being prepared.
        settings: Where ``config`` is a task.

    Raises:
        ConfigError, DataError, PluginError: See their classes.
        UsageError: The folder holds something already, or TensorBoard is asked for and not installed.
    """
    plugins = plugins if isinstance(plugins, Plugins) else Plugins(*(plugins or ()))
    task_class, config = _settled(config, plugins, settings)
    if folder is not None and config.tensorboard:
        need("tensorboard", "tensorboard", "tensorboard = true", "--set tensorboard=false")
    ranks = distributed.ranks()
    with ExitStack() as stack:
        if folder is not None:
            wanted = folder
            # Of several processes the first one's folder is the run's.
            folder = ranks.broadcast_object(lambda: stack.enter_context(claimed(wanted)))
        attach_defaults(plugins, config, folder)

        def build() -> Run:
            with blaming(task_class, config.plugin):
                run = Run(task_class, config, plugins, ranks, folder, progress=progress)
            _ = run.loader
            return run

        run = ranks.rank_zero_first(build)
        if folder is not None and ranks.rank == 0:
            files.write_text(folder / CONFIG, to_toml(run.config))
    return run


def _settled(
    given: Config | type[Task[Any]] | str, plugins: Plugins, settings: Mapping[str, Any]
) -> tuple[type[Task[Any]], Config]:
    """Return the task and the settings of a new run, whichever way they are given."""
    if isinstance(given, Config):
        if settings:
            raise UsageError(f"{', '.join(settings)}: a whole config has its settings already.")
        return plugins.task(given.plugin), plugins.completed(given)
    name = given if isinstance(given, str) else plugins.add(given)
    task_class: type[Task[Any]] = plugins.task(name)
    return task_class, resolve(plugins.config_class(task_class), name, flags=settings, environment={})


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
    return open_run(folder, plugins or Plugins(), which, changes or {}, distributed.ranks(), progress)


def open_run(
    folder: Path,
    plugins: Plugins,
    which: str,
    changes: Mapping[str, Any],
    ranks: Ranks,
    progress: Callable[[int, int], None] | None = None,
    to_train: bool = True,
) -> Run:
    """Open a run's folder for :func:`load_run`; or not to train: without listeners and optimizers' state."""
    task_class, values = read_settings(folder, plugins)
    config_class = plugins.config_class(task_class)
    values = without_strangers(config_class, values) | _only_new_runs(config_class)
    config = check(config_class, merged(values, changes))
    if to_train:
        attach_defaults(plugins, config, folder, changed=bool(changes))
    path, loaded = _read_checkpoint(folder / "checkpoints", which, ranks, to_train)
    document = loaded[1] if isinstance(loaded[1], dict) else {}
    task_state, known = document.get("task"), _data_info(document, path)
    try:
        with fitting.of_size(loaded[0]):
            run = Run(task_class, config, plugins, ranks, folder, task_state, progress, known)
    except MmganError:
        raise
    # A task builds its networks by a state that may be a stranger's: anything may come of it.
    except Exception as error:
        raise CheckpointError(
            f"The networks of {config.plugin} can't be built by {str(folder / CONFIG)!r} and the checkpoint "
            f"{path.name}: {type(error).__name__}: {line(error)}".rstrip(": "),
            hint="Settings must be those of when the checkpoint was written. -v: the traceback.",
        ) from error
    run.load(path, loaded, to_train)
    return run


def _data_info(document: Mapping[str, Any], path: Path) -> DataInfo | None:
    """Return what a checkpoint knows of the data; None where it is of before that was kept."""
    try:
        return DataInfo.model_validate(document["data_info"]) if "data_info" in document else None
    except ValidationError as error:
        raise CheckpointError(
            f"The checkpoint {path.name} can't be used: its data_info is damaged "
            f"({checkpoint.first_problem(error)}).",
            hint="Remove the checkpoint, which was altered: `mmgan resume` takes the one before.",
        ) from error


def _only_new_runs(config_class: type[Config]) -> dict[str, Any]:
    """Return the defaults of settings that speak to new runs only, whatever the folder says."""
    return {
        name: field.get_default()
        for name, field in config_class.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("only_new_runs")
    }


def _read_checkpoint(
    folder: Path, which: str, ranks: Ranks, to_train: bool
) -> tuple[Path, checkpoint.Loaded]:
    """Find a checkpoint and read it. Where a run that trains has taken it away meanwhile, take the next."""
    for _ in range(_TRIES):
        present = checkpoint.steps(folder)
        try:
            path = ranks.broadcast_object(lambda: find_checkpoint(folder, which))
            return path, checkpoint.load(path, to_train)
        except CheckpointError:
            if checkpoint.steps(folder) == present or ranks.world > 1 or which not in ("last", "best"):
                raise
    raise CheckpointError(
        f"The checkpoints in {str(folder)!r} are taken away faster than they can be read.",
        hint="The run that trains there may keep more: --set keep=10.",
    )
