"""The rules for what a plugin registers besides tasks: data sets, metrics, devices and precisions."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from mmgan import engine
from mmgan.config import Config, resolve
from mmgan.data.dataset import Dataset
from mmgan.errors import DataError, MmganError, PluginError
from mmgan.opening import new_run
from mmgan.plugins import Entry
from mmgan.testing.bench import SMALL
from mmgan.testing.data import data, unstable
from mmgan.testing.rules import Skip, rule
from mmgan.testing.sandbox import Sandbox, Spy

#: Examples that metrics of a kind can compare.
EXAMPLES: dict[str, Callable[[], Any]] = {
    "images": lambda: torch.randn(64, 8),
    "sounds": lambda: torch.randn(64, 8),
    "texts": lambda: [f"the {word} is here" for word in ("cat", "dog", "bird", "horse")] * 16,
}


@rule(
    "datasets",
    why=data.why,
    mend=f"{data.mend} A source is a function (argument, config), and the argument may be empty.",
)
def datasets(sandbox: Sandbox) -> Iterator[str]:
    """Each data set can be opened, and gives worker processes the same batches."""

    def try_one(name: str, entry: Entry) -> Iterator[str]:
        found, config = opened(sandbox, name.partition("/")[2], entry)
        for what in unstable(found, config, *sandbox.authors):
            yield f"{name}: {what}"

    yield from each(sandbox, "data sets", sandbox.plugins.datasets, try_one)


@rule(
    "metrics",
    why="Scores are logged and drawn, and the best checkpoint is kept by one of them.",
    mend="Return a finite number. Where there are too few examples, raise mmgan.UsageError and say how many "
    "are needed.",
)
def metrics(sandbox: Sandbox) -> Iterator[str]:
    """Each metric gives a finite number for two sets of examples of its kind."""

    def try_one(name: str, entry: Entry) -> Iterator[str]:
        if entry.kind not in EXAMPLES:
            raise Skip(f"nothing is known of what metrics of the kind {entry.kind!r} compare")
        score = entry.load()(EXAMPLES[entry.kind](), EXAMPLES[entry.kind]())
        if not isinstance(score, int | float) or not math.isfinite(score):
            yield f"The metric {name!r} gives {score!r}, which is not a finite number."

    yield from each(sandbox, "metrics", sandbox.plugins.metrics, try_one)


@rule(
    "devices",
    why="A device or a precision that can't train ends each run that asks for it.",
    mend="Return an mmgan.Device or an mmgan.Precision; docs/plugins.md says what they may override.",
)
def devices(sandbox: Sandbox) -> Iterator[str]:
    """A small game is trained on each device and in each precision."""

    def train(setting: str) -> Callable[[str, Entry], Iterator[str]]:
        def try_one(name: str, entry: Entry) -> Iterator[str]:
            asked: Any = {setting: name}
            engine.train(sandbox.begin(Spy(), **asked))
            yield from ()

        return try_one

    found = {**owned(sandbox, sandbox.plugins.devices), **owned(sandbox, sandbox.plugins.precisions)}
    if not found:
        raise Skip("the plugin registers no devices and no precisions")
    for setting, table in (("device", sandbox.plugins.devices), ("precision", sandbox.plugins.precisions)):
        if owned(sandbox, table):
            yield from each(sandbox, f"{setting}s", table, train(setting))


def owned(sandbox: Sandbox, table: dict[str, Entry]) -> dict[str, Entry]:
    """Return the entries of a table that are the plugin's."""
    return {name: entry for name, entry in table.items() if entry.plugin == sandbox.plugin.name}


def each(
    sandbox: Sandbox,
    what: str,
    table: dict[str, Entry],
    try_one: Callable[[str, Entry], Iterator[str]],
) -> Iterator[str]:
    """Try what the plugin registered in a table, one by one.

    Raises:
        Skip: The table is empty, or nothing in it could be tried here.
    """
    found, reasons = owned(sandbox, table), []
    for name, entry in found.items():
        try:
            yield from try_one(name, entry)
        except PluginError:
            raise
        # Such as a data set that needs an argument, or a device that this machine lacks.
        except (MmganError, Skip) as error:
            reasons.append(f"{name} can't be tried: {error}")
    if len(reasons) == len(found):
        raise Skip("; ".join(reasons) or f"the plugin registers no {what}")


def opened(sandbox: Sandbox, name: str, entry: Entry) -> tuple[Dataset, Config]:
    """Open a data set as a task that trains on it does, or else by itself; return the settings too.

    Raises:
        Skip: No task of its kind is installed, and it needs one.
        DataError: It can't be opened by its name alone.
    """
    settings = {**SMALL, "data": name}
    refusal: DataError | None = None
    for task in tasks_for(sandbox, entry.kind):
        config: Config = resolve(sandbox.plugins.config_class(task), task, flags=settings, environment={})
        try:
            return new_run(config, sandbox.plugins).dataset, config
        except DataError as error:  # Mostly data of another kind.
            refusal = error
    if refusal is not None:
        raise refusal
    config = Config(plugin=sandbox.plugin.name, **settings)
    try:
        found: Any = entry.load()("", config)
    except AttributeError as error:
        if error.obj is not config:
            raise
        found = None
    if not isinstance(found, Dataset):
        raise Skip(f"no task that trains on {entry.kind} is installed")
    return found, config


def tasks_for(sandbox: Sandbox, kind: str) -> list[str]:
    """Return the names of the plugin's own tasks, and of others that train on data of a kind."""
    own, others = [], []
    for name, entry in sandbox.plugins.tasks.items():
        if entry.plugin == sandbox.plugin.name:
            own.append(name)
            continue
        # Broken tasks are not what is checked.
        with contextlib.suppress(PluginError):
            if sandbox.plugins.task(name).data_kind == kind:
                others.append(name)
    return own + others
