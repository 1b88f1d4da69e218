"""The classification accuracy score, on pictures whose answer is known."""

from __future__ import annotations

import pytest
import torch

from mmgan.metrics import cas
from mmgan.metrics.cas import Labelled, accuracy, small


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cas, "STEPS", 40)
    monkeypatch.setattr(cas, "BATCH", 32)


def stripes(n: int, seed: int, right: float = 1.0) -> Labelled:
    """Pictures of lying, standing and slanting stripes, with noise; of a share the class is told right."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=generator)
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    phases = torch.stack([rows, columns, rows + columns])[labels] + torch.randint(
        4, (n, 1, 1), generator=generator
    )
    pictures = (phases * torch.pi / 2).sin()[:, None] + 0.3 * torch.randn(n, 1, 16, 16, generator=generator)
    wrong = torch.rand(n, generator=generator) >= right
    told = torch.where(wrong, torch.randint(3, (n,), generator=generator), labels)
    return Labelled(pictures, told)


@pytest.mark.slow
def test_good_samples_teach_and_bad_ones_do_not() -> None:
    test = stripes(200, 1)
    assert accuracy(stripes(400, 0), test, 3) > 0.97
    noise = Labelled(
        torch.randn(400, 1, 16, 16, generator=torch.Generator().manual_seed(2)), test.labels.repeat(2)
    )
    assert accuracy(noise, test, 3) < 0.6


def test_labels_that_mean_nothing_teach_nothing() -> None:
    assert accuracy(stripes(400, 0, right=0), stripes(300, 1), 3) < 0.6


@pytest.mark.slow
def test_variety_counts() -> None:
    """Samples of two of three classes teach two of three."""
    training = stripes(600, 0)
    two = training.labels < 2
    found = accuracy(Labelled(training.pictures[two], training.labels[two]), stripes(300, 1), 3)
    assert 0.5 < found < 0.75


def test_the_same_each_time_and_no_global_randomness() -> None:
    before = torch.get_rng_state()
    with torch.no_grad():  # as a run evaluates
        first, second = (accuracy(stripes(100, 0), stripes(100, 1), 3) for _ in range(2))
    assert first == second
    assert torch.equal(before, torch.get_rng_state())


def test_progress_is_told() -> None:
    done: list[int] = []
    accuracy(stripes(50, 0), stripes(10, 1), 3, told=lambda: done.append(1))
    assert len(done) == 40


@pytest.mark.parametrize("side", [4, 8, 28, 32])
def test_pictures_of_any_size_and_colour(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cas, "STEPS", 3)
    pictures = torch.rand(20, 3, side, side)
    assert torch.equal(small(pictures), pictures)
    labelled = Labelled(pictures, torch.arange(20) % 2)
    assert 0 <= accuracy(labelled, labelled, 2) <= 1


def test_large_pictures_are_made_small() -> None:
    assert small(torch.full((2, 1, 64, 96), 0.5, dtype=torch.bfloat16)).shape == (2, 1, 32, 32)
