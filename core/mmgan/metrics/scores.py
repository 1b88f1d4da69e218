"""Scores by name, and the reasons why others are missing: few examples suffice for some metrics only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mmgan.counting import counted
from mmgan.errors import ConfigError, MmganError

if TYPE_CHECKING:
    from mmgan.task import Task


class Scores(dict[str, float]):
    """Scores by name.

    Attributes:
        missing: The names of scores that can't be had, and why; mostly since there are too few examples.
    """

    def __init__(self, scores: Mapping[str, float] | None = None) -> None:
        super().__init__(scores or {})
        self.missing: dict[str, str] = {}

    def add(self, name: str, measure: Callable[[], Any]) -> None:
        """Add a score, or why it can't be had, where measuring raises or gives NaN.

        A metric may be a plugin's, which raises anything on few examples: the others are still worth having.

        Args:
            name: Of the score.
            measure: Returns a number; called once.
        """
        try:
            value = float(measure())
        except Exception as error:
            told = error.message if isinstance(error, MmganError) else f"{type(error).__name__}: {error}"
            self.missing[name] = " ".join(told.split())
            return
        if math.isnan(value):
            self.missing[name] = "It is not a number (NaN) for these examples."
        else:
            self[name] = value

    def include(self, others: Mapping[str, float], prefix: str = "") -> None:
        """Add all scores of ``others``, and its ``missing`` ones, with ``prefix`` before their names."""
        self.update({f"{prefix}{name}": value for name, value in others.items()})
        missing: Mapping[str, str] = getattr(others, "missing", {})
        self.missing.update({f"{prefix}{name}": reason for name, reason in missing.items()})


def check_best(task: Task, count: int, too_few: int, what: str) -> None:
    """Refuse to train where the score that chooses the best checkpoint can't be had.

    Args:
        task: Has that score, and the settings.
        count: The examples that the data has.
        too_few: The most examples that do not suffice.
        what: One of them is called so.

    Raises:
        ConfigError: The run is to be evaluated, and there are too few.
    """
    if task.config.evaluate_every and count <= too_few:
        raise ConfigError(
            f"evaluate_every = {task.config.evaluate_every}: the best checkpoint is chosen by "
            f"{task.best_score}, which needs more than {counted(too_few, what)}, and the data has {count:,}.",
            hint=f"Train with --set evaluate_every=0, or on more {what}s. `mmgan evaluate` gives the scores "
            "that need fewer.",
        )
