"""Write the parts of the documentation that the code itself says: hooks, settings, losses, public names.

    python docs/generate.py            writes them
    python docs/generate.py --check    writes nothing; names what is out of date and ends with 1

A page's parts stand between ``<!-- generated: NAME -->`` and ``<!-- end -->``; what is around them is written
by hand.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import os
import re
import sys
import tomllib
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click

DOCS = Path(__file__).resolve().parent
if str(DOCS) not in sys.path:
    sys.path.insert(0, str(DOCS))

from api_reference import inline, reference  # noqa: E402

ROOT = DOCS.parent
PART = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
WIDTH = 100


def main(arguments: list[str] | None = None) -> int:
    """Write or check every page; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 if out of date")
    check = parser.parse_args(arguments).check
    stale = [path for path in pages() if path.read_text(encoding="utf-8") != generated(path)]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is out of date' if check else 'written'}", file=sys.stderr)
        if not check:
            path.write_text(generated(path), encoding="utf-8")
    if check and stale:
        print("Run: python docs/generate.py", file=sys.stderr)
    return int(bool(check and stale))


def pages() -> list[Path]:
    """Return every page of the documentation."""
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def generated(path: Path) -> str:
    """Return a page's text with its generated parts as they should be."""
    text = path.read_text(encoding="utf-8")
    return PART.sub(lambda match: f"{match[1]}\n{PARTS[match[2]]()}\n\n{match[3]}", text)


# Hooks.


def hooks() -> str:
    """Return tables of all hooks, one for each group of ``hookspecs.py``."""
    lines: list[str] = []
    for heading, names in hook_groups():
        lines += ["", f"**{heading}**", "", "| hook | when |", "|---|---|"]
        lines += [f"| {in_table(f'`{signature(name)}`')} | {in_table(hook_text(name))} |" for name in names]
    return "\n".join(lines[1:])


def hook_groups() -> Iterator[tuple[str, list[str]]]:
    """Yield the comment above each group of hooks, and the hooks' names, in the file's order."""
    source = (ROOT / "core/mmgan/hookspecs.py").read_text(encoding="utf-8")
    pieces = re.split(r"\n\n\n# (.+)\n\n\n", source)[1:]
    for heading, piece in zip(pieces[::2], pieces[1::2], strict=True):
        yield heading, re.findall(r"^def (\w+)", piece, re.MULTILINE)


def signature(name: str) -> str:
    """Return a hook's signature as it stands in the source."""
    from mmgan import hookspecs

    # Annotations are strings there, which inspect would put in quotes.
    return name + re.sub(r"'([^']*)'", r"\1", str(inspect.signature(getattr(hookspecs, name))))


def hook_text(name: str) -> str:
    """Return a hook's docstring in one line, in Markdown."""
    from mmgan import hookspecs

    return markdown(inspect.getdoc(getattr(hookspecs, name)) or "")


# Commands.


def commands() -> str:
    """Return the help of every command, as click writes it."""
    group, context = command_line()
    parts = [help_of(group, context)]
    for name in group.list_commands(context):
        command = group.commands[name]
        inside = click.Context(command, info_name=name, parent=context)
        parts += [f"## mmgan {name}", help_of(command, inside)]
        for inner, below in (command.commands if isinstance(command, click.Group) else {}).items():
            parts += [
                f"### mmgan {name} {inner}",
                help_of(below, click.Context(below, info_name=inner, parent=inside)),
            ]
    return "\n\n".join(parts)


def help_of(command: click.Command, context: click.Context) -> str:
    """Return a command's help in a block."""
    return f"```text\n{command.get_help(context).rstrip()}\n```"


def command_line() -> tuple[Any, click.Context]:
    """Return the command line, and a context in which its help is so wide."""
    from mmgan.cli import build
    from mmgan.cli.session import Session

    with only_own_plugins():
        group = build(Session())
    settings = {**group.context_settings, "max_content_width": WIDTH, "terminal_width": WIDTH}
    return group, click.Context(group, info_name="mmgan", **settings)


@contextlib.contextmanager
def only_own_plugins() -> Iterator[None]:
    """Load this project's plugins alone, whatever else is installed here."""
    before = os.environ.get("MMGAN_LOAD_PLUGINS")
    os.environ["MMGAN_LOAD_PLUGINS"] = ",".join(own_plugins())
    try:
        yield
    finally:
        del os.environ["MMGAN_LOAD_PLUGINS"]
        if before is not None:
            os.environ["MMGAN_LOAD_PLUGINS"] = before


