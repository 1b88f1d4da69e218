"""Finding plugins, loading them with a guard, and looking up what they registered.

There is one :class:`Plugins` for a run or a command, and none at module level. A plugin that can't be loaded
never stops the command line: it is kept in :attr:`Plugins.broken`, and raises only when it is asked for.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from mmgan import hookspecs
from mmgan.errors import PluginError, did_you_mean

GROUP = "mmgan"

#: The core's own listeners and defaults: plugins like any other, but always there.
BUILTIN = ("mmgan.builtin",)


@dataclass
class Plugin:
    """A plugin that was found: loaded, or broken with the error that says why."""

    name: str
    version: str
    package: str
    module: Any = None
    error: str = ""
    hooks: list[str] = field(default_factory=list)


@dataclass
class Entry:
    """What a plugin registered under a name."""

    thing: Any
    plugin: str
    kind: str = ""

    def load(self) -> Any:
        """Return the registered object, importing it if it was given as ``"package.module:attribute"``.

        Raises:
            PluginError: The import failed; the message names the plugin.
        """
        if not isinstance(self.thing, str):
            return self.thing
        module, _, attribute = self.thing.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise PluginError(
                f"Plugin {self.plugin!r} registered {self.thing!r}, which can't be imported: "
                f"{_reason(error)}",
                hint="`mmgan plugins` lists what is installed; MMGAN_DEBUG=1 shows the traceback.",
            ) from error


class Plugins:
    """The loaded plugins and what they registered.

    Args:
        extra: Plugin objects to load beside the installed ones: modules, or any objects with hooks.
        installed: Whether to load the packages found by the entry-point group ``mmgan``.
            ``MMGAN_LOAD_PLUGINS=a,b`` limits these to the named ones.

    Raises:
        PluginError: Two plugins register the same name, or one implements a hook that does not exist.
    """

    def __init__(self, *extra: Any, installed: bool = True) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        if os.environ.get("MMGAN_TRACE_PLUGINS") == "1":
            self.manager.trace.root.setwriter(lambda text: sys.stderr.write(text))
            self.manager.enable_tracing()
        self._attached: list[Any] = []
        self.loaded: list[Plugin] = []
        self.broken: list[Plugin] = []
        self.tasks: dict[str, Entry] = {}
        self.devices: dict[str, Entry] = {}
        self.precisions: dict[str, Entry] = {}
        self.datasets: dict[str, Entry] = {}
        self.metrics: dict[str, Entry] = {}
        for name in BUILTIN:
            self._add(Plugin("core", _core_version(), "mmgan", importlib.import_module(name)))
        for point in _installed() if installed else []:
            self._load(point)
        for module in extra:
            self._add(Plugin(getattr(module, "__name__", type(module).__name__), "", "", module))

    def attach(self, listeners: Iterable[Any]) -> None:
        """Register a run's own listeners, beside those of the plugins."""
        for listener in listeners:
            self.manager.register(listener)
            self._attached.append(listener)
        self.manager.check_pending()

    def detach(self) -> None:
        """Take back all that was attached: the next run has listeners of its own."""
        for listener in self._attached:
            self.manager.unregister(listener)
        self._attached.clear()

    @property
    def hook(self) -> Any:
        """Call a hook of every plugin: ``plugins.hook.after_step(run=…, step=…, losses=…)``."""
        return self.manager.hook

    def task(self, name: str) -> Any:
        """Return the task class registered under ``name``.

        Raises:
            PluginError: There is none; the message suggests the nearest, or says why its plugin is broken.
        """
        for plugin in self.broken:
            if plugin.name == name:
                raise PluginError(
                    f"Plugin {name!r} is broken: {plugin.error}",
                    hint=f"Mend or uninstall the package {plugin.package!r}.",
                )
        return self.lookup(self.tasks, name, "plugin").load()

    def lookup(self, table: dict[str, Entry], name: str, what: str) -> Entry:
        """Return the entry of a table such as :attr:`devices`, or say which names there are.

        Raises:
            PluginError: No plugin registered this name.
        """
        if name not in table:
            suggestion = did_you_mean(name, table)
            limit = " (MMGAN_LOAD_PLUGINS limits them)" if "MMGAN_LOAD_PLUGINS" in os.environ else ""
            broken = f" Broken: {', '.join(plugin.name for plugin in self.broken)}." if self.broken else ""
            raise PluginError(
                f"There is no {what} {name!r}. {suggestion}".rstrip(),
                hint=f"Installed: {', '.join(sorted(table)) or 'none'}{limit}.{broken} "
                "`mmgan plugins` says more.",
            )
        return table[name]

    def of_kind(self, table: dict[str, Entry], kind: str) -> dict[str, Entry]:
        """Return the entries of one kind by their bare names, such as the metrics for images."""
        return {key.partition("/")[2]: entry for key, entry in table.items() if entry.kind == kind}

    def _load(self, point: EntryPoint) -> None:
        distribution = point.dist
        plugin = Plugin(
            point.name,
            distribution.version if distribution else "",
            distribution.name if distribution else "",
        )
        before = self._tables()
        try:
            plugin.module = point.load()
            self._add(plugin)
        # A stranger's module may raise anything on import, SystemExit too; it must not stop the command line.
        except (Exception, SystemExit) as error:
            # By its name, since another plugin may be the same module.
            if plugin.module is not None and self.manager.get_plugin(plugin.name) is plugin.module:
                self.manager.unregister(name=plugin.name)
            self._restore(before)
            plugin.error = _reason(error)
            self.broken.append(plugin)

    def _add(self, plugin: Plugin) -> None:
        """Register one plugin's hooks, check their names, and take what it registers."""
        self.manager.register(plugin.module, plugin.name)
        try:
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            unknown = str(error).partition("unknown hook '")[2].partition("'")[0]
            known = [name for name in vars(self.manager.hook) if not name.startswith("_")]
            raise PluginError(
                f"Plugin {plugin.name!r} implements {unknown!r}, which is no hook. "
                f"{did_you_mean(unknown, set(known) - {unknown})}".rstrip(),
                hint="mmgan/hookspecs.py lists every hook.",
            ) from None
        for hook, table in (
            ("register_tasks", self.tasks),
            ("register_devices", self.devices),
            ("register_precisions", self.precisions),
            ("register_datasets", self.datasets),
            ("register_metrics", self.metrics),
        ):
            others = [other for other in self.manager.get_plugins() if other is not plugin.module]
            caller = self.manager.subset_hook_caller(hook, others)
            caller(register=_registrar(plugin.name, table, hook))
        plugin.hooks = sorted(caller.name for caller in self.manager.get_hookcallers(plugin.module) or [])
        self.loaded.append(plugin)

    def _tables(self) -> list[dict[str, Entry]]:
        return [dict(t) for t in (self.tasks, self.devices, self.precisions, self.datasets, self.metrics)]

    def _restore(self, tables: list[dict[str, Entry]]) -> None:
        self.tasks, self.devices, self.precisions, self.datasets, self.metrics = tables


def _registrar(plugin: str, table: dict[str, Entry], hook: str) -> Any:
    def register(name: str, thing: Any, /, *, kind: str = "") -> None:
        # Two kinds may use the same name: a "folder" of pictures and a "folder" of sounds.
        key = f"{kind}/{name}" if kind else name
        if key in table:
            raise PluginError(
                f"Plugins {table[key].plugin!r} and {plugin!r} both register {key!r} in {hook}.",
                hint=f"Uninstall one of them, or set MMGAN_LOAD_PLUGINS to leave {plugin!r} out.",
            )
        table[key] = Entry(thing, plugin, kind)

    return register


def _installed() -> list[EntryPoint]:
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


def _core_version() -> str:
    from mmgan import __version__

    return __version__


def _reason(error: BaseException) -> str:
    """Return a one-line reason."""
    text = " ".join(str(error).split())
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}".rstrip(": ")
