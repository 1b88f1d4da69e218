"""``mmgan sample``: generate with what a run has learned."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmgan.cli import folders
from mmgan.cli.options import UserPath, checkpoint_option, device_option, folder_argument, sampling_option
from mmgan.cli.output import emit, emit_paths, say
from mmgan.cli.session import Session
from mmgan.cli.settings import sampling_settings
from mmgan.counting import counted, some
from mmgan.errors import UsageError

if TYPE_CHECKING:
    from mmgan.samples import Samples


@click.command("sample", short_help="Generate with what a run has learned.")
@folder_argument
@click.option(
    "-n", "count", type=click.IntRange(1), default=64, show_default=True, metavar="N", help="How many."
)
@click.option("--out", type=UserPath(), metavar="FOLDER", help="A new folder; by default DIR/generated/001.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), metavar="S", help="Seed of the samples.")
@click.option("--prompt", default="", metavar="TEXT", help="Begin each text with this.")
@click.option("--label", metavar="NAME", help="Sample this class only, by name or number.")
@click.option(
    "--truncation",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="PSI",
    help="Below 1: more typical and less varied samples.",
)
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
    label: str | None,
    truncation: float | None,
    interpolate: bool,
    settings: tuple[str, ...],
    checkpoint: str,
    device: str | None,
) -> None:
    """Generate samples with the run in DIR: a file for each, and one that shows them together (at most the
    first 1,024 pictures or 256 sounds).

    On stdout: the files, one a line, as they are written. Texts are printed themselves, one a line, unless
    --out is given. The same seed gives the same samples.

    A run that has learned classes gives samples of all of them, or of the one that --label names. The name of
    each file ends in its class, and the grid has a row for each class.
    """
    from mmgan.generator import load

    if prompt and interpolate:
        raise UsageError("A walk takes no prompt.", hint="Leave out --prompt or --interpolate.")
    if out is not None:
        folders.check_new(out, "Choose another --out, or leave it out for a new numbered folder.")
    changes = sampling_settings(folder, session.plugins, settings)
    generator = load(folder, checkpoint, device=device, plugins=session.plugins, **changes)
    name = generator.plugin
    if interpolate:
        chunks = iter([generator.interpolate(count, seed, label, truncation)])
    else:
        chunks = generator.stream(count, seed, prompt, label, truncation)
    # Before the folder is made, so that an error leaves none behind.
    first = next(chunks)
    chunks = itertools.chain([first], chunks)
    printed = out is None and not interpolate and first.lines() is not None
    if printed:
        done, where = _print(chunks), ""
    else:
        with folders.numbered(folder / "generated") if out is None else folders.made(out) as target:
            done = _save_walk(first, target, name) if interpolate else _save(chunks, target)
        where = f", in {target}"
    say(f"{counted(done, 'sample')} of {name} at step {generator.step}{where}")


def _print(chunks: Iterable[Samples]) -> int:
    """Print the lines of samples that are texts, as they come, and return how many there were."""
    done = 0
    for samples in chunks:
        emit("\n".join(samples.lines() or []))
        done += len(samples)
    return done


def _save(chunks: Iterable[Samples], folder: Path) -> int:
    """Write a file for each sample, as they come, and one that shows them together, with its drawing if any.

    Returns:
        How many samples there were.
    """
    from mmgan.storage.files import fresh

    done, together = 0, None
    for samples in chunks:
        _list(samples.save_each(folder))
        done += len(samples)
        together = samples if together is None else together.with_more(samples)
    assert together is not None
    path = folder / f"samples{together.suffix}"
    with fresh(path) as partial:
        together.save(partial)
    _list([path])
    picture = together.picture()
    if picture is not None:
        with fresh(path.with_suffix(".png")) as partial:
            picture.save(partial, format="PNG")
        _list([path.with_suffix(".png")])
    if together.shown < done:
        say(f"{path.name} shows the first {together.shown:,}")
    if len(classes := list(dict.fromkeys(together.labels or []))) > 1:
        say(f"classes, in this order: {some(classes, 20)}")
    return done


def _save_walk(samples: Samples, folder: Path, plugin: str) -> int:
    """Write a walk, and return how many samples it has.

    Raises:
        UsageError: Samples of this kind have no walk.
    """
    try:
        _list(samples.save_walk(folder))
    except NotImplementedError:
        raise UsageError(f"The samples of {plugin} can't be shown as a walk.") from None
    return len(samples)


def _list(paths: Sequence[Path]) -> None:
    if paths:
        emit_paths(paths)
