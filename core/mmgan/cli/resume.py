"""``mmgan resume``: go on with a run that was interrupted, or make a finished one longer."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmgan.cli.options import (
    device_option,
    folder_argument,
    json_option,
    moved_data_option,
    profile_option,
)
from mmgan.cli.output import say
from mmgan.cli.session import Session
from mmgan.cli.settings import changed_settings
from mmgan.cli.training import is_first, play, preparing, profilers
from mmgan.counting import counted
from mmgan.errors import UsageError

if TYPE_CHECKING:
    from mmgan.storage.lock import FolderLock


@click.command("resume", short_help="Go on with a run, or make it longer.")
@folder_argument
@click.option("--steps", type=int, metavar="N", help="A new length of the whole run.")
@moved_data_option
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting that may change, such as lr; may be repeated.",
)
@device_option
@profile_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    folder: Path,
    steps: int | None,
    data: str | None,
    settings: tuple[str, ...],
    device: str | None,
    profile: bool,
    as_json: bool,
) -> None:
    """Go on with the run in DIR from its last checkpoint.

    A run that was stopped and resumed ends as one that never stopped. --steps is the length of the whole run,
    including the steps already done. Settings given here are kept in the run's config.toml, and every setting
    that differs from the checkpoint's is printed.
    """
    from mmgan.data.opening import absolute
    from mmgan.opening import load_run
    from mmgan.storage import changing

    session: Session = context.obj
    given = {name: value for name, value in (("steps", steps), ("device", device)) if value is not None}
    if data is not None:
        given["data"] = absolute(data, session.plugins)
    changes = changed_settings(folder, session.plugins, settings, given)
    with held(folder) as lock:
        run = load_run(folder, session.plugins, changes=changes)
        run.lock, run.data_moved = lock, data is not None
        if run.step >= run.config.steps:
            asked = "" if steps is None else f", and --steps {steps} asks for no more"
            raise UsageError(
                f"The run in {str(folder)!r} has done {counted(run.step, 'step')} already{asked}.",
                hint=f"To train on: mmgan resume {shlex.quote(str(folder))} --steps {2 * run.step}",
            )
        if run.changed and is_first():
            say(f"changed at step {run.step}: {changing.describe(run.changed)}")
        with preparing() as run.progress:
            run.ranks.rank_zero_first(lambda: run.loader)
        context.exit(play(run, folder, as_json, *profilers(profile)))


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
