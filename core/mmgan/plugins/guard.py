"""Errors in plugins' hooks, and results of a wrong type, are reported with the plugin's and the hook's name.
Hooks are wrapped once, when their plugin is loaded; each call then costs a tenth of a microsecond more.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import pluggy

from mmgan.errors import MmganError, PluginError, line, shown

#: What a selection hook must return, if not None.
RESULTS = {
    "select_device": "mmgan.backend.device:Device",
    "make_precision": "mmgan.backend.precision:Precision",
}
#: Hooks that change what is trained. Without them the run would be a different one: they are never optional.
DECISIVE = {*RESULTS, "configure_module"}

Function = Callable[..., Any]


def guard(manager: pluggy.PluginManager, name: str, module: Any) -> None:
    """Wrap the hooks of a registered plugin.

    If the plugin has ``mmgan_optional = True``, an error in a hook that only observes the run switches the
    plugin off, and the run goes on.
    """
    optional = bool(getattr(module, "mmgan_optional", False))

    def switch_off(hook: str, error: BaseException) -> None:
        # A hook may have called another hook of its plugin, so that both fail.
        if manager.has_plugin(name):
            manager.unregister(name=name)
            message = f"Plugin {name!r} failed in {hook} and is switched off: {reason(error)}"
            warnings.warn(message, stacklevel=2)

    for caller in manager.get_hookcallers(module) or []:
        # Registration has a guard of its own: a plugin that fails there is broken.
        if caller.name.startswith("register_"):
            continue
        for impl in caller.get_hookimpls():
            # A wrapper also raises the errors of the hooks inside it, which are not its own.
            if impl.plugin is not module or impl.wrapper or impl.hookwrapper:
                continue
            if optional and caller.name not in DECISIVE:
                impl.function = dispensable(impl.function, caller.name, switch_off)  # type: ignore[misc]
            else:
                checked = named(impl.function, name, caller.name, RESULTS.get(caller.name, ""))
                impl.function = checked  # type: ignore[misc]


def named(function: Function, plugin: str, where: str, returns: str = "", needed: bool = False) -> Function:
    """Wrap a function so that its errors name the plugin. mmgan's own errors pass unchanged: a plugin may
    stop a run on purpose, with an error that says why.

    Args:
        function: A plugin's function.
        plugin: The plugin's name.
        where: The hook, or the name that was registered.
        returns: The class of its results, as ``"package.module:Class"``; "" for any.
        needed: Whether None is refused.
    """

    def call(*args: Any) -> Any:
        try:
            result = function(*args)
        except MmganError:
            raise
        # Third-party code may raise anything, even SystemExit.
        except (Exception, SystemExit) as error:
            raise failure(plugin, where, error) from error
        if returns and (needed or result is not None):
            _check(result, returns, plugin, where)
        return result

    return call


def dispensable(function: Function, hook: str, switch_off: Callable[[str, BaseException], None]) -> Function:
    """Wrap a function so that it never raises: the first error is given to ``switch_off``."""

    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except (Exception, SystemExit) as error:
            switch_off(hook, error)
            return None

    return call


def failure(plugin: str, where: str, error: BaseException) -> PluginError:
    """Return an error that names the plugin that failed, and its hook."""
    return PluginError(
        f"Plugin {plugin!r} failed in {where}: {reason(error)}",
        hint="Fix or remove the plugin; -v shows the traceback.",
    )


def reason(error: BaseException) -> str:
    """Return a one-line reason."""
    text = line(error)
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text}".rstrip(": ")


def load(dotted: str) -> Any:
    """Import the object named by ``"package.module:attribute"``."""
    module, _, attribute = dotted.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _check(result: Any, returns: str, plugin: str, where: str) -> None:
    if not isinstance(result, load(returns)):
        name = returns.replace(":", ".") if where not in RESULTS else f"mmgan.{returns.partition(':')[2]}"
        raise PluginError(
            f"Plugin {plugin!r} returned {shown(result)} from {where}, and not a {name}.",
            hint="mmgan/hookspecs.py says what each hook returns.",
        )
