"""Trying all rules on a task."""

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

#: In the order in which they are tried.
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
#: What is tried of a plugin beside its tasks, in that order.
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

    Each stage is played from its first step on for a few steps. The stages before it are jumped over by
    setting ``run.step``, since they may be long. The data is the task's default, if ``settings`` name no
    other. The settings of the environment (``MMGAN_…``) are left out.

    Args:
        task: The name of an installed task, or a class that need not be installed.
        plugins: Plugin objects to load beside the installed ones, such as one that registers the data.
        unused: Patterns such as ``"G.head.*"`` of parameters (player, dot, name) that rightly never get a
            gradient.
        prompt: What a sample may begin with, for a task with ``complete``. Where samples are texts, the
            first word of one is taken.
        label: A class to sample, for a task that takes labels; by default the last one.
        ranks: 2 lets two processes train the task together too, which takes seconds to start. For an
            installed task only.
        settings: Settings of the task: small networks make a quick check.

    Raises:
        ConformanceError: Rules are broken; the message lists all of them. It is an ``AssertionError``.
        MmganError: The check can't be made: there is no such task or setting, or no data.
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
    """Try every rule of :data:`RULES`, and return what came of each, in their order.

    Args:
        name: The task's.
        settings: Of the task; text is read as the setting's type, as on the command line.
        plugins: Where it is registered; by default those that are installed.
        unused, prompt, label, ranks: As for :func:`check_task`.
        progress: Told each rule before it is tried.

    Raises:
        MmganError: The check can't be made: there is no such task or setting, or no data.
    """
    plugins = plugins or Plugins()
    config = resolve(plugins.config_class(name), name, flags={**SMALL, **settings}, environment={})
    # A run seeds the process's generators, which are not ours.
    with (
        randomness.isolated(config.seed, torch.device("cpu")),
        tempfile.TemporaryDirectory(prefix="mmgan-check-") as folder,
    ):
        bench = Bench(name, plugins, config, Path(folder), tuple(unused), prompt, label, ranks)
        results: list[Result] = []
        for rule in RULES:
            progress(rule)
            if not results:
                # What several rules are about, and what must be known first: whether there is a run at all.
                watch(bench)
                _know(bench)
            results.append(rule.apply(bench))
        return results


def report_plugin(
    name: str, *, plugins: Plugins | None = None, progress: Callable[[Rule], None] = lambda rule: None
) -> list[Result]:
    """Try every rule of :data:`PLUGIN_RULES` on what a plugin has beside tasks, in their order.

    Args:
        name: The plugin's.
        plugins: Where it is loaded; by default those that are installed.
        progress: Told each rule before it is tried.

    Raises:
        PluginError: There is no such plugin, or it is broken.
    """
    plugins = plugins or Plugins()
    plugin = next((one for one in plugins.loaded if one.name == name), None)
    if plugin is None:
        plugins.task(name)  # Says that it is broken, or which there are.
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
    """Whether an installed plugin of this name has something to try beside tasks and commands."""
    hooks = next((one.hooks for one in plugins.loaded if one.name == name and name not in BUILTIN), [])
    return bool(set(hooks) - {"register_tasks", "register_commands"})


def _know(bench: Bench) -> None:
    """Refuse a pattern that is of no parameter: it is misspelt, or the network has changed.

    Raises:
        UsageError: There is one.
    """
    names = parameters(bench.watched) if bench.watched is not None else {}
    for pattern in bench.unused if names else ():
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(
                f"unused = {pattern!r} is of no parameter of {bench.name}. "
                f"{did_you_mean(pattern, names)}".rstrip(),
                hint=f"Its parameters: {some(names, 5)}.",
            )
