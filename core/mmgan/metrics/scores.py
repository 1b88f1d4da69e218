"""Scores by name, and why others are missing: some metrics need more examples than others."""

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
        missing: The names of scores that could not be computed, and why; mostly for lack of examples.
        words: What they say, in sentences for a person.
    """

    def __init__(self, scores: Mapping[str, float] | None = None) -> None:
        super().__init__(scores or {})
        self.missing: dict[str, str] = {}
        self.words: list[str] = []

    def add(self, name: str, measure: Callable[[], Any]) -> None:
        """Add a score; if measuring raises or gives NaN, add the reason to ``missing``.

        A plugin's metric may raise anything on few examples: the other scores are still useful.

        Args:
            name: The score's name.
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
    """Refuse to train if the score that chooses the best checkpoint can't be computed.

    Args:
        task: The task with that score, and with the settings.
        count: The number of examples in the data.
        too_few: The largest number of examples that is not enough.
        what: The noun for one example.

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
