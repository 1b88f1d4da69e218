"""The settings that may change when a run is resumed, and those that did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from mmgan.config import Config, to_json
from mmgan.counting import counted
from mmgan.errors import ConfigError, shown
from mmgan.settings import flat, model_of

#: Settings that do not decide what a step learns. Checkpoints do not hold them, and they may change freely.
#: The data is identified by its content, not by its place.
FREE = {
    *("steps", "device", "data", "data_b", "data_root", "download", "workers", "tensorboard", "keep"),
    *("graphs", "log_every", "sample_every", "checkpoint_every", "evaluate_every"),
}
#: Settings that no run can change: it would be another run.
FIXED = {"plugin", "seed", "holdout"}

#: A setting's value before and after.
Changes = dict[str, tuple[Any, Any]]


def settings_of(config: Config) -> dict[str, Any]:
    """Return the settings that a checkpoint holds, as JSON values."""
    return {key: value for key, value in to_json(config).items() if key not in FREE}


def find(before: Mapping[str, Any], config: Config) -> Changes:
    """Return the settings that differ from a checkpoint's, by whole names such as ``guardian.patience``.

    A setting that the checkpoint does not have is not a change.
    """
    fields = type(config).model_fields
    known = {key: _in_full(fields[key], before[key]) for key in before.keys() & fields.keys() - FREE}
    # What can't change had its default in a run of before it was there.
    new = FIXED & fields.keys() - before.keys()
    known |= {key: fields[key].get_default() for key in new if not fields[key].is_required()}
    then, now = flat(known), flat(settings_of(config))
    # None is left out on either side.
    return {key: (then[key], now.get(key)) for key in sorted(then) if then[key] != now.get(key)}


def _in_full(field: FieldInfo, value: Any) -> Any:
    """Return a plugin's settings as its current model has them: new ones added, earlier forms converted."""
    model = model_of(field)
    if model is None:
        return value
    try:
        return model.model_validate(value).model_dump(mode="json", exclude_none=True)
    except ValidationError:
        return value


def check(changes: Changes, fixed: frozenset[str], step: int) -> None:
    """Refuse a change that a run can't make.

    Args:
        changes: From :func:`find`.
        fixed: Settings of the task that can't change.
        step: The run's step.

    Raises:
        ConfigError: A change is not allowed; the message names it.
    """
    for key in changes:
        if {key, key.partition(".")[0]} & (FIXED | fixed):
            before, after = changes[key]
            raise ConfigError(
                f"{key} can't change from {shown(before)} to {shown(after)} in a run that has done "
                f"{counted(step, 'step')}.",
                hint=f"Set {key} = {shown(before)} again in its config.toml, or begin a new run.",
            )


def describe(changes: Changes) -> str:
    """Write ``"lr 0.0002 -> 0.0001, loss 'hinge' -> 'wgan'"``."""
    return ", ".join(f"{key} {shown(before)} -> {shown(after)}" for key, (before, after) in changes.items())


def options_of(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return the options of each group of an optimizer, such as its learning rate, as JSON values."""
    return [
        {key: _plain(value) for key, value in group.items() if key not in ("params", "initial_lr")}
        for group in optimizer.param_groups
    ]


def apply_options(
    optimizer: torch.optim.Optimizer, before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> None:
    """Give a loaded optimizer the options that the task now builds with other values.

    An option that the task itself has moved during training stays where it was, unless its setting changed.

    Args:
        optimizer: Holds the state of a checkpoint.
        before: The options with which the checkpoint's was built; empty in checkpoints of before.
        now: Those with which this one was built.
    """
    for group, old, new in zip(optimizer.param_groups, before, now, strict=False):
        for key, value in new.items():
            if key in old and old[key] != value:
                group[key] = tuple(value) if isinstance(value, list) else value
                if key == "lr" and "initial_lr" in group:
                    group["initial_lr"] = value


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.item() if value.numel() == 1 else value.tolist()
    return list(value) if isinstance(value, tuple) else value
