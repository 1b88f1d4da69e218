"""The settings of a trained run that ``--set`` may change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgan.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from mmgan.plugins import Plugins


def sampling_settings(
    folder: Path, plugins: Plugins, assignments: tuple[str, ...], evaluates: bool = False
) -> dict[str, Any]:
    """Parse ``--set`` for the run in a folder, as the ``changes`` of :func:`mmgan.load_run`.

    Args:
        folder: The run's.
        plugins: Those that are installed.
        assignments: The values of ``--set``, each ``KEY=VALUE``.
        evaluates: Whether what only evaluating reads may be set too.

    Raises:
        CheckpointError: This is not a run's folder.
        ConfigError: A setting is not one that only sampling reads, or an item has no ``=``.
    """
    from mmgan.config import parse_assignments, parse_value
    from mmgan.storage.folder import read_settings

    given = parse_assignments(assignments)
    task_class, values = read_settings(folder, plugins)
    allowed = sorted(task_class.sample_settings | (task_class.evaluate_settings if evaluates else set()))
    reader = "sampling or evaluating" if evaluates else "sampling"
    for key in given:
        if key not in allowed:
            raise ConfigError(
                f"--set {key}: {values['plugin']} has no setting {key!r} that only {reader} reads. "
                f"{did_you_mean(key, allowed)}".rstrip(),
                hint=f"Allowed: {', '.join(allowed) or 'none; this task has no such settings'}.",
            )
    return {key: parse_value(task_class.Config, key, value) for key, value in given.items()}


def changed_settings(
    folder: Path, plugins: Plugins, assignments: tuple[str, ...], given: dict[str, Any]
) -> dict[str, Any]:
    """Parse the settings of a run that is resumed, as the ``changes`` of :func:`mmgan.load_run`.

    Args:
        folder: The run's.
        plugins: Those that are installed.
        assignments: The values of ``--set``.
        given: Settings that have options of their own.

    Raises:
        CheckpointError: This is not a run's folder.
        ConfigError: An item has no ``=``, or a setting is given twice.
    """
    from mmgan.config import parse_assignments, parse_value
    from mmgan.data.opening import absolute
    from mmgan.storage.folder import read_settings

    assigned = parse_assignments(assignments)
    for name in assigned.keys() & {*given, "plugin"}:
        where = "a run can't change" if name == "plugin" else f"is given twice: --{name} and --set"
        raise ConfigError(f"{name} {where}.", hint="Leave it out of --set.")
    if isinstance(assigned.get("data"), str):
        assigned["data"] = absolute(assigned["data"], plugins)
    config_class = plugins.config_class(read_settings(folder, plugins)[0])
    return {key: parse_value(config_class, key, value) for key, value in assigned.items()} | given
