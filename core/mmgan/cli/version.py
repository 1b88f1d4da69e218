"""``mmgan --version``; with ``-v`` the versions of Python, torch and the plugins too."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib import metadata
from typing import Any

import click

from mmgan import __version__
from mmgan.cli.output import emit, say
from mmgan.cli.session import Session
from mmgan.errors import MmganError


def version_option(session: Session) -> Callable[[Any], Any]:
    """Return the option. It reads ``verbose``, which must be eager, so that the two may come in any order."""

    def show(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
        if asked and not context.resilient_parsing:
            emit(
                "\n".join([f"mmgan {__version__}", *(details(session) if context.params["verbose"] else ())])
            )
            context.exit()

    return click.option(
        "--version",
        is_flag=True,
        expose_value=False,
        callback=show,
        help="Show the version and exit; with -v those of Python, torch and the plugins too.",
    )


def details(session: Session) -> list[str]:
    """Return lines of a name and a version: Python's, torch's, and those of the plugins."""
    lines = [f"python {platform.python_version()}"]
    try:
        lines.append(f"torch {metadata.version('torch')}")
    except metadata.PackageNotFoundError:
        lines.append("torch is not installed")
    try:
        plugins = session.plugins.found
    except MmganError as error:
        say(f"warning: {error.message}")
        return lines
    for plugin in plugins:
        # A plugin that is a single file has no version.
        lines.append(f"{plugin.name} {plugin.version or plugin.package}{' (broken)' if plugin.error else ''}")
    return lines
