"""``mmgan resume``: go on with a run that was interrupted, or make a finished one longer."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmgan import hookimpl
from mmgan.cli.options import device_option, folder_argument, json_option, profile_option
from mmgan.cli.session import Session
from mmgan.cli.training import play, preparing, profilers
from mmgan.errors import UsageError

if TYPE_CHECKING:
    from mmgan.run import Run


class KeepSettings:
    """A listener that stores the settings a run is resumed with."""

    # Not before: only now is the folder locked, and no other process trains by its config.toml.
    @hookimpl
    def before_run(self, run: Run) -> None:
        """Store them."""
        from mmgan.checkpoint import write_atomically
        from mmgan.config import to_toml

        if run.folder is not None:
            write_atomically(run.folder / "config.toml", to_toml(run.config))


@click.command("resume", short_help="Go on with a run, or make it longer.")
@folder_argument
@click.option("--steps", type=int, metavar="N", help="A new length of the whole run.")
@device_option
@profile_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    folder: Path,
    steps: int | None,
    device: str | None,
    profile: bool,
    as_json: bool,
) -> None:
    """Go on with the run in DIR from its last checkpoint.

    A run that was stopped and resumed ends as one that never stopped. --steps is the length of the whole run,
    the steps already done included; it and --device are kept in the run's config.toml.
    """
    from mmgan.run import load_run

    session: Session = context.obj
    given = {"steps": steps, "device": device}
    changes = {name: value for name, value in given.items() if value is not None}
    run = load_run(folder, session.plugins, changes=changes)
    if run.step >= run.config.steps:
        asked = "" if steps is None else f", and --steps {steps} asks for no more"
        raise UsageError(
            f"The run in {str(folder)!r} has done {run.step} steps already{asked}.",
            hint=f"To train on: mmgan resume {shlex.quote(str(folder))} --steps {2 * run.step}",
        )
    with preparing() as run.progress:
        run.ranks.in_turn(lambda: run.loader)
    listeners = [*([KeepSettings()] if changes else []), *profilers(profile)]
    context.exit(play(run, folder, as_json, *listeners))
