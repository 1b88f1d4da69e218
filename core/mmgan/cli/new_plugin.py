"""``mmgan new-plugin``: a starter package, which can be installed, trained and tested at once."""

from __future__ import annotations

import importlib.util
import re
import shlex
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from mmgan import __version__
from mmgan.cli.options import UserPath
from mmgan.cli.output import emit_paths, say
from mmgan.cli.session import Session
from mmgan.errors import UsageError

KINDS = ("image", "audio", "text", "pairs")


@click.command("new-plugin", short_help="Write a package with a GAN of your own.")
@click.argument("name", metavar="NAME")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default=KINDS[0],
    show_default=True,
    help="What it learns: images, sounds, texts, or to turn images into others.",
)
@click.option("--out", type=UserPath(), metavar="FOLDER", help="A new folder; by default NAME.")
@click.pass_obj
def command(session: Session, name: str, kind: str, out: Path | None) -> None:
    """Write a package with a small GAN that works, as the start of your own.

    It has networks and a game, a README, tests and a workflow that runs them. It trains on data that is
    embedded in mmgan or in the package itself.

    On stdout: the files, one a line.
    """
    check_name(session, name)
    folder = out or Path(name)
    if folder.exists() or folder.is_symlink():
        raise UsageError(
            f"{str(folder)!r} exists already; nothing is overwritten.",
            hint="Choose another --out." if out else "--out FOLDER chooses another place.",
        )
    written = write(folder, name, kind)
    quoted = shlex.quote(str(folder))
    say(f"a plugin for {kind} data, in {folder}")
    say(f"next: pip install -e {quoted}")
    say(f"      mmgan run --plugin {name}")
    say(f"      pytest {quoted}")
    emit_paths(written)


def check_name(session: Session, name: str) -> None:
    """Find out whether a plugin may have this name.

    Raises:
        UsageError: It can't name a package, or another plugin, task or module has the name.
    """
    if not re.fullmatch(r"[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?", name):
        raise UsageError(
            f"A plugin can't have the name {name!r}: it takes letters, digits, - and _, first a letter and "
            "last none of - and _.",
            hint="mmgan new-plugin my-gan",
        )
    plugins = session.plugins
    taken = [plugin.package or plugin.name for plugin in plugins.found if plugin.name == name]
    taken += [plugins.tasks[name].plugin] if name in plugins.tasks else []
    package = package_of(name)
    if importlib.util.find_spec(package):
        taken.append(f"the module {package}")
    if taken:
        raise UsageError(f"The name {name!r} is taken, by {taken[0]}.", hint="`mmgan plugins` lists them.")


def write(folder: Path, name: str, kind: str) -> list[Path]:
    """Write the package and return its files.

    Args:
        folder: A folder that is not there yet.
        name: The name of the plugin and of its task.
        kind: One of :data:`KINDS`.

    Raises:
        UsageError: The folder can't be made.
    """
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UsageError(
            f"Can't make the folder {str(folder)!r}: {error.strerror}.", hint="Choose another --out."
        ) from None
    package = package_of(name)
    words = {
        "@name@": name,
        "@package@": package,
        "@Class@": class_of(name),
        "@kind@": kind,
        "@version@": __version__,
    }
    templates = files("mmgan") / "templates"
    written = []
    for place, template in sorted({**_common(templates, package), **_own(templates / kind, package)}.items()):
        text = template.read_text(encoding="utf-8")
        for word, meaning in words.items():
            text = text.replace(word, meaning)
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        # "x": no file is overwritten, not even one that was made meanwhile.
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        written.append(path)
    return written


def package_of(name: str) -> str:
    """Return the name of a plugin's package: ``mmgan_my_gan`` for ``my-gan``."""
    return f"mmgan_{name.lower().replace('-', '_')}"


def class_of(name: str) -> str:
    """Return the name of a task's class: ``MyGAN`` for ``my-gan``, ``SketchGAN`` for ``sketch``."""
    words = "".join(word[:1].upper() + word[1:] for word in re.split("[-_]", name))
    return re.sub("(?i)gan$", "", words) + "GAN"


def _common(templates: Traversable, package: str) -> dict[str, Traversable]:
    """Return what all kinds have, by its place in the package's folder."""
    places = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "gitignore": ".gitignore",
        "test.yml": ".github/workflows/test.yml",
        "py.typed": f"{package}/py.typed",
    }
    return {place: templates / f"{name}.txt" for name, place in places.items()}


def _own(templates: Traversable, package: str) -> dict[str, Traversable]:
    """Return what one kind has: modules of the package, and its test."""
    found = {}
    for template in templates.iterdir():
        name = template.name.removesuffix(".txt")
        test = f"tests/test_{package.removeprefix('mmgan_')}.py"
        found[test if name == "test.py" else f"{package}/{name}"] = template
    return found
