"""``mmgan sample``: generate with what a run has learned."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmgan.cli import folders
from mmgan.cli.options import UserPath, checkpoint_option, device_option, folder_argument, sampling_option
from mmgan.cli.output import emit, emit_paths, say
from mmgan.cli.session import Session
from mmgan.cli.settings import sampling_settings
from mmgan.errors import UsageError

if TYPE_CHECKING:
    from mmgan.samples import Samples


@click.command("sample", short_help="Generate with what a run has learned.")
@folder_argument
@click.option(
    "-n", "count", type=click.IntRange(1), default=64, show_default=True, metavar="N", help="How many."
)
@click.option("--out", type=UserPath(), metavar="FOLDER", help="A new folder; by default DIR/generated/001.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), metavar="S", help="Another seed: other samples.")
@click.option("--prompt", default="", metavar="TEXT", help="Begin each text with this.")
@click.option("--interpolate", is_flag=True, help="Walk through latent space instead.")
@sampling_option
@checkpoint_option
@device_option
@click.pass_obj
def command(
    session: Session,
    folder: Path,
    count: int,
    out: Path | None,
    seed: int | None,
    prompt: str,
    interpolate: bool,
    settings: tuple[str, ...],
    checkpoint: str,
    device: str | None,
) -> None:
    """Generate samples with the run in DIR: a file for each, and one that shows them all.

    On stdout: the files, one a line. Where samples are texts and no --out is given: the texts themselves,
    one a line, and no files. The same seed gives the same samples.
    """
    from mmgan.run import load_run

    if prompt and interpolate:
        raise UsageError("A walk takes no prompt.", hint="Leave out --prompt or --interpolate.")
    if out is not None:
        folders.check_new(out, "Choose another --out, or leave it out for a new numbered folder.")
    changes = sampling_settings(folder, session.plugins, settings)
    if device:
        changes["device"] = device
    run = load_run(folder, session.plugins, checkpoint, changes)
    samples = run.interpolate(count, seed) if interpolate else run.sample(count, seed, prompt)
    what = f"{len(samples)} samples of {run.config.plugin} at step {run.step}"
    lines = samples.lines()
    if lines is not None and out is None and not interpolate:
        say(what)
        emit("\n".join(lines))
        return
    place = folders.numbered(folder / "generated") if out is None else contextlib.nullcontext(out)
    with place as target:
        target.mkdir(parents=True, exist_ok=True)
        if interpolate:
            try:
                files = samples.save_walk(target)
            except NotImplementedError:
                raise UsageError(f"The samples of {run.config.plugin} can't be shown as a walk.") from None
        else:
            files = _save(samples, target)
    say(f"{what}, in {target}")
    emit_paths(files)


def _save(samples: Samples, folder: Path) -> list[Path]:
    """Write a file for each sample, one that shows them all, and its picture if there is one."""
    together = folder / f"samples{samples.suffix}"
    samples.save(together)
    files = [*samples.save_each(folder), together]
    picture = samples.picture()
    if picture is not None:
        files.append(together.with_suffix(".png"))
        picture.save(files[-1])
    return files
