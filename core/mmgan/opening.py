"""Making a run, and opening one that was saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mmgan.backend import distributed
from mmgan.config import Config, check, to_toml
from mmgan.errors import CheckpointError, MmganError, line
from mmgan.listeners import default_listeners
from mmgan.plugins import Plugins
from mmgan.plugins.blame import blaming
from mmgan.run import Run
from mmgan.storage import checkpoint, files, fitting
from mmgan.storage.folder import CONFIG, claimed, find_checkpoint, read_settings

#: How often a checkpoint is looked for while a run takes its older ones away.
_TRIES = 100


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
            folder = ranks.broadcast_object(lambda: stack.enter_context(claimed(wanted)))
            plugins.attach(default_listeners(config))

        def build() -> Run:
            task_class = plugins.task(config.plugin)
            with blaming(task_class, config.plugin):
                run = Run(task_class, config, plugins, folder, progress=progress)
            _ = run.loader
            return run

        run = ranks.rank_zero_first(build)
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
            path = ranks.broadcast_object(lambda: find_checkpoint(folder, which))
            return path, checkpoint.load(path)
        except CheckpointError:
            if checkpoint.steps(folder) == present or ranks.world > 1 or which not in ("last", "best"):
                raise
    raise CheckpointError(
        f"The checkpoints in {str(folder)!r} are taken away faster than they can be read.",
        hint="The run that trains there may keep more: --set keep=10.",
    )
