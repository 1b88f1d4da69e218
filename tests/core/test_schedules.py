"""Numbers that change from step to step."""

from __future__ import annotations

import math

import pytest

from mmgan.schedules import ScheduleConfig, cosine


def test_half_a_cosine() -> None:
    at = cosine(2.0, 1.0, 100)
    assert at(0) == 2.0
    assert at(25) == pytest.approx(2 - (1 - math.cos(math.pi / 4)) / 2)
    assert at(50) == pytest.approx(1.5)
    assert at(75) == pytest.approx(1 + (1 - math.cos(math.pi / 4)) / 2)
    assert at(100) == at(10_000) == 1.0


def test_it_is_slow_at_both_ends() -> None:
    at = cosine(0.0, 1.0, 1000)
    speed = [at(step + 1) - at(step) for step in range(1000)]
    assert speed[0] < speed[250] < speed[500] > speed[750] > speed[999]
    assert all(one > 0 for one in speed)


def test_by_default_it_takes_the_whole_run() -> None:
    settings = {"plugin": "toy", "steps": 200}
    assert ScheduleConfig(**settings).cosine(0.0, 1.0)(100) == pytest.approx(0.5)
    assert ScheduleConfig(**settings, decay_steps=100).cosine(0.0, 1.0)(100) == 1.0
