"""Every game plays in every number format, as it is and as CUDA graphs."""

from __future__ import annotations

import math

import pytest
import torch
from on_gpu import (
    GAMES,
    PRECISIONS,
    WAYS,
    Losses,
    assert_same,
    has_graphs,
    make,
    play_to,
    replays_counted,
    skip_without_graphs,
)

from mmgan import Config, Run

#: Under fp16 the first updates are skipped, until the loss scale has come down.
STEPS = 40


def weights(run: Run) -> dict[str, torch.Tensor]:
    """Copy the weights of all players, by name."""
    return {
        f"{name}.{key}": value.detach().clone()
        for name, player in run.players.items()
        for key, value in player.module.named_parameters()
    }


@pytest.mark.parametrize(("game", "precision", "graphs"), WAYS)
def test_a_game_plays(game: str, precision: str, graphs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without_graphs(game, graphs)
    losses = Losses()
    run = make(game, None, losses, precision=precision, graphs=graphs)
    before = weights(run)
    with replays_counted(monkeypatch) as replays:
        play_to(run, STEPS)
    assert len(losses.of_steps) == STEPS
    assert all(math.isfinite(value) for each in losses.read() for value in each.values())
    after = weights(run)
    assert all(value.is_cuda and value.dtype == torch.float32 for value in after.values())
    assert all(bool(value.isfinite().all()) for value in after.values())
    for name in run.players:
        moved = [
            key for key in after if key.startswith(f"{name}.") and not torch.equal(before[key], after[key])
        ]
        assert moved, f"{name} has not moved"
    assert bool(replays) == (graphs == "on")


@pytest.mark.parametrize("game", ["gan", "dcgan", "wavegan"])
def test_a_game_that_is_bound_by_launches_has_graphs(game: str) -> None:
    if "graphs" not in Config.model_fields:
        pytest.skip("this mmgan has no setting graphs")
    assert has_graphs(game)


# A graph does what the step that it was recorded from does.


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("game", GAMES)
def test_a_deterministic_run_with_graphs_ends_with_the_same_bytes(game: str, precision: str) -> None:
    """Weights, averages, optimizers, scalers, and where the generators are."""
    skip_without_graphs(game, "on")
    runs = []
    for graphs in ("off", "on"):
        runs.append(make(game, None, precision=precision, graphs=graphs, deterministic=True))
        play_to(runs[-1], 24)
    assert_same(*runs)


@pytest.mark.parametrize("game", GAMES)
def test_graphs_have_the_losses_of_a_run_without(game: str) -> None:
    skip_without_graphs(game, "on")
    found = []
    for graphs in ("off", "on"):
        losses = Losses()
        play_to(make(game, None, losses, graphs=graphs), 10)
        found.append(losses.read())
    assert found[0][0].keys() == found[1][0].keys()
    for one, other in zip(*found, strict=True):
        assert one == pytest.approx(other, rel=1e-2, abs=1e-2)


def test_auto_takes_graphs_where_a_game_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without_graphs("dcgan", "on")
    with replays_counted(monkeypatch) as replays:
        play_to(make("dcgan", graphs="auto"), 10)
        assert replays
        replays.clear()
        play_to(make("seqgan", graphs="auto"), 10)
        assert not replays
