"""Finding plugins, loading them with a guard, and looking up what they registered.

There is one :class:`Plugins` for a run or a command, and none at module level. A plugin that can't be loaded
never stops the command line: it is kept in :attr:`Plugins.broken`, and raises only when it is asked for.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pluggy

from mmgan import hookspecs
from mmgan.errors import PluginError, did_you_mean
from mmgan.guard import failure, guard, load, named, reason, shown
from mmgan.plugin_files import import_file, plugin_files

GROUP = "mmgan"

#: The core's own listeners and defaults: plugins like any other, but always there.
BUILTIN = {"core": "mmgan.builtin", "convolutions": "mmgan.convolutions"}

#: What the factories make that these hooks register.
_MADE = {"register_devices": "mmgan.device:Device", "register_precisions": "mmgan.precision:Precision"}
#: Registries that are ordered by kinds of data.
_KINDS = ("register_datasets", "register_metrics")


@dataclass
class Plugin:
    """A plugin that was found: loaded, or broken with the error that says why.

    ``package`` is the distribution that it came with, or its file.
    """

    name: str
    version: str
    package: str
    module: Any = None
    error: str = ""
    hooks: list[str] = field(default_factory=list)
    cause: BaseException | None = field(default=None, repr=False)


@dataclass
class Entry:
    """What a plugin registered under a name."""

    thing: Any
    plugin: str
    kind: str = ""
    #: What it is, for messages: "the device 'cuda:9'".
    what: str = ""
    #: What calling it must return, where it is a factory: ``"package.module:Class"``.
    makes: str = ""

    def load(self) -> Any:
        """Return the registered object, importing it if it was given as ``"package.module:attribute"``.

        Raises:
            PluginError: The import failed; the message names the plugin.
        """
        thing = self._import() if isinstance(self.thing, str) else self.thing
        return named(thing, self.plugin, self.what, self.makes, needed=True) if self.makes else thing

    def _import(self) -> Any:
        try:
            return load(self.thing)
        # SystemExit too, as when a plugin is loaded.
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"Plugin {self.plugin!r} registered {self.thing!r}, which can't be imported: {reason(error)}",
                hint="`mmgan plugins` lists what is installed; MMGAN_DEBUG=1 shows the traceback.",
            ) from error


class Plugins:
    """The loaded plugins and what they registered.

    Args:
        extra: Plugin objects to load beside the installed ones: modules, or any objects with hooks.
        installed: Whether to load the packages found by the entry-point group ``mmgan``, and the folder.
            ``MMGAN_LOAD_PLUGINS=a,b`` limits the packages to the named ones.
        folder: A folder of plugins that are single files; by default what ``MMGAN_PLUGINS_DIR`` says.

    Raises:
        PluginError: Two of ``extra`` register the same name, or one implements a hook that does not exist.
        UsageError: There is no such folder.
    """

    def __init__(self, *extra: Any, installed: bool = True, folder: Path | None = None) -> None:
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
        for name, module in BUILTIN.items():
            self._add(Plugin(name, _core_version(), "mmgan", importlib.import_module(module)))
        self.folder = folder or _folder_of_environment()
        if installed:
            for point in _installed():
                self._load(_plugin_of(point), point.load)
            for path in plugin_files(self.folder) if self.folder else []:
                self._load(Plugin(path.stem, "", str(path)), functools.partial(import_file, path))
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
    def found(self) -> list[Plugin]:
        """All plugins that were found, the broken ones last."""
        return [*self.loaded, *self.broken]

    @property
    def hook(self) -> Any:
        """Call a hook of every plugin: ``plugins.hook.after_step(run=…, step=…, losses=…)``."""
        return self.manager.hook

    def task(self, name: str) -> Any:
        """Return the task class registered under ``name``.

        Raises:
            PluginError: There is none, and the message suggests the nearest; its plugin is broken, and the
                message says why; or it is no task.
        """
        for plugin in self.broken:
            if plugin.name == name:
                raise PluginError(f"Plugin {name!r} is broken: {plugin.error}", hint=_remedy(plugin)) from (
                    plugin.cause
                )
        entry = self.lookup(self.tasks, name, "plugin")
        return _checked_task(entry.load(), name, entry.plugin)

    def lookup(self, table: dict[str, Entry], name: str, what: str) -> Entry:
        """Return the entry of a table such as :attr:`devices`, or say which names there are.

        Raises:
            PluginError: No plugin registered this name.
        """
        if name not in table:
            suggestion = did_you_mean(name, table)
            limit = " (MMGAN_LOAD_PLUGINS limits them)" if "MMGAN_LOAD_PLUGINS" in os.environ else ""
            broken = f" Broken: {', '.join(plugin.name for plugin in self.broken)}." if self.broken else ""
            files = "" if self.folder else " Is it a single file? Name its folder: --plugins-dir FOLDER."
            raise PluginError(
                f"There is no {what} {name!r}. {suggestion}".rstrip(),
                hint=f"Installed: {', '.join(sorted(table)) or 'none'}{limit}.{broken} "
                f"`mmgan plugins` says more.{files}",
            )
        return table[name]

    def of_kind(self, table: dict[str, Entry], kind: str) -> dict[str, Entry]:
        """Return the entries of one kind by their bare names, such as the metrics for images."""
        return {key.partition("/")[2]: entry for key, entry in table.items() if entry.kind == kind}

    def _load(self, plugin: Plugin, load_module: Callable[[], Any]) -> None:
        before = self._tables()
        try:
            self._check_name(plugin)
            plugin.module = load_module()
            self._add(plugin)
            guard(self.manager, plugin.name, plugin.module)
        # A stranger's module may raise anything on import, SystemExit too; it must not stop the command line.
        except (Exception, SystemExit) as error:
            # By its name, since another plugin may be the same module.
            if plugin.module is not None and self.manager.get_plugin(plugin.name) is plugin.module:
                self.manager.unregister(name=plugin.name)
            self._restore(before)
            plugin.error, plugin.cause = reason(error), error
            self.broken.append(plugin)

    def _check_name(self, plugin: Plugin) -> None:
        for other in self.loaded:
            if other.name == plugin.name:
                raise PluginError(
                    f"Two plugins have the name {plugin.name!r}: that of {other.package!r} and that of "
                    f"{plugin.package!r}.",
                    hint=f"Rename or remove {plugin.package!r}.",
                )

    def _add(self, plugin: Plugin) -> None:
        """Register one plugin's hooks, check their names, and take what it registers."""
        _check_interface(plugin)
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
            try:
                caller(register=_registrar(plugin.name, table, hook))
            except PluginError:
                raise
            except (Exception, SystemExit) as error:
                raise failure(plugin.name, hook, error) from error
        plugin.hooks = sorted(caller.name for caller in self.manager.get_hookcallers(plugin.module) or [])
        self.loaded.append(plugin)

    def _tables(self) -> list[dict[str, Entry]]:
        return [dict(t) for t in (self.tasks, self.devices, self.precisions, self.datasets, self.metrics)]

    def _restore(self, tables: list[dict[str, Entry]]) -> None:
        self.tasks, self.devices, self.precisions, self.datasets, self.metrics = tables


