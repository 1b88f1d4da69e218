"""p moves as published, in closed form; its state is checked, since a checkpoint may come from a stranger."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmgan.augment import INTERVAL, LIMIT, Controller

BATCH = 64
STEP = BATCH * 4 / 500_000


def controller(target: float = 0.6, speed: float = 500_000) -> Controller:
    return Controller(target, speed, "cpu")


def observe(moved: Controller, sign: float, times: int, examples: int = BATCH) -> None:
    for _ in range(times):
        moved.observe(torch.tensor(sign), examples)


def test_p_rises_by_the_examples_over_the_speed() -> None:
    moved = controller()
    assert moved.p == 0
    observe(moved, 1.0, 3)
    assert (float(moved.p), int(moved.updates)) == (0, 0)
    for updates in range(1, 30):
        observe(moved, 1.0, INTERVAL if updates > 1 else 1)
        assert float(moved.p) == pytest.approx(updates * STEP, rel=1e-5)
        assert int(moved.updates) == updates


def test_p_falls_below_the_target_and_ends_at_0() -> None:
    moved = controller()
    observe(moved, 1.0, 10 * INTERVAL)
    observe(moved, 0.5, 4 * INTERVAL)
    assert float(moved.p) == pytest.approx(6 * STEP, rel=1e-5)
    observe(moved, -1.0, 20 * INTERVAL)
    assert float(moved.p) == 0
    assert int(moved.updates) == 34


def test_the_mean_over_the_interval_decides() -> None:
    for signs, direction in (((1, 1, 1, -1), -1), ((1, 1, 1, 0), 1), ((0.5, 0.5, 0.5, 0.9), 0)):
        moved = controller(0.6 if direction else 0.6000000238418579)
        observe(moved, 1.0, 10 * INTERVAL)
        before = float(moved.p)
        for sign in signs:
            observe(moved, sign, 1)
        assert float(moved.p) - before == pytest.approx(direction * STEP, abs=STEP / 100)


def test_the_target_and_the_speed() -> None:
    moved = controller(target=-0.5, speed=2_560)
    observe(moved, -0.4, 2 * INTERVAL)
    assert float(moved.p) == pytest.approx(0.2)
    observe(moved, -0.4, 1, 0)
    # Batches of other sizes count as what they are.
    observe(moved, -0.4, INTERVAL - 1, 2 * BATCH)
    assert float(moved.p) == pytest.approx(0.2 + 3 * 2 * BATCH / 2_560)


def test_p_ends_at_the_limit() -> None:
    moved = controller(speed=100)
    observe(moved, 1.0, 3 * INTERVAL)
    assert float(moved.p) == pytest.approx(LIMIT)


def test_p_stays_in_its_memory() -> None:
    """Whoever holds p, such as a CUDA graph, sees it move."""
    moved = controller(speed=1_000)
    p, updates = moved.p, moved.updates
    observe(moved, 1.0, INTERVAL)
    assert float(p) > 0
    moved.load_state_dict(controller().state_dict())
    assert (float(p), int(updates)) == (0, 0)


@pytest.mark.parametrize("done", range(2 * INTERVAL))
def test_its_state_goes_on_at_any_moment(done: int) -> None:
    first, second = controller(speed=5_000), controller(speed=5_000)
    observe(first, 1.0, done)
    second.load_state_dict(first.state_dict())
    for moved in (first, second):
        observe(moved, 1.0, 2 * INTERVAL + 1)
    assert first.state_dict() == second.state_dict()
    assert float(first.p) > 0


def test_a_state_is_a_copy() -> None:
    moved = controller()
    state = moved.state_dict()
    observe(moved, 1.0, INTERVAL)
    assert float(state["p"]) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"p": torch.tensor(0.9)},
        {"p": torch.tensor(-0.1)},
        {"p": torch.tensor(float("nan"))},
        {"p": torch.tensor(0.5, dtype=torch.float64)},
        {"p": torch.zeros(2)},
        {"p": 0.5},
        {"signs": torch.tensor(float("inf"))},
        {"count": torch.tensor(4)},
        {"count": torch.tensor(-1)},
        {"count": torch.tensor(1.0)},
        {"examples": torch.tensor(-1.0)},
        {"updates": torch.tensor(-1)},
        {"more": torch.tensor(0.0)},
    ],
)
def test_a_stranger_s_state_is_refused(wrong: dict[str, Any]) -> None:
    moved = controller()
    before = moved.state_dict()
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}|the state of"):
        moved.load_state_dict({**before, **wrong})
    assert moved.state_dict() == before
    for other in ([], {}, {"p": torch.tensor(0.5)}):
        with pytest.raises(ValueError, match="holds p, signs, count, examples, updates"):
            moved.load_state_dict(other)  # type: ignore[arg-type]


def test_the_greatest_p_is_no_stranger_s() -> None:
    moved = controller(speed=100)
    observe(moved, 1.0, 3 * INTERVAL)
    controller().load_state_dict(moved.state_dict())
