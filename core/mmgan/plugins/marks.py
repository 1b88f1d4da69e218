"""Functions that are marked as hooks, and unmarked ones with hooks' names, which are never called."""

from __future__ import annotations

import inspect
import warnings
from types import ModuleType
from typing import Any

from mmgan import hookspecs

#: The names of all hooks.
HOOKS = frozenset(name for name, value in vars(hookspecs).items() if hasattr(value, "mmgan_spec"))


def hooks_of(thing: Any) -> set[str]:
    """Return the names marked with ``@hookimpl`` in a plugin, which is a module or an object."""
    return {name for name in dir(thing) if hasattr(inspect.getattr_static(thing, name, None), "mmgan_impl")}


def plugin_in(module: Any) -> Any:
    """Return the object with a module's hooks: the module, or its ``plugin`` if the module has no hooks."""
    inner = getattr(module, "plugin", None)
    return inner if isinstance(module, ModuleType) and inner is not None and not hooks_of(module) else module


def warn_of_unmarked(thing: Any, name: str) -> None:
    """Warn of a plugin's functions that have hooks' names but are not marked: they are never called."""
    for hook in sorted(HOOKS - hooks_of(thing)):
        function = inspect.getattr_static(thing, hook, None)
        # A function that a module imports from elsewhere need not be meant as a hook.
        own = not isinstance(thing, ModuleType) or getattr(function, "__module__", "") == thing.__name__
        if inspect.isfunction(function) and own:
            warnings.warn(
                f"Plugin {name!r} has a function {hook} without @hookimpl: it is never called.", stacklevel=2
            )


def warn_of_hooks_in_task(task: type, name: str) -> None:
    """Warn of a task's methods that have hooks' names: only listeners have hooks."""
    for hook in sorted(HOOKS):
        if inspect.isfunction(inspect.getattr_static(task, hook, None)):
            warnings.warn(
                f"The task {name!r} has a method {hook}, which is a hook of listeners: on a task it is never "
                "called. A task's own are begin_stage, end_stage, forward and step.",
                stacklevel=2,
            )
