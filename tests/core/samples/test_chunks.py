"""Samples in chunks: the same ones as together, and between two chunks a run is as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from toys import Toy, assert_same, everything, toy_run

import mmgan
from mmgan import PointSamples, Samples
from mmgan.engine import train
from mmgan.errors import PluginError, UsageError


class Chunked(Toy):
    """Draws latents for each chunk, and checks that it is sampled as ever."""

    def sample(self, n: int) -> PointSamples:
        return PointSamples(torch.cat([chunk.points for chunk in self.sample_chunks(n)]))

    def sample_chunks(self, n: int, prompt: str = "") -> Iterator[PointSamples]:
        for start in range(0, n, 4):
            assert not torch.is_grad_enabled()
            assert not self.g.training
            yield PointSamples(self.g(self.latents(min(4, n - start))) + torch.rand(1) + random.random())


def points(chunks: Iterator[Samples]) -> torch.Tensor:
    return torch.cat([chunk.points for chunk in chunks])  # type: ignore[attr-defined]


def test_chunks_are_the_samples_and_know_their_place() -> None:
    run = toy_run(task=Chunked)
    chunks = list(run.sample_chunks(10, seed=3))
    assert [(chunk.offset, chunk.total, len(chunk)) for chunk in chunks] == [
        (0, 10, 4),
        (4, 10, 4),
        (8, 10, 2),
    ]
    assert torch.equal(points(iter(chunks)), run.sample(10, seed=3).points)
    assert not torch.equal(points(run.sample_chunks(10)), run.sample(10, seed=3).points)


def test_between_two_chunks_the_process_and_the_run_are_as_they_were() -> None:
    run = toy_run(task=Chunked, steps=6)
    run.players["G"].module[1].eval()
    before, whole = everything(run), run.sample(10).points
    chunks, seen = run.sample_chunks(10), []
    for _ in range(3):
        seen.append(next(chunks).points)  # type: ignore[attr-defined]
        assert run.players["G"].module.training
        assert not run.players["G"].module[1].training
        assert torch.is_grad_enabled()
        # Whoever takes the chunks may draw, seed and train meanwhile.
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
    assert torch.equal(torch.cat(seen), whole)
    after = everything(run)
    assert all(torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_chunks_that_nobody_takes_change_nothing(taken: int) -> None:
    quiet, busy = toy_run(task=Chunked, steps=6), toy_run(task=Chunked, steps=6)
    state = torch.get_rng_state()
    chunks = busy.sample_chunks(10)
    for _ in range(taken):
        next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert torch.equal(torch.get_rng_state(), state)
    train(quiet)
    train(busy)
    assert_same(quiet, busy)


def test_an_error_in_a_chunk_changes_nothing() -> None:
    class Failing(Chunked):
        def sample_chunks(self, n: int, prompt: str = "") -> Iterator[PointSamples]:
            yield from super().sample_chunks(4)
            torch.rand(3)
            raise ValueError("no more")

    run = toy_run(task=Failing)
    state = torch.get_rng_state()
    chunks = run.sample_chunks(10)
    next(chunks)
    with pytest.raises(PluginError, match="failed in sample_chunks .*ValueError: no more"):
        next(chunks)
    assert torch.equal(torch.get_rng_state(), state)
    assert run.players["G"].module.training


def test_a_task_without_chunks_is_sampled_whole() -> None:
    run = toy_run()
    (chunk,) = run.sample_chunks(10)
    assert torch.equal(chunk.points, run.sample(10).points)  # type: ignore[attr-defined]


def test_a_subclass_that_samples_in_its_own_way_is_asked_for_that() -> None:
    class Own(Chunked):
        def sample(self, n: int) -> PointSamples:
            return PointSamples(torch.zeros(n, 2))

    class Later(Own):
        def loss(self, *args: Any) -> Any:
            return super().loss(*args)

    class Both(Own):
        def sample_chunks(self, n: int, prompt: str = "") -> Iterator[PointSamples]:
            yield from (PointSamples(torch.ones(1, 2)) for _ in range(n))

    for task in (Own, Later):
        (chunk,) = toy_run(task=task).sample_chunks(10)
        assert not chunk.points.any()  # type: ignore[attr-defined]
    assert points(toy_run(task=Both).sample_chunks(3)).sum() == 6


def test_prompts() -> None:
    class Prompted(Chunked):
        def complete(self, n: int, prompt: str) -> PointSamples:
            return PointSamples(torch.full((n, 2), float(prompt)))

    (chunk,) = toy_run(task=Prompted).sample_chunks(3, prompt="7")
    assert chunk.points.eq(7).all()  # type: ignore[attr-defined]
    # At once, and not when the first chunk is asked for.
    with pytest.raises(UsageError, match="takes no prompts"):
        toy_run(task=Chunked).sample_chunks(3, prompt="7")


def test_samples_that_can_t_be_changed_can_be_sampled() -> None:
    """Those of a stranger may be frozen: a task without chunks is not told of any."""

    class Frozen(PointSamples):
        __setattr__ = None  # type: ignore[assignment]

        def __init__(self, points: torch.Tensor) -> None:
            vars(self).update(points=points, real=None)

    class Cold(Toy):
        def sample(self, n: int) -> PointSamples:
            return Frozen(torch.zeros(n, 2))

    (chunk,) = toy_run(task=Cold).sample_chunks(3)
    assert isinstance(chunk, mmgan.PointSamples)
