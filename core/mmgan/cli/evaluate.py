"""``mmgan evaluate``: score what a run has learned against its data."""

from __future__ import annotations

from pathlib import Path

import click

from mmgan.cli.memory import keep_freed_memory
from mmgan.cli.options import (
    checkpoint_option,
    device_option,
    folder_argument,
    json_option,
    moved_data_option,
)
from mmgan.cli.output import emit, emit_json, say, table
from mmgan.cli.session import Session
from mmgan.cli.settings import sampling_settings
from mmgan.cli.training import preparing


@click.command("evaluate", short_help="Score what a run has learned.")
@folder_argument
@click.option(
    "-n", "count", type=click.IntRange(1), metavar="N", help="How many samples; by default the task's choice."
)
@moved_data_option
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting that only sampling or evaluating reads, such as features; may be repeated.",
)
@checkpoint_option
@device_option
@json_option
@click.pass_obj
def command(
    session: Session,
    folder: Path,
    count: int | None,
    data: str | None,
    settings: tuple[str, ...],
    checkpoint: str,
    device: str | None,
    as_json: bool,
) -> None:
    """Score samples of the run in DIR against its data.

    On stdout: a line `name value` for each score. Those for which there are too few examples are listed
    on stderr, and what the others say in words.
    """
    from mmgan.data.opening import absolute
    from mmgan.opening import load_run

    changes = sampling_settings(folder, session.plugins, settings, evaluates=True)
    if device:
        changes["device"] = device
    if data is not None:
        changes["data"] = absolute(data, session.plugins)
    run = load_run(folder, session.plugins, checkpoint, changes)
    if run.device.type == "cpu":
        keep_freed_memory()
    with preparing("evaluating") as run.progress:
        scores = run.evaluate(count or 0)
    # A task of anybody's may return a plain dict.
    missing, words = getattr(scores, "missing", {}), getattr(scores, "words", [])
    if as_json:
        emit_json({"step": run.step, "scores": scores, "missing": missing, "words": words})
    else:
        say(f"{run.config.plugin} at step {run.step}")
        emit(table([(name, f"{value:.6g}") for name, value in scores.items()]))
        for sentence in words:
            say(sentence)
