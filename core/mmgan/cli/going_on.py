"""Going on with a run: by `mmgan resume`, and by `mmgan run --resume` in a job that is started again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgan.cli.output import say
from mmgan.cli.training import is_first, play, preparing, profilers, tell
from mmgan.errors import UsageError

if TYPE_CHECKING:
    from mmgan.config import Config
    from mmgan.engine import Report
    from mmgan.plugins import Plugins
    from mmgan.run import Run
    from mmgan.storage.lock import FolderLock


@contextlib.contextmanager
def reopened(folder: Path, plugins: Plugins, changes: dict[str, Any], data_moved: bool) -> Iterator[Run]:
    """Open a run to train it on, with its folder locked.

    Args:
        folder: The run's.
        plugins: Those that are installed.
        changes: Settings to go on with.
        data_moved: Whether ``data`` in them names the same data at another place, which is then checked.

    Raises:
        CheckpointError: This is not a run's folder, or it holds no whole checkpoint.
        ConfigError: A setting is not allowed, or can't change.
        UsageError: Another process trains in it.
    """
    from mmgan.opening import load_run

    with held(folder) as lock:
        run = load_run(folder, plugins, changes=changes)
        run.lock, run.data_moved = lock, data_moved
        yield run


def go_on(run: Run, folder: Path, as_json: bool, profile: bool) -> int:
    """Train a run that was reopened, and return the exit code."""
    from mmgan.storage import changing

    if run.changed and is_first():
        say(f"changed at step {run.step}: {changing.describe(run.changed)}")
    with preparing() as run.progress:
        run.ranks.rank_zero_first(lambda: run.loader)
    return play(run, folder, as_json, *profilers(profile))


@contextlib.contextmanager
def held(folder: Path) -> Iterator[FolderLock | None]:
    """Lock a run's folder before it is read, so that no other process trains in it meanwhile.

    Raises:
        UsageError: Another process trains in it.
    """
    from mmgan.storage.folder import CONFIG
    from mmgan.storage.lock import FolderLock

    if not is_first() or not (folder / CONFIG).exists():
        yield None
        return
    lock = FolderLock(folder)
    try:
        yield lock
    finally:
        lock.release()


# `mmgan run --resume`. Of several processes rank 0 decides for all.


def refuse_restarts() -> None:
    """Refuse to begin a run that torchrun would begin anew after a failure, in another folder.

    Raises:
        UsageError: torchrun was told to restart.
    """
    restarts = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")
    if restarts != "0":
        raise UsageError(
            f"torchrun --max-restarts {restarts} starts this command again after a failure, and each start "
            "would begin a new run.",
            hint="mmgan run --out DIR --resume goes on with the run in DIR.",
        )


def has_begun(folder: Path) -> bool:
    """Return whether a folder holds a run with a checkpoint.

    What a run has left there that was stopped before its first checkpoint is removed: it begins anew.

    Raises:
        UsageError: Another process trains in it.
    """
    from mmgan.backend import distributed
    from mmgan.storage import checkpoint
    from mmgan.storage.folder import discard

    def look() -> bool:
        if checkpoint.steps(folder / "checkpoints"):
            return True
        discard(folder)
        return False

    return distributed.ranks().broadcast_object(look)


def resumed(config: Config, plugins: Plugins, folder: Path, as_json: bool, profile: bool) -> int:
    """Go on with the run in a folder, unless it is finished, and return the exit code.

    Args:
        config: The settings of the command. Those that were given count; the others are as in the folder.
        plugins: Those that are installed.
        folder: The run's.
        as_json: Print one JSON document instead of the folder.
        profile: Record where some steps spend their time.

    Raises:
        UsageError: It is a run of another plugin.
        CheckpointError, ConfigError: As :func:`reopened`.
    """
    from mmgan.config import to_json
    from mmgan.storage.folder import read_settings

    stored = read_settings(folder, plugins)[1]
    if stored.get("plugin") != config.plugin:
        raise UsageError(
            f"The folder {str(folder)!r} holds a run of {stored.get('plugin')!r}, "
            f"and not of {config.plugin!r}.",
            hint="Choose another --out.",
        )
    changes = {name: value for name, value in to_json(config).items() if name in config.model_fields_set}
    moved = changes.get("data", "") != stored.get("data", "")
    with reopened(folder, plugins, changes, moved) as run:
        if report := run.ranks.broadcast_object(lambda: _finished(run, folder)):
            return tell(run, folder, report, as_json, {})
        return go_on(run, folder, as_json, profile)


def _finished(run: Run, folder: Path) -> Report | None:
    """Return how a run has ended that has nothing left to do; None for any other."""
    from mmgan.engine import Report
    from mmgan.storage.folder import read_status

    status = read_status(folder)
    # A run may end before its last step, by `run.finish`.
    ended = status.state == "finished" and status.steps >= run.config.steps
    if not ended and run.step < run.config.steps:
        return None
    return Report("finished", run.step, status.seconds, reason=status.reason or "")
