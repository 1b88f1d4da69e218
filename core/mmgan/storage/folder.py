"""A run's folder: taking a new one, and finding the settings and checkpoints in an old one.

    config.toml                 the settings
    status.json, metrics.jsonl  its progress, and what it measured
    checkpoints/step-000500/    see :mod:`mmgan.storage.checkpoint`
    helpers/NAME.safetensors    networks that are not trained
    samples/, tensorboard/, generated/, profile/

No link in it is followed, neither to read nor to write.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgan.errors import CheckpointError, UsageError
from mmgan.storage import checkpoint, files, lock, records
from mmgan.storage.files import PARTIAL
from mmgan.storage.lock import FolderLock

if TYPE_CHECKING:
    from mmgan.plugins import Plugins
    from mmgan.task import Task

CONFIG, STATUS = "config.toml", "status.json"
#: The folders that a run's folder may have.
FOLDERS = ("checkpoints", "samples", "tensorboard", "generated", "profile", "helpers")


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Take a new or an empty folder for a run; after an error inside this context, restore it as it was.

    Two processes never take the same folder: a process locks it before doing anything else, and only the
    holder of the lock cleans up.

    Raises:
        UsageError: It is not empty, another run has it, or it can't be made.
    """
    hint = "Choose another --out."
    try:
        made, held = _take(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"Can't use {str(folder)!r} as a folder: {reason}.", hint=hint) from None
    try:
        if any(path.name != lock.NAME for path in folder.iterdir()):
            made = False
            again = f" Or continue the run in it: mmgan resume {shlex.quote(str(folder))}"
            raise UsageError(
                f"The folder {str(folder)!r} is not empty, and a run never overwrites another.",
                hint=hint + (again if (folder / CONFIG).exists() else ""),
            )
        try:
            yield folder
        except BaseException:
            if made:
                _remove(folder)
            else:
                clear(folder)
            raise
    finally:
        held.release()


def _take(folder: Path) -> tuple[bool, FolderLock]:
    """Lock a folder, making it if it does not exist. Also returns whether it was made here."""
    while True:
        if os.path.lexists(folder):
            try:
                return False, FolderLock(folder)
            except FileNotFoundError:
                # Unless it is a dangling link, its owner removed it after we had seen it.
                if folder.is_symlink():
                    raise
        elif held := _make(folder):
            return True, held


