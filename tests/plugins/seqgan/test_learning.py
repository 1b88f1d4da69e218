"""That each stage learns what it is for: seconds each, with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import mmgan
from mmgan.engine import update

Play = Callable[..., mmgan.Run]

#: A language small enough to be learned in seconds.
QUICK = {
    "batch_size": 32,
    "hidden": 24,
    "embedding": 16,
    "negatives": 320,
    "mle_steps": 400,
    "epochs": 1,
    "rounds": 1,
}


@pytest.mark.slow
def test_likelihood_learns_the_oracle_s_language(play: Play) -> None:
    before = play(**QUICK).evaluate(2_000)
    after = play(**QUICK, steps=400, train=True).evaluate(2_000)
    assert after["nll_oracle"] < before["nll_oracle"] - 0.5
    assert after["nll_held_out"] < before["nll_held_out"] - 0.3
    assert after["unique"] > 0.95


@pytest.mark.slow
def test_d_learns_to_tell_what_g_writes(play: Play) -> None:
    run = play(
        **(QUICK | {"mle_steps": 0}), pretrain_rounds=5, pretrain_epochs=2, d_lr=1e-3, steps=200, train=True
    )
    real = run.task.d.probability(run.dataset.held_out[:1_000])
    fake = run.task.d.probability(run.task.write(1_000))
    assert real.mean() > fake.mean() + 0.2


@pytest.mark.slow
def test_the_game_goes_on_where_likelihood_stopped(play: Play) -> None:
    """With the oracle as the judge, policy gradient makes what G writes likelier than likelihood did."""
    run = play(**QUICK, rollouts=4, lr=3e-3, baseline="mean")
    phases = {phase.name: phase for stage in run.stages for phase in stage.phases}
    for _ in range(400):
        update(run, phases["MLE"], run.next_batch(), None)
    data = run.dataset

    def fluent(done: torch.Tensor) -> torch.Tensor:
        tokens = done.reshape(-1, done.shape[-1])
        chosen = data.oracle(tokens).log_softmax(2).gather(2, tokens[..., None])[..., 0]
        return chosen.mean(1).exp().view(done.shape[:-1])

    run.task.d.judge = fluent
    before = data.nll(run.task.write(2_000))
    for _ in range(60):
        update(run, phases["G"], torch.zeros(32, 8, dtype=torch.int64), None)
    assert data.nll(run.task.write(2_000)) < before - 0.2