def _registrar(plugin: str, table: dict[str, Entry], hook: str) -> Any:
    def register(name: str, thing: Any, /, *, kind: str = "") -> None:
        asked = f"Plugin {plugin!r} registered {name!r} in {hook}"
        if not isinstance(thing, str) and not callable(thing):
            raise PluginError(
                f"{asked} as {shown(thing)}, which is neither a class, nor a function, nor the name of one.",
                hint='register("name", "package.module:Class")',
            )
        if (hook in _KINDS) != bool(kind):
            wrong = "takes no kind" if kind else "needs a kind"
            raise PluginError(f"{asked} with kind = {kind!r}, and {hook} {wrong}.")
        # Two kinds may use the same name: a "folder" of pictures and a "folder" of sounds.
        key = f"{kind}/{name}" if kind else name
        if key in table:
            raise PluginError(
                f"Plugins {table[key].plugin!r} and {plugin!r} both register {key!r} in {hook}.",
                hint=f"Uninstall one of them, or set MMGAN_LOAD_PLUGINS to leave {plugin!r} out.",
            )
        what = hook.removeprefix("register_").removesuffix("s")
        table[key] = Entry(thing, plugin, kind, f"the {what} {name!r}", _MADE.get(hook, ""))

    return register


def _check_interface(plugin: Plugin) -> None:
    from mmgan import INTERFACE, __version__

    wanted = getattr(plugin.module, "mmgan_interface", INTERFACE)
    if not isinstance(wanted, int) or wanted < 1:
        raise PluginError(
            f"Plugin {plugin.name!r} says mmgan_interface = {shown(wanted)}, which is no version.",
            hint=f"mmgan_interface = {INTERFACE} is the present one.",
        )
    if wanted > INTERFACE:
        raise PluginError(
            f"Plugin {plugin.name!r} is written for version {wanted} of the plugin interface, and mmgan "
            f"{__version__} has version {INTERFACE}: upgrade mmgan.",
            hint="pip install --upgrade mmgan",
        )


def _checked_task(task: Any, name: str, plugin: str) -> Any:
    from mmgan.task import Task

    if not (isinstance(task, type) and issubclass(task, Task)):
        raise PluginError(
            f"Plugin {plugin!r} registered {name!r} in register_tasks, and it is no subclass of mmgan.Task "
            f"but {shown(task)}.",
            hint="What has no game, such as a data set or a metric, has a hook of its own.",
        )
    if missing := sorted(getattr(task, "__abstractmethods__", ())):
        raise PluginError(
            f"The task {name!r} of plugin {plugin!r} has no {', no '.join(missing)}.",
            hint="A task needs build, data, loss and sample.",
        )
    return task


def _remedy(plugin: Plugin) -> str:
    """Return what to do about a broken plugin."""
    if isinstance(plugin.cause, PluginError) and plugin.cause.hint:
        return plugin.cause.hint
    if isinstance(plugin.cause, ModuleNotFoundError):
        return f"Install what it needs, or remove {plugin.package!r}."
    return f"Mend or remove {plugin.package!r}; -v shows the traceback."


def _folder_of_environment() -> Path | None:
    folder = os.environ.get("MMGAN_PLUGINS_DIR")
    return Path(os.path.expanduser(folder)) if folder else None


def _plugin_of(point: EntryPoint) -> Plugin:
    distribution = point.dist
    return Plugin(
        point.name,
        distribution.version if distribution else "",
        distribution.name if distribution else "",
    )


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
