"""A run's checkpoint on a GPU and on a CPU: what is in it, and that it goes from one to the other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from on_gpu import GAMES, make, play_to
from toys import Stopper

import mmgan


@pytest.mark.parametrize("start", ["cuda", "cpu"])
@pytest.mark.parametrize("game", GAMES)
def test_a_run_moves_to_another_device_and_back(game: str, start: str, tmp_path: Path) -> None:
    devices = [start, "cpu" if start == "cuda" else "cuda", start]
    run = make(game, tmp_path, Stopper(4), device=start, steps=12)
    assert mmgan.train(run).step == 4
    for turn, device in enumerate(devices[1:], 1):
        before = {name: value.cpu() for name, value in named(run).items()}
        plugins = mmgan.Plugins(Stopper(4 * (turn + 1)))
        run = mmgan.load_run(tmp_path, plugins, changes={"device": device})
        assert run.device.type == device
        after = named(run)
        assert {value.device.type for value in after.values()} == {device}
        assert all(torch.equal(before[name], value.cpu()) for name, value in after.items())
        assert mmgan.train(run).step == 4 * (turn + 1)
    assert all(bool(value.isfinite().all()) for value in named(run).values())


def named(run: mmgan.Run) -> dict[str, torch.Tensor]:
    """Return the weights of all networks, and the moments of their optimizers, by name."""
    found = {f"{net}/{key}": value for net, state in run.weights().items() for key, value in state.items()}
    for name, player in run.players.items():
        for number, state in enumerate(player.optimizer.state.values()):
            found |= {f"{name}/{number}/{key}": value for key, value in state.items() if value.ndim}
    return found


def test_the_scalers_of_fp16_are_in_the_checkpoint(tmp_path: Path) -> None:
    run = make("dcgan", tmp_path, Stopper(3), precision="fp16")
    run.precision.scaler("D").load_state_dict(
        {
            "scale": 256.0,
            "growth_factor": 2.0,
            "backoff_factor": 0.5,
            "growth_interval": 2000,
            "_growth_tracker": 7,
        }
    )
    mmgan.train(run)
    saved = run.precision.state_dict()
    assert saved["D"]["scale"] == 256.0
    assert saved["D"]["_growth_tracker"] == 10
    assert saved["G"]["scale"] != 256.0
    assert mmgan.load_run(tmp_path).precision.state_dict() == saved


def test_an_overflow_skips_one_player_s_update_alone() -> None:
    run = make("dcgan", precision="fp16")
    play_to(run, 20)
    scales = {name: run.precision.scaler(name).get_scale() for name in run.players}
    before = {name: run.weights()[name] for name in run.players}
    before = {name: {key: value.clone() for key, value in of.items()} for name, of in before.items()}
    state = run.precision.scaler("D").state_dict()
    run.precision.scaler("D").load_state_dict(state | {"scale": 2.0**60})
    play_to(run, 21)
    assert run.precision.scaler("D").get_scale() == 2.0**59
    assert run.precision.scaler("G").get_scale() == scales["G"]
    trained = {name: dict(player.module.named_parameters()) for name, player in run.players.items()}
    assert all(torch.equal(before["D"][key], value) for key, value in trained["D"].items())
    assert not all(torch.equal(before["G"][key], value) for key, value in trained["G"].items())