def own_plugins() -> list[str]:
    """Return the names of the plugins that this project brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return sorted(project["entry-points"]["mmgan"])


def exit_codes() -> str:
    """Return the exit codes, from the exceptions that they come from."""
    from mmgan import errors

    rows = [("0", "", "Done.")]
    found = [value for value in vars(errors).values() if inspect.isclass(value)]
    for error in [value for value in found if issubclass(value, errors.MmganError)]:
        text = {"MmganError": "A run failed: the disk, the memory, or any error that has no class below."}
        sentence = text.get(error.__name__) or markdown((inspect.getdoc(error) or "").splitlines()[0])
        rows.append((str(error.exit_code), f"`{error.code}`", sentence))
    rows.append((str(errors.INTERNAL_BUG), "`internal`", "A bug of mmgan's."))
    rows.append(("129", "`interrupted`", "Stopped by SIGHUP (its terminal or SSH session was closed)."))
    rows.append(("130", "`interrupted`", "Stopped by SIGINT (Ctrl-C)."))
    rows.append(("143", "`interrupted`", "Stopped by SIGTERM (`kill`)."))
    return table(("exit code", "`code` in JSON", "meaning"), rows)


# Settings.


def settings() -> str:
    """Return the settings that every run has, and those of each plugin of this project."""
    from mmgan.config import Config
    from mmgan.plugins import Plugins

    parts = ["### Every plugin", settings_table(Config, None)]
    with only_own_plugins():
        plugins = Plugins()
    for name in own_plugins():
        for task, entry in sorted(plugins.tasks.items()):
            if entry.plugin == name:
                parts += [f"### {task}", settings_table(plugins.task(task).Config, Config)]
    for name, entry in plugins.settings.items():
        parts += [f"### {name}", settings_table(entry.load(), None, f"{name}.")]
    return "\n\n".join(parts)


def settings_table(config: Any, base: Any, prefix: str = "") -> str:
    """Return a table of a config's settings, without those that are as in ``base``."""
    from mmgan.settings import fields_of

    rows = []
    for name, field in fields_of(config, prefix):
        row = (f"`{name}`", default_of(field), in_table(markdown(meaning(field))))
        known = base.model_fields.get(name) if base else None
        if known is None or row[1:] != (default_of(known), in_table(markdown(meaning(known)))):
            rows.append(row)
    return table(("setting", "default", "meaning"), rows)


def default_of(field: Any) -> str:
    """Return a setting's default as TOML would write it."""
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        value = list(value)
    return '`""`' if value == "" else "" if value is None else f"`{value}`"


def meaning(field: Any) -> str:
    """Return a setting's description, and the values that it may have."""
    from mmgan.plugins import Plugins
    from mmgan.plugins.choices import mark_of

    choices = [choice for choice in get_args(field.annotation) if not inspect.isclass(choice)]
    if mark := mark_of(field):
        choices = Plugins(installed=False).names(mark.table, mark.kind)
        return f"{field.description}. One of {', '.join(f'`{choice}`' for choice in choices)}, or a plugin's"
    if get_origin(field.annotation) is Literal:
        return f"{field.description}. One of {', '.join(f'`{choice}`' for choice in choices)}"
    if get_origin(field.annotation) in (Union, types.UnionType):
        return f"{field.description}. May be left unset"
    return str(field.description)


# Losses.


def losses() -> str:
    """Return the adversarial losses and their formulas, from their docstrings."""
    from mmgan.losses import LOSSES

    rows = []
    for name, loss in LOSSES.items():
        cells = (formula(loss.discriminator), formula(loss.generator), inspect.getdoc(type(loss)) or "")
        rows.append((f"`{name}`", *(in_table(markdown(cell.split("\n\n")[0])) for cell in cells)))
    return table(("`loss`", "D minimises", "G minimises", "paper"), rows)


def formula(method: Callable[..., Any]) -> str:
    """Return what a loss's docstring says that it returns."""
    text = " ".join((inspect.getdoc(method) or "").split())
    found = re.match(r"Return (.*?)(, whose .*|: real and fake .*)?\.$", text)
    if not found:
        raise SystemExit(f"{method.__qualname__} does not begin with its formula: {text!r}")
    return found[1]


def penalties() -> str:
    """Return the table of penalties that the function's docstring holds."""
    from mmgan.losses import penalty

    lines = [line for line in (inspect.getdoc(penalty) or "").splitlines() if line.startswith("|")]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    between = "points between real and fake data"
    return table(
        rows[0], [tuple(cell.replace("``interpolate``", between) for cell in row) for row in rows[2:]]
    )


def metrics() -> str:
    """Return the distances between features, with the first sentence about each."""
    from mmgan.metrics.distances import METRICS

    rows = [(f"`{name}_…`", in_table(first_paragraph(metric))) for name, metric in METRICS.items()]
    return table(("score", "what it is"), rows)


def first_paragraph(thing: object) -> str:
    """Return the first paragraph of a docstring, and the second where it says which values are good."""
    paragraphs = (inspect.getdoc(thing) or "").split("\n\n")
    text = [part for part in paragraphs[:2] if "Args:" not in part]
    return markdown(" ".join(text))


# The public names.


def names() -> str:
    """Return the names of ``import mmgan``, with the first sentence about each."""
    import mmgan

    rows = []
    for name in mmgan.__all__:
        value = getattr(mmgan, name)
        text = {
            "INTERFACE": "The version of the plugin interface.",
            "__version__": "The version.",
            "hookimpl": "Marks a function of a plugin as the implementation of a hook.",
        }.get(name) or markdown(inspect.getdoc(value) or "").split("\n\n")[0]
        rows.append((f"`{name}`", in_table(re.match(r".*?[.](?= |$)", text)[0])))  # type: ignore[index]
    return table(("name", "what it is"), rows)


# Markdown.


def markdown(text: str) -> str:
    """Turn a docstring's reStructuredText into one line of Markdown."""
    return inline(" ".join(text.split()))


def in_table(text: str) -> str:
    """Escape what would end a cell."""
    return text.replace("|", r"\|")


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


PARTS: dict[str, Callable[[], str]] = {
    part.__name__.replace("_", "-"): part
    for part in (hooks, commands, exit_codes, settings, losses, penalties, metrics, names, reference)
}

if __name__ == "__main__":
    sys.exit(main())
