"""Checking all rules on a task."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch

from mmgan.backend import randomness
from mmgan.config import resolve
from mmgan.counting import some
from mmgan.errors import PluginError, UsageError, did_you_mean
from mmgan.plugins import Entry, Plugins
from mmgan.plugins.manager import BUILTIN
from mmgan.task import Task
from mmgan.testing import bringing, data, listening, playing, processes, resuming, sampling, toml
from mmgan.testing.bench import SMALL, Bench
from mmgan.testing.rules import ConformanceError, Result, Rule
from mmgan.testing.sandbox import Sandbox
from mmgan.testing.watch import parameters, watch

#: The rules, in the order in which they are checked.
RULES: tuple[Rule, ...] = (
    playing.plays,
    playing.losses,
    playing.gradients,
    playing.own_weights,
    playing.hands_off,
    playing.bf16,
    resuming.resume,
    sampling.samples,
    sampling.interpolate,
    sampling.complete,
    sampling.of_a_class,
    sampling.evaluate,
    sampling.undisturbed,
    toml.config,
    data.data,
    processes.ranks,
)
#: The rules for a plugin apart from its tasks, in the order in which they are checked.
PLUGIN_RULES: tuple[Rule, ...] = (
    listening.listens,
    listening.remembers,
    bringing.datasets,
    bringing.metrics,
    bringing.devices,
)


def check_task(
    task: str | type[Task],
    *,
    plugins: Sequence[Any] = (),
    unused: Sequence[str] = (),
    prompt: str = "",
    label: str = "",
    ranks: int = 1,
    **settings: Any,
) -> None:
    """Assert that a task keeps every rule of :data:`RULES`, on a CPU and at a small size.

    Each stage is played from its first step on for a few steps. The stages before it are skipped by setting
    ``run.step``, since they may be long. The data is the task's default unless ``settings`` name another. The
    environment's settings (``MMGAN_…``) are ignored.

    Args:
        task: The name of an installed task, or a class that need not be installed.
        plugins: Plugin objects to load beside the installed ones, such as one that registers the data.
        unused: Patterns such as ``"G.head.*"`` of parameters (player, dot, name) that rightly never get a
            gradient.
        prompt: A prompt for a task with ``complete``. If samples are texts, the default is the first word of
            one.
        label: A class to sample, for a task that takes labels; by default the last one.
        ranks: 2 also trains the task in two processes together, which takes seconds to start. For an
            installed task only.
        settings: Settings of the task; small networks make the check quick.

    Raises:
        ConformanceError: Rules are broken; the message lists all of them. It is an ``AssertionError``.
        MmganError: The check can't be made: the task, a setting or the data is missing.
    """
    found = Plugins(*plugins)
    if not isinstance(task, str):
        found.tasks[task.__name__] = Entry(task, task.__module__)
        task = task.__name__
    results = report(task, settings, plugins=found, unused=unused, prompt=prompt, label=label, ranks=ranks)
    if any(result.failures for result in results):
        raise ConformanceError(task, results)


def report(
    name: str,
    settings: Mapping[str, Any],
    *,
    plugins: Plugins | None = None,
    unused: Sequence[str] = (),
    prompt: str = "",
    label: str = "",
    ranks: int = 1,
    progress: Callable[[Rule], None] = lambda rule: None,
) -> list[Result]:
    """Check every rule of :data:`RULES`, and return their results in that order.

    Args:
        name: The task's name.
        settings: The task's settings; text is read as the setting's type, as on the command line.
        plugins: Where it is registered; by default the installed ones.
        unused, prompt, label, ranks: As for :func:`check_task`.
        progress: Called with each rule before it is checked.

    Raises:
        MmganError: The check can't be made: there is no such task or setting, or no data.
    """
    plugins = plugins or Plugins()
    config = resolve(plugins.config_class(name), name, flags={**SMALL, **settings}, environment={})
    # A run seeds the process's generators, which belong to the caller.
    with (
        randomness.isolated(config.seed, torch.device("cpu")),
        tempfile.TemporaryDirectory(prefix="mmgan-check-") as folder,
    ):
        bench = Bench(name, plugins, config, Path(folder), tuple(unused), prompt, label, ranks)
        results: list[Result] = []
        for rule in RULES:
            progress(rule)
            if not results:
                # Needed by several rules, and first of all: whether a run can be made.
                watch(bench)
                _know(bench)
            results.append(rule.apply(bench))
        return results


def report_plugin(
    name: str, *, plugins: Plugins | None = None, progress: Callable[[Rule], None] = lambda rule: None
) -> list[Result]:
    """Check every rule of :data:`PLUGIN_RULES` on a plugin, in that order; its tasks are not checked.

    Args:
        name: The plugin's name.
        plugins: Where it is loaded; by default the installed ones.
        progress: Called with each rule before it is checked.

    Raises:
        PluginError: The plugin is unknown or broken.
    """
    plugins = plugins or Plugins()
    plugin = next((one for one in plugins.loaded if one.name == name), None)
    if plugin is None:
        plugins.task(name)  # Raises that it is broken, or unknown.
        raise PluginError(f"{name!r} is a task and not a plugin.", hint=f"mmgan plugins check {name}")
    with (
        randomness.isolated(0, torch.device("cpu")),
        tempfile.TemporaryDirectory(prefix="mmgan-check-") as folder,
    ):
        sandbox = Sandbox(plugin, plugins, Path(folder))
        results = []
        for rule in PLUGIN_RULES:
            progress(rule)
            results.append(rule.apply(sandbox))
        return results


def brings(name: str, plugins: Plugins) -> bool:
    """Whether an installed plugin of this name has anything to check besides tasks and commands."""
    hooks = next((one.hooks for one in plugins.loaded if one.name == name and name not in BUILTIN), [])
    return bool(set(hooks) - {"register_tasks", "register_commands"})


def _know(bench: Bench) -> None:
    """Refuse a pattern that matches no parameter: it is misspelt, or the network has changed.

    Raises:
        UsageError: A pattern matches none.
    """
    names = parameters(bench.watched) if bench.watched is not None else {}
    for pattern in bench.unused if names else ():
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(
                f"unused = {pattern!r} matches no parameter of {bench.name}. "
                f"{did_you_mean(pattern, names)}".rstrip(),
                hint=f"Its parameters: {some(names, 5)}.",
            )
