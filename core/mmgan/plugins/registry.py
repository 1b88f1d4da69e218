"""The registry: tasks, devices, precisions, data sets, metrics, losses and so on by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmgan.errors import PluginError, shown
from mmgan.plugins.guard import load, named, reason

#: The classes that factories registered by these hooks must return.
_MADE = {
    "register_devices": "mmgan.backend.device:Device",
    "register_precisions": "mmgan.backend.precision:Precision",
    "register_losses": "mmgan.losses.adversarial:AdversarialLoss",
    "register_penalties": "torch:Tensor",
    "register_features": "mmgan.metrics.features:Features",
    "register_augmentations": "mmgan.augment.base:Augmentation",
}
#: Tables that are divided by kinds of data.
_KINDS = ("register_datasets", "register_metrics", "register_features", "register_augmentations")
#: Nouns of tables whose names are not simple plurals.
SINGULAR = {
    "register_losses": "loss",
    "register_penalties": "penalty",
    "register_features": "features",
}


@dataclass
class Entry:
    """What a plugin registered under a name.

    Args:
        thing: The object, or its name to import: ``"package.module:attribute"``.
        plugin: The plugin's name.
        kind: For data sets and metrics the kind of data; "" for others.
    """

    thing: Any
    plugin: str
    kind: str = ""
    #: The noun for messages: "the device 'cuda:9'".
    what: str = ""
    #: For a factory, the class that it must return: ``"package.module:Class"``.
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
        # Even SystemExit, as when a plugin is loaded.
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"Plugin {self.plugin!r} registered {self.thing!r}, which can't be imported: {reason(error)}",
                hint="`mmgan plugins` lists what is installed; MMGAN_DEBUG=1 shows the traceback.",
            ) from error


def registrar(plugin: str, table: dict[str, Entry], hook: str) -> Any:
    """Return the ``register`` argument of a registration hook: it checks, and writes to a table."""

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
        what = SINGULAR.get(hook, hook.removeprefix("register_").removesuffix("s"))
        table[key] = Entry(thing, plugin, kind, f"the {what} {name!r}", _MADE.get(hook, ""))

    return register


def checked_task(task: Any, name: str, plugin: str) -> Any:
    """Return a task's class.

    Raises:
        PluginError: It is not a task, or lacks methods.
    """
    from mmgan.task import Task

    if not (isinstance(task, type) and issubclass(task, Task)):
        raise PluginError(
            f"Plugin {plugin!r} registered {name!r} in register_tasks, but {shown(task)} is not a subclass "
            "of mmgan.Task.",
            hint="Other things, such as data sets and metrics, have hooks of their own.",
        )
    if missing := sorted(getattr(task, "__abstractmethods__", ())):
        raise PluginError(
            f"The task {name!r} of plugin {plugin!r} has no {', no '.join(missing)}.",
            hint="A task needs build, data and sample, and a loss for each phase.",
        )
    return task
