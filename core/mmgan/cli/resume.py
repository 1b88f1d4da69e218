"""``mmgan resume``: go on with a run that was interrupted, or make a finished one longer."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from mmgan.cli.going_on import go_on, reopened
from mmgan.cli.options import (
    device_option,
    folder_argument,
    json_option,
    moved_data_option,
    profile_option,
)
from mmgan.cli.session import Session
from mmgan.cli.settings import changed_settings
from mmgan.counting import counted
from mmgan.errors import UsageError


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

    session: Session = context.obj
    given = {name: value for name, value in (("steps", steps), ("device", device)) if value is not None}
    if data is not None:
        given["data"] = absolute(data, session.plugins)
    changes = changed_settings(folder, session.plugins, settings, given)
    with reopened(folder, session.plugins, changes, data is not None) as run:
        if run.step >= run.config.steps:
            asked = "" if steps is None else f", and --steps {steps} asks for no more"
            raise UsageError(
                f"The run in {str(folder)!r} has done {counted(run.step, 'step')} already{asked}.",
                hint=f"To train on: mmgan resume {shlex.quote(str(folder))} --steps {2 * run.step}",
            )
        context.exit(go_on(run, folder, as_json, profile))
