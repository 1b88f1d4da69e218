"""The share of copies: on points whose answer is known, and calibrated on real pictures."""

from __future__ import annotations

import pytest
import torch

from mmgan.errors import UsageError
from mmgan.metrics import distances
from mmgan.metrics.features import PooledPixels, RandomFeatures
from mmgan.metrics.memorisation import memorisation, memorised


def points(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_on_a_line() -> None:
    # Nearest others are 2, 2, 3 and 10 away: the threshold is 2, and what is as far is no copy.
    training = points(0, 2, 5, 15)
    generated = points(0, 1.5, -1.9, -2, 7.1, 16.9, 18)
    assert memorised(generated, training).tolist() == [True, True, True, False, False, True, False]
    assert memorisation(generated, training) == pytest.approx(4 / 7)


def test_the_threshold_is_the_first_percentile() -> None:
    # 101 pairs of points that are 1, 2, …, 101 apart: the first percentile is the second least.
    starts = 300.0 * torch.arange(101)
    training = torch.cat([starts, starts + 1 + torch.arange(101)])[:, None]
    far = points(-1.5, -2.5, -3.5)
    assert memorised(far, training).tolist() == [True, False, False]


def test_equal_training_examples_count_once() -> None:
    training = points(0, 2, 5, 15)
    twice = torch.cat([training, training, training[:1]])
    generated = points(0, 1.5, -2, 7.1)
    assert torch.equal(memorised(generated, twice), memorised(generated, training))
    # In float32, in another batch, equal pictures have features that differ in the last digits.
    rounded = torch.cat([training, training + 1e-6])
    assert torch.equal(memorised(generated, rounded), memorised(generated, training))


def test_copies_are_all_found() -> None:
    training = normal(300, 16)
    assert memorisation(training, training) == 1
    assert memorisation(training + 1e-3 * normal(300, 16, 1), training) == 1


def test_new_examples_of_the_same_distribution_are_about_one_in_a_hundred() -> None:
    found = [memorisation(normal(500, 8, seed), normal(500, 8, seed + 99)) for seed in range(20)]
    assert 0.005 < sum(found) / 20 < 0.02


def test_examples_far_away_are_none() -> None:
    assert memorisation(normal(50, 4) + 100, normal(50, 4, 1)) == 0


def test_on_real_digits() -> None:
    """Held-out digits are few percent, copies all, and copies with some noise in the pixels all."""
    from sklearn.datasets import load_digits

    digits = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    digits = digits[torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))]
    training, held = digits[:1200], digits[1200:]
    noisy = (training[:300] + 0.05 * normal(300, 64).view(300, 1, 8, 8)).clamp(-1, 1)
    for features in (RandomFeatures(), PooledPixels(1)):
        known = features(training)
        assert memorisation(features(held), known) < 0.04
        assert memorisation(features(training[:300]), known) == 1
        assert memorisation(features(noisy), known) > 0.98


@pytest.mark.parametrize("training", [points(), points(1), points(3, 3, 3), torch.full((9, 5), 1e3)])
def test_what_can_t_be_measured(training: torch.Tensor) -> None:
    with pytest.raises(UsageError, match="at least 2 different ones are needed"):
        memorisation(torch.zeros(2, training.shape[1]), training)


def test_no_samples() -> None:
    with pytest.raises(UsageError, match="at least 1 is needed"):
        memorisation(points(), points(1, 2))


def test_what_is_compared_is_bounded_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    generated, training = normal(120, 4), normal(150, 4, 1)
    whole = memorised(generated, training)
    monkeypatch.setattr("mmgan.metrics.memorisation.CHUNK", 7)
    assert torch.equal(memorised(generated, training), whole)
    monkeypatch.setattr(distances, "MAX_PAIRED", 50)
    assert len(memorised(generated, training)) == 50
    # A copy of any training example is found, not only of those that the threshold is taken from.
    assert memorisation(training, training) == 1
