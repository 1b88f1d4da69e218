"""The points of rings and grids, and how their modes are counted."""

from __future__ import annotations

import math

import pytest
import torch

from mmgan import Config, DataError, Draw
from mmgan_gan.points import Mixture, open_grid, open_ring

PERFECT = 1 - math.exp(-9 / 2)  # P(|x| < 3 sigma) of a round Gaussian in the plane: 0.98889


CONFIG = Config(plugin="gan")


def test_ring() -> None:
    ring = open_ring("", CONFIG)
    assert ring.centres.shape == (8, 2)
    assert torch.allclose(ring.centres.norm(dim=1), torch.ones(8))
    assert torch.allclose(ring.centres[0], torch.tensor([1.0, 0.0]))
    assert torch.allclose(ring.centres[2], torch.tensor([0.0, 1.0]), atol=1e-6)
    assert ring.sigma == 0.01


def test_grid() -> None:
    grid = open_grid("", CONFIG)
    expected = {(float(x), float(y)) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}
    assert {tuple(centre) for centre in grid.centres.tolist()} == expected
    assert grid.sigma == 0.05


def test_the_number_of_modes_can_be_chosen() -> None:
    assert len(open_ring("12", CONFIG).centres) == 12
    assert open_grid("2", CONFIG).centres.tolist() == [[-1, -1], [-1, 1], [1, -1], [1, 1]]


@pytest.mark.parametrize("argument", ["0", "101", "-8", "eight", "8.0", "²", "9" * 5000])
def test_a_number_of_modes_that_is_none_is_an_error(argument: str) -> None:
    with pytest.raises(DataError, match="from 1 to 100"):
        open_ring(argument, CONFIG)


@pytest.mark.parametrize("mixture", [open_ring("", CONFIG), open_grid("", CONFIG)])
def test_modes_are_equally_likely_and_as_wide_as_said(mixture: Mixture) -> None:
    sample = mixture.points[:50_000]
    assert sample.dtype == torch.float32
    mode = torch.cdist(sample, mixture.centres).argmin(1)
    share = torch.bincount(mode, minlength=len(mixture.centres)) / len(sample)
    assert torch.allclose(share, torch.full_like(share, 1 / len(share)), atol=0.006)
    offset = (sample - mixture.centres[mode]) / mixture.sigma
    assert torch.allclose(offset.mean(0), torch.zeros(2), atol=0.02)
    assert torch.allclose(offset.T.cov(), torch.eye(2), atol=0.03)


def test_points_follow_from_the_seed() -> None:
    ring, again = open_ring("", CONFIG), open_ring("", CONFIG)
    other = open_ring("", CONFIG.model_copy(update={"seed": 1}))
    assert torch.equal(ring.points, again.points)
    assert not (ring.points == other.points).all(1).any()
    indices = torch.tensor([5, 99_999, 0])
    assert torch.equal(ring.batch(indices, Draw(0, indices, indices)), ring.points[indices])


@pytest.mark.parametrize("mixture", [open_ring("", CONFIG), open_grid("", CONFIG)])
def test_a_perfect_sampler(mixture: Mixture) -> None:
    scores = mixture.scores(mixture.points[:50_000])
    assert scores["high_quality"] == pytest.approx(PERFECT, abs=0.002)
    assert scores["modes"] == len(mixture.centres)
    assert scores["missing"] == pytest.approx(1 - PERFECT, abs=0.02)  # the modes' shares vary a little


def test_scores_of_points_by_hand() -> None:
    grid = open_grid("2", CONFIG)  # four modes, good within 0.15
    scores = grid.scores(
        torch.tensor(
            [
                [1.0, 1.0],  # good: mode 1 has 4 of 8, but only 2 of 8 of the data
                [1.0, 1.0],
                [1.1, 1.1],
                [1.0, 0.86],
                [-1.0, 1.0],  # good: mode 2 has 1 of 8
                [-1.0, 0.84],  # 0.16 away
                [0.0, 0.0],
                [9.0, 9.0],
            ]
        )
    )
    # By the nearest mode 5, 2 and 1 of 8; the point between all four belongs to the first.
    reverse_kl = 5 / 8 * math.log(5 / 2) + 1 / 8 * math.log(1 / 2)
    assert scores == {
        "missing": 1 - (2 + 1) / 8,
        "modes": 2.0,
        "high_quality": 5 / 8,
        "reverse_kl": pytest.approx(reverse_kl),
    }


def test_one_mode_alone_and_none_at_all() -> None:
    ring = open_ring("", CONFIG)
    assert ring.scores(ring.centres[:1].expand(10, 2)) == {
        "missing": 7 / 8,
        "modes": 1.0,
        "high_quality": 1.0,
        "reverse_kl": pytest.approx(math.log(8)),
    }
    assert ring.scores(torch.zeros(10, 2)) == {
        "missing": 1.0,
        "modes": 0.0,
        "high_quality": 0.0,
        "reverse_kl": pytest.approx(math.log(8)),
    }


@pytest.mark.parametrize(
    ("mixture", "floor"), [(open_ring("", CONFIG), 0.0014), (open_grid("", CONFIG), 0.0048)]
)
def test_the_floor_of_the_divergence(mixture: Mixture, floor: float) -> None:
    found = [mixture.scores(part)["reverse_kl"] for part in mixture.points.split(2_500)]
    assert round((len(mixture.centres) - 1) / 5_000, 4) == floor
    assert sum(found) / len(found) == pytest.approx(floor, rel=0.25)
