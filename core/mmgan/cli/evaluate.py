"""``mmgan evaluate``: score what a run has learned against its data."""

from __future__ import annotations

from pathlib import Path

import click

from mmgan.cli.options import (
    checkpoint_option,
    device_option,
    folder_argument,
    json_option,
    moved_data_option,
)
from mmgan.cli.output import emit, emit_json, say, table
from mmgan.cli.session import Session
from mmgan.cli.training import preparing


@click.command("evaluate", short_help="Score what a run has learned.")
@folder_argument
@click.option(
    "-n", "count", type=click.IntRange(1), metavar="N", help="How many samples; by default the task's choice."
)
@moved_data_option
@checkpoint_option
@device_option
@json_option
@click.pass_obj
def command(
    session: Session,
    folder: Path,
    count: int | None,
    data: str | None,
    checkpoint: str,
    device: str | None,
    as_json: bool,
) -> None:
    """Score samples of the run in DIR against its data.

    On stdout: a line `name value` for each score. Those for which there are too few examples are listed
    on stderr.
    """
    from mmgan.data.opening import absolute
    from mmgan.opening import load_run

    changes = {"device": device} if device else {}
    if data is not None:
        changes["data"] = absolute(data, session.plugins)
    run = load_run(folder, session.plugins, checkpoint, changes)
    with preparing() as run.progress:
        scores = run.evaluate(count or 0)
    if as_json:
        emit_json({"step": run.step, "scores": scores, "missing": getattr(scores, "missing", {})})
    else:
        say(f"{run.config.plugin} at step {run.step}")
        emit(table([(name, f"{value:.6g}") for name, value in scores.items()]))
