"""Discovery of plugins: installed packages, with their names, versions and errors."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from mmgan.errors import PluginError, shown

GROUP = "mmgan"


@dataclass
class Plugin:
    """A plugin that was found: loaded, or broken with the error that says why.

    Args:
        name: The plugin's name.
        version: Its distribution's version; "" for a file.
        package: The distribution that it came with, or its file.
        module: The module or object with its hooks; None if it could not be imported.
        error: Why it is broken; "" if it is not.
        hooks: The names of the hooks that it implements.
        cause: The exception that broke it.
    """

    name: str
    version: str
    package: str
    module: Any = None
    error: str = ""
    hooks: list[str] = field(default_factory=list)
    cause: BaseException | None = field(default=None, repr=False)


def folder_of_environment() -> Path | None:
    """Return the folder of single-file plugins that ``MMGAN_PLUGINS_DIR`` names."""
    folder = os.environ.get("MMGAN_PLUGINS_DIR")
    return Path(os.path.expanduser(folder)) if folder else None


def plugin_of(point: EntryPoint) -> Plugin:
    """Return the plugin of an entry point, before it is imported."""
    distribution = point.dist
    return Plugin(
        point.name,
        distribution.version if distribution else "",
        distribution.name if distribution else "",
    )


def packages() -> list[EntryPoint]:
    """Return the entry points of the installed plugins, or of those that ``MMGAN_LOAD_PLUGINS`` names.

    Raises:
        PluginError: It names one that is not installed.
    """
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    wanted = os.environ.get("MMGAN_LOAD_PLUGINS")
    if wanted is None:
        return points
    names = {name.strip() for name in wanted.split(",") if name.strip()}
    missing = names - {point.name for point in points}
    if missing:
        raise PluginError(
            f"MMGAN_LOAD_PLUGINS names {', '.join(sorted(missing))}, which is not installed.",
            hint=f"Installed: {', '.join(point.name for point in points)}.",
        )
    return [point for point in points if point.name in names]


def check_interface(plugin: Plugin) -> None:
    """Refuse a plugin that is written for a later mmgan.

    Raises:
        PluginError: It needs a later version of the plugin interface.
    """
    from mmgan import INTERFACE, __version__

    wanted = getattr(plugin.module, "mmgan_interface", INTERFACE)
    if not isinstance(wanted, int) or wanted < 1:
        raise PluginError(
            f"Plugin {plugin.name!r} says mmgan_interface = {shown(wanted)}, which is not a version.",
            hint=f"mmgan_interface = {INTERFACE} is the present one.",
        )
    if wanted > INTERFACE:
        raise PluginError(
            f"Plugin {plugin.name!r} is written for version {wanted} of the plugin interface, and mmgan "
            f"{__version__} has version {INTERFACE}: upgrade mmgan.",
            hint="pip install --upgrade mmgan",
        )


def remedy(plugin: Plugin) -> str:
    """Return what to do about a broken plugin."""
    if isinstance(plugin.cause, PluginError) and plugin.cause.hint:
        return plugin.cause.hint
    if isinstance(plugin.cause, ModuleNotFoundError):
        return f"Install what it needs, or remove {plugin.package!r}."
    return f"Fix or remove {plugin.package!r}; -v shows the traceback."
