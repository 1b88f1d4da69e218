"""Walks through latent space: their ends, their steps, and that they stay on the sphere."""

from __future__ import annotations

import torch

from mmgan.tasks.walks import closed_walk, slerp


def test_a_walk_goes_from_corner_to_corner_and_back() -> None:
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    walk = closed_walk(corners, 6, torch.lerp)
    assert walk.tolist() == [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0.5, 0.5]]


def test_a_great_circle() -> None:
    start, end = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    for position, expected in ((0.0, [2, 0]), (0.5, [2**0.5, 2**0.5]), (1.0, [0, 2])):
        assert torch.allclose(slerp(start, end, torch.tensor([[position]])), torch.tensor([expected]).float())


def test_equal_and_opposite_ends_stay_finite() -> None:
    one = torch.tensor([[1.0, 2.0]])
    half = torch.tensor([[0.5]])
    assert torch.allclose(slerp(one, one, half), one, atol=1e-3)
    assert bool(slerp(one, -one, half).isfinite().all())
