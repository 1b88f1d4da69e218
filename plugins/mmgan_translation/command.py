"""``mmgan translate``: turn pictures into others with what a run has learned."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from mmgan import DataError, PluginError, UsageError
from mmgan.cli import folders
from mmgan.cli.options import UserPath, checkpoint_option, device_option, sampling_option
from mmgan.cli.output import emit, say
from mmgan.cli.session import Session
from mmgan.cli.settings import sampling_settings
from mmgan.counting import counted
from mmgan.plugins import Plugins

#: Seconds between two lines of progress without a terminal.
_INTERVAL = 5.0


@click.command("translate", short_help="Turn pictures into others with what a run has learned.")
@click.argument("folder", metavar="RUN", type=UserPath())
@click.argument("inputs", metavar="INPUT...", type=UserPath(), nargs=-1, required=True)
@click.option("--out", type=UserPath(), required=True, metavar="FOLDER", help="A new or empty folder.")
@click.option(
    "--direction",
    type=click.Choice(["AtoB", "BtoA"]),
    help="By default AtoB, or the only direction that the run was trained in.",
)
@click.option(
    "--mask",
    type=UserPath(),
    metavar="FILE",
    help="A picture of the input's size, white in the hole; or a folder of masks named as the inputs.",
)
@click.option(
    "--tile",
    type=click.IntRange(1),
    metavar="SIDE",
    help="Side of the overlapping tiles of large pictures; by default 512, or the run's size if larger.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    metavar="S",
    help="Seed of the network's noise, if it has any.",
)
@sampling_option
@checkpoint_option
@device_option
@click.pass_obj
def translate(
    session: Session,
    folder: Path,
    inputs: tuple[Path, ...],
    out: Path,
    direction: str | None,
    mask: Path | None,
    tile: int | None,
    seed: int,
    settings: tuple[str, ...],
    checkpoint: str,
    device: str | None,
) -> None:
    """Translate pictures of any size with the run in RUN, which was trained from pictures to pictures.

    INPUT are pictures, or folders of them with their subfolders. Each becomes a PNG of the same name and size
    below FOLDER; of two results with one name, the later is called NAME-2.png. Unreadable files are skipped.

    On stdout: the files, one a line.
    """
    folders.check_new(out)
    _check_that_it_translates(folder, session.plugins)
    changes = sampling_settings(folder, session.plugins, settings)

    import mmgan
    from mmgan.data.tree import list_skipped
    from mmgan_translation.inputs import Item, Masks, find
    from mmgan_translation.translate import PictureTranslator, translate_all

    items = find(inputs)
    masks = Masks(mask) if mask else None
    generator = mmgan.load(folder, checkpoint, device, session.plugins, **changes)
    translator = PictureTranslator(generator, direction, masks, tile, seed)
    skipped: list[tuple[str, str]] = []

    def skip(item: Item, reason: str) -> None:
        skipped.append((str(item), reason))
        say(f"skipped {list_skipped(skipped[-1:]).partition(': ')[2]}")

    with _progress(len(items)) as progress:
        files = translate_all(translator, items, out, skip, progress)
    if not files:
        raise DataError(
            f"No picture could be translated{list_skipped(skipped)}.",
            hint="INPUT takes pictures that Pillow reads, such as .png or .jpg, and folders of them.",
        )
    name, where = generator.config.plugin, f"in {out}{list_skipped(skipped)}"
    say(
        f"{len(files):,} of {counted(len(items), 'picture')} translated by {name} at step {generator.step}, "
        f"{translator.direction}, {where}"
    )
    emit("\n".join(map(str, files)))


def _check_that_it_translates(folder: Path, plugins: Plugins) -> None:
    """Refuse a run whose task does not translate pictures, before opening the run, which takes longer.

    Raises:
        UsageError: The task does not translate pictures.
    """
    from mmgan.storage.folder import read_settings

    task_class, values = read_settings(folder, plugins)
    if not hasattr(task_class, "translate"):
        raise UsageError(
            f"{values['plugin']} translates no pictures.",
            hint=f"Those that do: {', '.join(_translating(plugins)) or 'none is installed'}.",
        )


def _translating(plugins: Plugins) -> list[str]:
    """Return the names of the tasks that translate pictures. Broken ones are left out."""
    names = []
    for name, entry in sorted(plugins.tasks.items()):
        with contextlib.suppress(PluginError):
            if hasattr(entry.load(), "translate"):
                names.append(name)
    return names


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Yield a progress callback for the number of pictures done: a bar, or a line every few seconds."""
    if not sys.stderr.isatty():
        due = time.monotonic() + _INTERVAL

        def tell(done: int) -> None:
            nonlocal due
            if time.monotonic() >= due and done < total:
                say(f"translated {done:,} of {total:,}")
                due = time.monotonic() + _INTERVAL

        yield tell
        return
    from rich.console import Console
    from rich.progress import Progress

    # Messages appear above the bar, which vanishes at the end.
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        line = bar.add_task("translating", total=total)
        yield lambda done: bar.update(line, completed=done)
