"""Scores that can be had, and why others can't."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmgan.errors import ConfigError, UsageError
from mmgan.metrics.scores import Scores, check_best


def failing(error: Exception) -> Any:
    def fail() -> float:
        raise error

    return fail


def test_what_is_measured_is_a_number_and_what_is_not_has_its_reason() -> None:
    scores = Scores({"first": 1.0})
    scores.add("tensor", lambda: torch.tensor(2.5))
    scores.add("few", failing(UsageError("It needs\nten.", hint="more")))
    scores.add("broken", failing(ZeroDivisionError("division by zero")))
    scores.add("nan", lambda: float("nan"))
    scores.add("none", lambda: None)
    assert scores == {"first": 1.0, "tensor": 2.5}
    assert scores.missing.pop("none").startswith("TypeError: ")
    assert scores.missing == {
        "few": "It needs ten.",
        "broken": "ZeroDivisionError: division by zero",
        "nan": "It is not a number (NaN) for these examples.",
    }


def test_ctrl_c_is_not_a_reason() -> None:
    with pytest.raises(KeyboardInterrupt):
        Scores().add("late", failing(KeyboardInterrupt()))  # type: ignore[arg-type]


def test_scores_of_a_part_come_in_under_a_prefix() -> None:
    part = Scores({"kernel": 1.0})
    part.add("frechet", failing(UsageError("Too few.")))
    scores = Scores()
    scores.include(part, "AtoB_")
    scores.include({"plain": 2.0})
    assert scores == {"AtoB_kernel": 1.0, "plain": 2.0}
    assert scores.missing == {"AtoB_frechet": "Too few."}


def test_the_score_that_chooses_the_best_checkpoint_is_needed_where_a_run_is_evaluated() -> None:
    config = SimpleNamespace(evaluate_every=10)
    task: Any = SimpleNamespace(config=config, best_score="kernel")
    check_best(task, 2, 1, "picture")
    with pytest.raises(ConfigError, match="kernel, which needs more than 1 picture, and the data has 1") as e:
        check_best(task, 1, 1, "picture")
    assert "evaluate_every=0" in e.value.hint
    config.evaluate_every = 0
    check_best(task, 1, 1, "picture")