def _make(folder: Path) -> FolderLock | None:
    """Make a folder that is locked before others can see it; None if another process was first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    hidden = folder.with_name(f"{PARTIAL}{uuid.uuid4().hex}")
    hidden.mkdir()
    held = None
    try:
        held = FolderLock(hidden)
        hidden.rename(folder)
    except BaseException as error:
        if held:
            held.release()
        shutil.rmtree(hidden, ignore_errors=True)
        if isinstance(error, OSError) and os.path.lexists(folder):
            return None
        raise
    return held


def _remove(folder: Path) -> None:
    """Remove a folder that was made here. It is renamed first, so that nobody can lock it meanwhile."""
    with contextlib.suppress(OSError):
        gone = folder.with_name(f"{PARTIAL}{uuid.uuid4().hex}")
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def clear(folder: Path) -> None:
    """Remove the files that a run that never began has written to an empty folder."""
    for name in (lock.NAME, CONFIG):
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    files.sweep(folder)


def discard(folder: Path) -> None:
    """Remove what a run has left that was stopped before its first checkpoint, so that it can begin anew.

    A folder that holds anything else, or a run that has ended by itself, stays as it is.

    Raises:
        UsageError: Another process trains in it, or it can't be written.
    """
    if not folder.is_dir():
        return
    try:
        held = FolderLock(folder)
        try:
            names = {path.name for path in folder.iterdir() if not path.name.startswith(PARTIAL)} - {
                lock.NAME
            }
            of_a_run = CONFIG in names and names <= {CONFIG, STATUS, "metrics.jsonl", *FOLDERS}
            if of_a_run and read_status(folder).state in ("", "running", "failed"):
                for name in names:
                    (folder / name).rename(folder / f"{PARTIAL}{uuid.uuid4().hex}")
            files.sweep(folder)
        finally:
            held.release()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"Can't use {str(folder)!r} as a folder: {reason}.", hint="Choose another --out."
        ) from None


def check(folder: Path) -> None:
    """Refuse a run's folder that has a link where mmgan would write or read.

    Raises:
        CheckpointError: It has one.
    """
    suspects = [folder / name for name in FOLDERS]
    checkpoints = folder / FOLDERS[0]
    if checkpoints.is_dir() and not checkpoints.is_symlink():
        suspects += checkpoints.iterdir()
    for path in suspects:
        if path.is_symlink():
            raise CheckpointError(
                f"{str(path)!r} is a link, and a run's folder must hold its files itself.",
                hint="If you trust it, replace the link by the file or folder that it points to.",
            )


def read_settings(folder: Path, plugins: Plugins) -> tuple[type[Task], dict[str, Any]]:
    """Return the task of a run's folder, and the run's settings as they were written.

    Args:
        folder: The run's folder.
        plugins: Where the task is registered.

    Raises:
        CheckpointError: This is not a run's folder, or its config.toml can't be read.
        PluginError: The task's plugin is missing or broken.
    """
    path = folder / CONFIG
    try:
        values = tomllib.loads(files.read(path, records.SMALL).decode())
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"{str(folder)!r} is not a run's folder: it has no config.toml.",
            hint="`mmgan run` makes one and says where.",
        ) from None
    except OSError as error:
        raise CheckpointError(f"{str(path)!r} can't be read: {error.strerror or error}.") from None
    # A number may have too many digits (ValueError), a list may be nested too deeply (RecursionError).
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{str(path)!r} is not TOML: {error}.") from None
    check(folder)
    return plugins.task(str(values.get("plugin", ""))), values


def find_checkpoint(folder: Path, which: str = "last") -> Path:
    """Return a whole checkpoint: the last, the best, or the one of a step.

    Args:
        folder: The run's ``checkpoints``.
        which: ``last``, ``best``, or a step.

    Raises:
        CheckpointError: There is no such checkpoint; the message says which were skipped, and why.
    """
    present = checkpoint.steps(folder)
    if which == "best":
        best = read_best(folder)
        if not best:
            raise CheckpointError(
                "There is no best checkpoint: the run was never evaluated while it trained.",
                hint="--checkpoint last; or train with --set evaluate_every=500.",
            )
        which = str(best["step"])
    if which != "last":
        if not (which.isascii() and which.isdigit() and len(which) < 20) or int(which) not in present:
            raise CheckpointError(
                f"There is no checkpoint {which!r} in {str(folder)!r}.",
                hint=f"Allowed: last, best, {', '.join(map(str, present)) or 'none yet'}.",
            )
        path = checkpoint.path_of(folder, int(which))
        checkpoint.verify(path)
        return path
    reasons = []
    for name in checkpoint.misnamed(folder):
        print(
            f"warning: {str(folder / name)!r} is not a checkpoint's name. It is passed over.", file=sys.stderr
        )
    for step in reversed(present):
        path = checkpoint.path_of(folder, step)
        try:
            checkpoint.verify(path)
        except CheckpointError as error:
            # A run that trains meanwhile removes its older ones.
            if path.exists():
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
        best = files.read_model(folder / "best.json", records.Best, records.SMALL)
    except (OSError, ValueError):
        return {}
    return best.model_dump(include={"step", "score", "value"})


def read_status(folder: Path) -> records.Status:
    """Return how a run goes or has ended, as its ``status.json`` says; an empty one where there is none."""
    try:
        return files.read_model(folder / STATUS, records.Status, records.SMALL)
    except (OSError, ValueError):
        return records.Status()
