"""The replay pool, the schedule and the scores, each against what its paper says."""

from __future__ import annotations

import pytest
import torch

from mmgan_translation.layers import ReflectionPad, reflected
from mmgan_translation.pool import ReplayPool
from mmgan_translation.schedule import linear_decay, over_a_run
from mmgan_translation.scores import WithoutLearning, means, pair_scores


@pytest.mark.parametrize(("epoch", "factor"), [(0, 1), (99, 1), (100, 0.9901), (150, 0.495), (199, 0.0099)])
def test_the_papers_learning_rate(epoch: int, factor: float) -> None:
    assert linear_decay(epoch, 100, 100) == pytest.approx(factor, abs=5e-5)
    # A run of 200 epochs of 383 pictures, at the start of that epoch and at its end.
    schedule = over_a_run(200 * 383, 100, 100)
    assert schedule(epoch * 383) == schedule(epoch * 383 + 382) == linear_decay(epoch, 100, 100)


def test_a_run_of_any_length_has_the_curve() -> None:
    schedule = over_a_run(1000, 100, 100)
    assert [schedule(step) for step in (0, 499)] == [1, 1]
    assert schedule(750) == pytest.approx(0.5, abs=0.01)
    assert 0 < schedule(999) < 0.01
    assert schedule(5000) == schedule(999)
    assert {over_a_run(1000, 100, 0)(step) for step in range(1000)} == {1.0}
    assert over_a_run(100, 0, 1)(0) == 0.5


def test_the_pool_fills_with_the_first_pictures_which_come_back() -> None:
    pool = ReplayPool(50)
    pictures = torch.arange(50.0).reshape(50, 1, 1, 1)
    assert torch.equal(pool.exchange(pictures), pictures)
    assert torch.equal(torch.stack(pool.pictures), pictures)


def test_then_half_of_the_pictures_are_exchanged_for_kept_ones() -> None:
    torch.manual_seed(0)
    pool = ReplayPool(50)
    pool.exchange(torch.arange(50.0).reshape(50, 1, 1, 1))
    given = torch.arange(50.0, 2050.0).reshape(-1, 1, 1, 1)
    taken = pool.exchange(given).flatten()
    swapped = taken != given.flatten()
    assert float(swapped.float().mean()) == pytest.approx(0.5, abs=0.05)
    # Nothing is lost or doubled: what came in is out again, or in the pool.
    kept = torch.stack(pool.pictures).flatten()
    assert sorted(torch.cat([taken, kept]).tolist()) == list(range(2050))
    # What came back was given earlier, and every place is in turn.
    assert (taken[swapped] < given.flatten()[swapped]).all()
    assert len(set(kept.tolist()) & set(range(50))) < 5


def test_a_pool_of_none() -> None:
    pool = ReplayPool(0)
    fake = torch.randn(2, 1, 2, 2, requires_grad=True)
    assert torch.equal(pool.exchange(fake), fake)
    assert not pool.exchange(fake).requires_grad
    assert pool.state_dict() == {}


def test_a_pool_that_was_saved_goes_on_as_if_it_had_not_stopped() -> None:
    pool, again = ReplayPool(3), ReplayPool(3)
    pool.exchange(torch.randn(4, 1, 2, 2, dtype=torch.bfloat16))
    again.load_state_dict(pool.state_dict(), (1, 2, 2), torch.device("cpu"))
    new = torch.randn(20, 1, 2, 2)
    results = []
    for each in (pool, again):
        torch.manual_seed(1)
        results.append(torch.cat([each.exchange(new), torch.stack(each.pictures)]))
    assert torch.equal(*results)


def test_scores_in_closed_form() -> None:
    targets = torch.zeros(2, 3, 16, 16)
    off = torch.stack([torch.full((3, 16, 16), 0.2), torch.full((3, 16, 16), 0.02)])
    rows = pair_scores(off, targets)
    # In [0, 1] the errors are 0.1 and 0.01: 20 dB and 40 dB.
    assert [row["l1"] for row in rows] == pytest.approx([0.1, 0.01])
    assert [row["psnr"] for row in rows] == pytest.approx([20, 40], abs=1e-4)
    assert means(rows, "_of_input")["l1_of_input"] == pytest.approx(0.055)
    assert pair_scores(targets, targets) == [{"l1": 0, "psnr": 100, "ssim": 1}] * 2
    # Grey pictures are compared with every channel.
    assert pair_scores(off[:, :1], targets)[0]["l1"] == pytest.approx(0.1)


def test_ssim_is_that_of_a_known_pair() -> None:
    """Two constant pictures: their structure is equal, their luminance is not (Wang et al. 2004, eq. 6)."""
    first, second, c1 = 0.5, 0.25, (0.01 * 2) ** 2
    (scores,) = pair_scores(torch.full((1, 1, 32, 32), first), torch.full((1, 1, 32, 32), second))
    assert scores["ssim"] == pytest.approx((2 * first * second + c1) / (first**2 + second**2 + c1), abs=1e-5)


def test_what_needs_no_learning() -> None:
    known = torch.stack([torch.full((1, 40, 40), value) for value in (-1.0, 0.0, 1.0)])
    without = WithoutLearning([(known[:2], -known[:2]), (known[2:], -known[2:])], lambda rows: -known[rows])
    rows = without.scores(known[[2, 0]] * 0.9, -known[[2, 0]])
    assert rows == [{"l1_of_mean": 0.5, "l1_of_nearest": 0}] * 2


@pytest.mark.parametrize("pad", [1, 3, (1, 2, 0, 3)])
def test_a_reflection_by_copies_is_torch_s(pad: int | tuple[int, int, int, int]) -> None:
    """As on a GPU that is to repeat to the byte, where torch's has no gradient."""
    layer = ReflectionPad(pad)
    left, right, top, bottom = layer.padding
    x = torch.randn(2, 3, 5, 6, requires_grad=True)
    ours = reflected(reflected(x, 2, top, bottom), 3, left, right)
    assert torch.equal(ours, layer(x))
    (gradient,) = torch.autograd.grad((ours * torch.arange(ours.numel()).view_as(ours)).sum(), x)
    theirs = layer(x)
    (expected,) = torch.autograd.grad((theirs * torch.arange(theirs.numel()).view_as(theirs)).sum(), x)
    torch.testing.assert_close(gradient, expected)
