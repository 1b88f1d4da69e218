"""What a run on a GPU has learned: samples, scores, and the same without the run, on either device."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from on_gpu import GAMES, make

import mmgan

#: Games that turn latents into samples.
LATENT = [game for game in GAMES if GAMES[game]["plugin"] in ("gan", "dcgan", "wavegan")]


@pytest.mark.parametrize("game", GAMES)
def test_a_run_is_sampled_from_and_scored(game: str, tmp_path: Path) -> None:
    run = make(game, tmp_path, precision="bf16", steps=8)
    mmgan.train(run)
    before = torch.cuda.get_rng_state()
    samples = run.sample(4)
    samples.save(tmp_path / f"samples{samples.suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few examples have not all scores
        scores = run.evaluate(140)
    assert scores
    assert all(np.isfinite(value) for value in scores.values())
    assert torch.equal(before, torch.cuda.get_rng_state())


@pytest.mark.parametrize("game", GAMES)
def test_a_run_is_loaded_to_sample_on_either_device(game: str, tmp_path: Path) -> None:
    mmgan.train(make(game, tmp_path, steps=8))
    for device in ("cuda", "cpu"):
        loaded = mmgan.load(tmp_path, device=device)
        if GAMES[game]["plugin"] not in ("pix2pix", "cyclegan"):  # which translate pictures that they open
            assert len(loaded.sample(4)) == 4
        players = loaded.task.run.players.values()
        found = {weight.device.type for player in players for weight in player.sampler.parameters()}
        # What sampling does not need has no memory at all.
        assert found - {"meta"} == {device}


@pytest.mark.parametrize("game", LATENT)
def test_both_devices_turn_the_same_latents_into_the_same_samples(game: str, tmp_path: Path) -> None:
    mmgan.train(make(game, tmp_path, steps=8))
    on_gpu, on_cpu = (mmgan.load(tmp_path, device=device) for device in ("cuda", "cpu"))
    latents = on_cpu.latents(8)
    label = torch.arange(8) % 2 if "labels" in game else None
    one, other = on_gpu(latents.cuda(), label), on_cpu(latents, label)
    assert one.is_cuda
    torch.testing.assert_close(one.cpu(), other, rtol=1e-2, atol=1e-2)
