"""``mmgan sample``: generate with what a run has learned."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from mmgan.cli import folders
from mmgan.cli.options import UserPath, checkpoint_option, device_option, folder_argument
from mmgan.cli.output import emit, say
from mmgan.cli.session import Session
from mmgan.errors import UsageError


@click.command("sample", short_help="Generate with what a run has learned.")
@folder_argument
@click.option(
    "-n", "count", type=click.IntRange(1), default=64, show_default=True, metavar="N", help="How many."
)
@click.option("--out", type=UserPath(), metavar="FOLDER", help="A new folder; by default DIR/generated/001.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), metavar="S", help="Another seed: other samples.")
@click.option("--interpolate", is_flag=True, help="Walk through latent space instead.")
@checkpoint_option
@device_option
@click.pass_obj
def command(
    session: Session,
    folder: Path,
    count: int,
    out: Path | None,
    seed: int | None,
    interpolate: bool,
    checkpoint: str,
    device: str | None,
) -> None:
    """Generate samples with the run in DIR: a file for each, and one that shows them all.

    On stdout: the files, one a line. The same seed gives the same samples.
    """
    from mmgan.run import load_run

    if out is not None:
        folders.check_new(out)
    run = load_run(folder, session.plugins, checkpoint, {"device": device} if device else {})
    samples = run.interpolate(count, seed) if interpolate else run.sample(count, seed)
    place = folders.numbered(folder / "generated") if out is None else contextlib.nullcontext(out)
    with place as target:
        target.mkdir(parents=True, exist_ok=True)
        if interpolate:
            try:
                files = samples.save_walk(target)
            except NotImplementedError:
                raise UsageError(f"The samples of {run.config.plugin} can't be shown as a walk.") from None
        else:
            together = target / f"samples{samples.suffix}"
            samples.save(together)
            files = [*samples.save_each(target), together]
            picture = samples.picture()
            if picture is not None:
                files.append(together.with_suffix(".png"))
                picture.save(files[-1])
    say(f"{len(samples)} samples of {run.config.plugin} at step {run.step}, in {target}")
    emit("\n".join(map(str, files)))
