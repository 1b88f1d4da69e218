"""Conditions at sampling: what is asked for, such as a class, as a task takes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgan.counting import some
from mmgan.data.tree import printable
from mmgan.errors import PluginError, UsageError, did_you_mean, shown

if TYPE_CHECKING:
    from mmgan.run import Run


def conditions(run: Run, n: int, asked: Mapping[str, Any], method: Callable[..., Any]) -> dict[str, Any]:
    """Return what ``task.sample(n, …)`` is given beside ``n``, by name.

    Args:
        run: The run; its task's :attr:`~mmgan.Task.conditions` say what it takes.
        n: How many samples.
        asked: Values by name; None for what is not asked for. A label is a class's name or number, another
            condition anything; a list of ``n`` of them gives each sample its own.
        method: The task's own, which is given them: ``task.sample`` or the like.

    Returns:
        ``label``: int64 (n,) on the device, where the task takes labels; those that nobody asked for are of
        all classes, one class after the other. ``truncation``: float32 (n,), in (0, 1]. Of another condition
        a list of ``n`` values.

    Raises:
        UsageError: The task does not take a condition, or there is no such class, or not n values in a list.
        PluginError: The task takes labels, and its data has no classes, or the method takes none.
    """
    asked = {name: value for name, value in asked.items() if value is not None}
    takes = run.task.conditions
    for name in asked:
        if name not in takes:
            told = f"It takes {' and '.join(takes)}." if takes else "It was trained without conditions."
            conditional = "conditional" in type(run.config).model_fields and name == "label"
            raise UsageError(
                f"This run of {run.config.plugin} takes no {name}. {told}",
                hint="A new run with --set conditional=true learns classes." if conditional else "",
            )
    check_classes(run)
    found: dict[str, Any] = {name: _each(name, value, n) for name, value in asked.items()}
    if "label" in takes:
        labels = [label_of(run, one) for one in found["label"]] if "label" in found else spread(run, n)
        found["label"] = torch.tensor(labels, dtype=torch.int64, device=run.device.torch)
    if "truncation" in found:
        found["truncation"] = _truncation(run, found["truncation"])
    parameters = inspect.signature(method).parameters.values()
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
        # A plugin's method may be of before its base class had conditions.
        for name in found.keys() - {parameter.name for parameter in parameters}:
            kind = UsageError if name in asked else PluginError
            raise kind(f"`{method.__name__}` of {run.config.plugin} takes no {name}.", hint=_METHODS)
    return found


_METHODS = "A task's `sample`, `sample_chunks` and `interpolate` take what its `conditions` name."


def check_classes(run: Run) -> None:
    """Raise PluginError where a task takes labels, and nobody knows which there are."""
    if "label" in run.task.conditions and not run.data_info.classes:
        raise PluginError(
            f"The task {run.config.plugin!r} takes labels, and its data has no classes.",
            hint="Its data set's `info`, a mmgan.DataInfo, has their names.",
        )


def _truncation(run: Run, values: Sequence[Any]) -> Tensor:
    for value in values:
        if not (isinstance(value, int | float) and 0 < value <= 1):
            raise UsageError(
                f"truncation = {shown(value)} is not allowed.",
                hint="It is a number, more than 0 and at most 1, which truncates nothing.",
            )
    return torch.tensor(values, dtype=torch.float32, device=run.device.torch)


def checked_count(n: int) -> int:
    """Return a number of samples; UsageError if it is none."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise UsageError(f"n = {n!r} is not a number of samples, 1 or more.")
    return n


def label_of(run: Run, label: str | int) -> int:
    """Return the number of a class.

    Args:
        run: The run that knows the classes.
        label: Its name, in capitals or not; or its number, from 0.

    Raises:
        UsageError: There is no such class.
    """
    names: tuple[str, ...] = run.data_info.classes
    if isinstance(label, str):
        if label in names:
            return names.index(label)
        alike = [place for place, name in enumerate(names) if name.casefold() == label.casefold()]
        if len(alike) == 1:
            return alike[0]
    if str(label).isdecimal() and len(str(label)) < 10 and int(label) < len(names):
        return int(label)
    shown_names = some([printable(name) for name in names], 20)  # A run's folder may be a stranger's.
    raise UsageError(
        f"label = {label!r} is not a class of this run. {did_you_mean(str(label), names)}".rstrip(),
        hint=f"Its {len(names):,} classes: {shown_names}; or their numbers, from 0.",
    )


def names_of(run: Run, found: Mapping[str, Any]) -> list[str] | None:
    """Return the class of each sample by name, for files and pictures; None where samples have no labels."""
    if "label" not in found:
        return None
    return [run.data_info.classes[label] for label in found["label"].tolist()]


def spread(run: Run, n: int) -> list[int]:
    """Return ``n`` labels of all classes, one class after the other; of more classes than n, some of them."""
    classes = len(run.data_info.classes)
    return [place * classes // n for place in range(n)]


def full_rows(run: Run, n: int) -> int:
    """Return at most ``n``, so that each class that is shown has as many samples as the others."""
    if "label" not in run.task.conditions:
        return n
    check_classes(run)
    shown = min(n, len(run.data_info.classes))
    return n // shown * shown


def _each(name: str, value: Any, n: int) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * n
    if len(value) != n:
        raise UsageError(f"{name}: {len(value)} values were given for {n} samples.", hint="Give one, or n.")
    return list(value)
