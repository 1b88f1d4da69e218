"""LeCam regularisation against its formula."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mmgan.losses import LeCam


def lecam(decay: float = 0.5, start: int = 0, mean: Any = Tensor.detach) -> LeCam:
    return LeCam("cpu", mean, decay, start)


def test_the_formula() -> None:
    term = lecam()
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-1.0, 1.0])
    # The averages begin at 0 and move half way: a_R = 1, a_F = 0.
    assert term(real, fake).item() == pytest.approx((1 + 9) / 2 + (4 + 0) / 2)
    # Then a_R = 1.5, a_F = 0, and scores that lie below their limits cost nothing.
    assert term(real - 10, fake + 10).item() == 0
    assert term.averages.tolist() == [(1.0 - 8.0) / 2, 5.0]


def test_until_it_begins_the_averages_are_the_present_means() -> None:
    term = lecam(start=2)
    for _ in range(2):
        assert term(torch.tensor([4.0]), torch.tensor([-4.0])).item() == 0
        assert term.averages.tolist() == [4.0, -4.0]
    assert term(torch.tensor([2.0]), torch.tensor([0.0])).item() == pytest.approx((2 + 2) ** 2 + 3**2)
    assert term.averages.tolist() == [3.0, -2.0]


def test_it_is_published_with_099_and_1000() -> None:
    term = LeCam("cpu", Tensor.detach)
    assert (term.decay, term.start) == (0.99, 1000)


def test_gradients_reach_scores_and_not_the_averages() -> None:
    term = lecam()
    real, fake = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    term(real, fake).backward()
    assert real.grad is not None
    torch.testing.assert_close(real.grad, torch.full((3,), 2 / 3))
    assert not term.averages.requires_grad
    term(real, fake).backward()  # no graph is left from the update before


def test_half_precision_scores_are_widened() -> None:
    value = lecam()(torch.full((2,), 300.0, dtype=torch.float16), torch.zeros(2, dtype=torch.float16))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(300**2 + 150**2)


def test_the_means_are_those_over_the_ranks() -> None:
    term = lecam(mean=lambda means: means + torch.tensor([1.0, 2.0]))
    term(torch.ones(2), torch.zeros(2))
    assert term.averages.tolist() == [1.0, 1.0]


def test_a_restored_one_goes_on_as_if_it_had_never_stopped() -> None:
    one, other = lecam(start=3), lecam(start=3)
    draws = torch.randn(8, 2, 5, generator=torch.Generator().manual_seed(0))
    for real, fake in draws[:4]:
        one(real, fake)
    other.load_state_dict(one.state_dict())
    for real, fake in draws[4:]:
        assert torch.equal(one(real, fake), other(real, fake))


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"averages": torch.zeros(3), "updates": torch.zeros(())},
        {"averages": torch.tensor([0.0, float("nan")]), "updates": torch.zeros(())},
        {"averages": [0, 0], "updates": 1},
    ],
)
def test_a_stranger_s_state_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"LeCam's averages are not 2 finite numbers"):
        lecam().load_state_dict(state)
