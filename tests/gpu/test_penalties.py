"""Gradient penalties on a GPU: in half precision they point where float32's do; compiling changes none."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from on_gpu import make, play_to
from torch import Tensor
from torch._dynamo.utils import counters

import mmgan
from mmgan.losses import penalty

#: A critic without batch norm of each kind, at its game's own sizes but narrow.
CRITICS: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 16, "batch_size": 16, "ema": 0.0, "tf32": False},
    "gan": {"data": "digits", "width": 32, "batch_size": 16, "dropout": 0.0, "ema": 0.0, "tf32": False},
    "wavegan": {"dim": 4, "batch_size": 4, "phase_shuffle": 0, "ema": 0.0, "tf32": False},
}


def gradient(run: mmgan.Run, name: str) -> Tensor:
    """Return the gradient of a penalty by all weights of D, as one vector."""
    real = run.next_batch()
    torch.manual_seed(1)  # of the places between real and fake
    fake = torch.roll(real, 1, 0) * 0.5
    critic = run.task.d
    if run.config.plugin == "gan":
        real, fake = real.flatten(1), fake.flatten(1)
    weights = list(critic.parameters())
    with run.precision.autocast():
        value = penalty(name, run, critic, real, fake)
    assert value.dtype == torch.float32
    found = torch.autograd.grad(value, weights, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(w) if g is None else g).flatten() for w, g in zip(weights, found, strict=True)]
    )


@pytest.mark.parametrize(("precision", "least", "apart"), [("bf16", 0.99, 0.1), ("fp16", 0.999, 0.02)])
@pytest.mark.parametrize("name", ["wgan-gp", "r1", "r2", "zero-gp"])
@pytest.mark.parametrize("game", CRITICS)
def test_a_penalty_in_half_precision_points_where_float32_s_does(
    game: str, name: str, precision: str, least: float, apart: float
) -> None:
    exact, rough = (
        gradient(make(game, precision=each, penalty=name, **CRITICS[game]), name)
        for each in ("fp32", precision)
    )
    assert bool(rough.isfinite().all())
    assert float(exact.norm()) > 0
    assert float(torch.cosine_similarity(exact, rough, dim=0)) > least
    assert float(rough.norm() / exact.norm()) == pytest.approx(1, abs=apart)


@pytest.mark.parametrize("name", ["wgan-gp", "r1"])
def test_a_penalty_on_a_gpu_is_that_of_a_cpu(name: str) -> None:
    """Where nothing is drawn: between equal examples there is one place."""
    found = []
    for device in ("cuda", "cpu"):
        run = make("dcgan", device=device, penalty=name, **CRITICS["dcgan"])
        real = run.next_batch()
        value = penalty(name, run, run.task.d, real, real)
        found.append(
            torch.cat([g.flatten().cpu() for g in torch.autograd.grad(value, run.task.d.parameters())])
        )
    torch.testing.assert_close(*found, rtol=1e-2, atol=1e-2 * float(found[1].abs().max()))


@contextmanager
def compiles() -> Iterator[None]:
    """Fail if a network could not be compiled, of which mmgan warns; other warnings are the compiler's."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield
    assert not [str(one.message) for one in told if "can't be compiled" in str(one.message)]


@pytest.mark.parametrize("name", ["wgan-gp", "r1"])
def test_a_run_that_compiles_has_the_penalty_of_one_that_does_not(name: str) -> None:
    """torch's compiler has lost second derivatives without a word (pytorch/pytorch#181581)."""
    runs = [make("dcgan", penalty=name, compile=way, **CRITICS["dcgan"]) for way in (True, False)]
    with compiles():
        for run in runs:
            play_to(run, 2)
    runs[0].task.d.load_state_dict(runs[1].task.d.state_dict())
    one, other = (gradient(run, name) for run in runs)
    assert float(other.norm()) > 0
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("game", ["dcgan", "gan"])
def test_compiled_networks_learn_as_plain_ones_do(game: str) -> None:
    """In float32, from equal weights and draws: networks of our own class, and torch's ``Sequential``."""
    weights = []
    for way in (False, True):
        counters.clear()
        run = make(game, compile=way, width=16, batch_size=16, tf32=False)
        with compiles():
            play_to(run, 6)
        # torch skips what it takes for its own code without a word.
        assert (counters["stats"]["unique_graphs"] > 0) == way
        weights.append(torch.cat([p.detach().flatten() for p in run.task.g.parameters()]))
    assert float(torch.cosine_similarity(*weights, dim=0)) > 0.999
