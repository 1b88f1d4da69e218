"""Finding plugins, loading them safely, and looking up what they registered.

Each run or command has its own :class:`Plugins`; none is at module level. A plugin that can't be loaded never
stops the command line: it is kept in :attr:`Plugins.broken`, and raises only when it is asked for.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from mmgan import __version__, hookspecs
from mmgan.errors import PluginError, did_you_mean
from mmgan.plugins.files import import_file, plugin_files
from mmgan.plugins.guard import failure, guard, reason
from mmgan.plugins.loading import (
    GROUP,
    Plugin,
    check_interface,
    folder_of_environment,
    packages,
    plugin_of,
    remedy,
)
from mmgan.plugins.marks import hooks_of, plugin_in, warn_of_hooks_in_task, warn_of_unmarked
from mmgan.plugins.registry import Entry, checked_task, registrar
from mmgan.plugins.settings import Models, model_from, with_settings

if TYPE_CHECKING:
    from mmgan.config import C, Config
    from mmgan.task import Task

#: Plugins like any other, but always there: the core's defaults, and speed on a CPU.
BUILTIN = {"core": "mmgan.plugins.builtin", "convolutions": "mmgan_convolutions"}
#: The tables of what plugins register, by the hooks that fill them.
TABLES = {
    "register_tasks": "tasks",
    "register_devices": "devices",
    "register_precisions": "precisions",
    "register_datasets": "datasets",
    "register_metrics": "metrics",
    "register_losses": "losses",
    "register_penalties": "penalties",
    "register_features": "features",
    "register_augmentations": "augmentations",
    "register_settings": "settings",
}


class Plugins:
    """The loaded plugins and what they registered.

    Args:
        extra: Plugin objects to load beside the installed ones: modules, or any objects with hooks.
        installed: Whether to load the packages found by the entry-point group ``mmgan``, and the folder.
            ``MMGAN_LOAD_PLUGINS=a,b`` limits the packages to the named ones.
        folder: A folder of single-file plugins; by default the one that ``MMGAN_PLUGINS_DIR`` names.

    Raises:
        PluginError: Two of ``extra`` register the same name, or one implements a hook that does not exist.
        UsageError: The folder does not exist.
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
        self.losses: dict[str, Entry] = {}
        self.penalties: dict[str, Entry] = {}
        self.features: dict[str, Entry] = {}
        self.augmentations: dict[str, Entry] = {}
        self.settings: dict[str, Entry] = {}
        for name, module in BUILTIN.items():
            self._add(Plugin(name, __version__, "mmgan", importlib.import_module(module)))
        self.folder = folder or folder_of_environment()
        if installed:
            for point in packages():
                self._load(plugin_of(point), point.load)
            for path in plugin_files(self.folder) if self.folder else []:
                self._load(Plugin(path.stem, "", str(path)), functools.partial(import_file, path))
        for module in extra:
            self._add(Plugin(getattr(module, "__name__", type(module).__name__), "", "", module))

    def attach(self, listeners: Iterable[Any]) -> None:
        """Register a run's own listeners, beside those of the plugins.

        Args:
            listeners: Objects with hooks.

        Raises:
            pluggy.PluginValidationError: One implements a hook that does not exist.
        """
        for listener in listeners:
            warn_of_unmarked(listener, type(listener).__name__)
            self.manager.register(listener)
            self._attached.append(listener)
        self.manager.check_pending()

    def detach(self) -> None:
        """Unregister all listeners that :meth:`attach` registered: the next run has its own."""
        for listener in self._attached:
            self.manager.unregister(listener)
        self._attached.clear()

    @property
    def found(self) -> list[Plugin]:
        """All plugins that were found, with broken ones last."""
        return [*self.loaded, *self.broken]

    @property
    def hook(self) -> Any:
        """Call a hook of every plugin: ``plugins.hook.after_step(run=…, step=…, losses=…)``."""
        return self.manager.hook

    def task(self, name: str) -> Any:
        """Return the task class registered under ``name``.

        Raises:
            PluginError: The name is unknown (the message suggests the nearest), its plugin is broken (the
                message says why), or it is not a task.
        """
        for plugin in self.broken:
            if plugin.name == name:
                raise PluginError(f"Plugin {name!r} is broken: {plugin.error}", hint=remedy(plugin)) from (
                    plugin.cause
                )
        entry = self.lookup(self.tasks, name, "plugin")
        task = checked_task(entry.load(), name, entry.plugin)
        warn_of_hooks_in_task(task, name)
        return task

    def add(self, task: type) -> str:
        """Register a task's class that no plugin registers, and return its name: the class's, in lower case.

        Args:
            task: A subclass of :class:`mmgan.Task`.

        Raises:
            PluginError: It is not a task, or lacks methods.
        """
        name = task.__name__.lower()
        self.tasks[name] = Entry(checked_task(task, name, task.__module__), task.__module__)
        return name

    def config_class(self, task: str | type[Task[Any]]) -> type[Config]:
        """Return the class of a task's settings together with those of all plugins.

        Args:
            task: Its name, or its class where it was looked up before.

        A table ``guardian`` in it holds the settings that a plugin registered under that name.

        Raises:
            PluginError: The task is unknown, or a plugin's settings are invalid.
        """
        task_class = self.task(task) if isinstance(task, str) else task
        return with_settings(task_class.Config, self._models())

    def completed(self, config: C) -> C:
        """Return a config completed by the default settings of the plugins that it lacks."""
        kept = type(config).model_fields
        missing = {name: model for name, model in self._models().items() if name not in kept}
        made = with_settings(type(config), missing)
        defaults: dict[str, Any] = {name: model() for name, (model, _) in missing.items()}
        return made.model_construct(**dict(config), **defaults) if missing else config

    def _models(self) -> Models:
        return {name: (model_from(entry, name), entry.plugin) for name, entry in self.settings.items()}

    def settings_in(self, config: Config, name: str) -> Any:
        """Return a plugin's own settings from a run's, or their defaults if the run has none.

        Raises:
            PluginError: No plugin registered settings of this name.
        """
        model = model_from(self.lookup(self.settings, name, "table of settings"), name)
        found = getattr(config, name, None)
        return found if isinstance(found, model) else model()

    def lookup(self, table: dict[str, Entry], name: str, what: str) -> Entry:
        """Return the entry of a table such as :attr:`devices`.

        Args:
            table: One of this object's tables.
            name: The registered name.
            what: The noun for the message: "device".

        Raises:
            PluginError: No plugin registered this name; the message lists those that exist.
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
        """Return a table's entries of one kind by their bare names.

        Args:
            table: :attr:`datasets` or :attr:`metrics`.
            kind: Such as "images".
        """
        return {key.partition("/")[2]: entry for key, entry in table.items() if entry.kind == kind}

    def names(self, table: str, kind: str = "") -> list[str]:
        """Return the names in a table such as ``losses``, of one kind where it has kinds."""
        entries: dict[str, Entry] = getattr(self, table)
        return list(self.of_kind(entries, kind) if kind else entries)

    def _load(self, plugin: Plugin, load_module: Callable[[], Any]) -> None:
        before = self._tables()
        try:
            self._check_name(plugin)
            plugin.module = plugin_in(load_module())
            self._add(plugin)
            guard(self.manager, plugin.name, plugin.module)
        # A third-party module may raise anything, even SystemExit; that must not stop the command line.
        except (Exception, SystemExit) as error:
            # Registered by name, since another plugin may be the same module.
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
        check_interface(plugin)
        if not hooks_of(plugin.module):
            raise PluginError(
                f"Plugin {plugin.name!r} registers nothing: it has no function with @mmgan.hookimpl.",
                hint="A module has hooks, or an object with hooks that is called `plugin`. A file that only "
                "helps others has a name that begins with _.",
            )
        warn_of_unmarked(plugin.module, plugin.name)
        self.manager.register(plugin.module, plugin.name)
        try:
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            unknown = str(error).partition("unknown hook '")[2].partition("'")[0]
            known = [name for name in vars(self.manager.hook) if not name.startswith("_")]
            raise PluginError(
                f"Plugin {plugin.name!r} implements {unknown!r}, which is not a hook. "
                f"{did_you_mean(unknown, set(known) - {unknown})}".rstrip(),
                hint="mmgan/hookspecs.py lists every hook.",
            ) from None
        for hook, name in TABLES.items():
            table = getattr(self, name)
            others = [other for other in self.manager.get_plugins() if other is not plugin.module]
            caller = self.manager.subset_hook_caller(hook, others)
            try:
                caller(register=registrar(plugin.name, table, hook))
            except PluginError:
                raise
            except (Exception, SystemExit) as error:
                raise failure(plugin.name, hook, error) from error
        plugin.hooks = sorted(caller.name for caller in self.manager.get_hookcallers(plugin.module) or [])
        self.loaded.append(plugin)

    def _tables(self) -> list[dict[str, Entry]]:
        return [dict(getattr(self, name)) for name in TABLES.values()]

    def _restore(self, tables: list[dict[str, Entry]]) -> None:
        for name, table in zip(TABLES.values(), tables, strict=True):
            setattr(self, name, table)
