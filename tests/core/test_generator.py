"""``mmgan.load``: what a run has learned, without the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from painting import Colours, classes
from torch import Tensor

import mmgan
from mmgan import CheckpointError, ImageSamples, UsageError
from mmgan.backend import randomness
from mmgan.testing.compare import differences

TINY: dict[str, Any] = {
    "device": "cpu",
    "precision": "fp32",
    "tensorboard": False,
    "steps": 2,
    "batch_size": 4,
}
GAMES: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 4, "ema": 0.9},
    "gan": {"width": 8, "conditional": True},
    "wavegan": {"data": "drums:20", "dim": 2, "critic_steps": 1, "ema": 0.9},
}


def trained(plugin: str, folder: Path, **settings: Any) -> mmgan.Run:
    return mmgan.train(plugin, folder=folder, **{**TINY, **GAMES[plugin], **settings})


def made(samples: Any) -> Tensor:
    found: Tensor = vars(samples).get("images", vars(samples).get("waveforms", vars(samples).get("points")))
    return found


@pytest.mark.parametrize("plugin", GAMES)
def test_samples_are_those_of_the_run(tmp_path: Path, plugin: str) -> None:
    run = trained(plugin, tmp_path / "run")
    g = mmgan.load(tmp_path / "run")
    assert torch.equal(made(g.sample(5, seed=3)), made(run.sample(5, seed=3)))
    assert torch.equal(made(g.sample(5)), made(run.sample(5)))
    assert torch.equal(made(g.interpolate(5, seed=3)), made(run.interpolate(5, seed=3)))
    chunks = list(g.stream(300, seed=3))
    assert torch.equal(torch.cat([made(chunk) for chunk in chunks]), made(run.sample(300, seed=3)))
    assert len(chunks) > 1
    latents = g.latents(5, seed=3)
    assert latents.shape == (5, 100)
    if plugin == "dcgan":  # Sounds are made as loud as the data for people to hear.
        assert torch.equal(g(latents).clamp(-1, 1), made(g.sample(5, seed=3)))
    assert (g.step, g.config.plugin) == (2, plugin)
    assert repr(g) == f"<Generator of {plugin} at step 2 on cpu>"
    assert g.data_info == run.data_info


@pytest.mark.parametrize("plugin", GAMES)
def test_it_touches_no_randomness_and_no_data_and_takes_little(tmp_path: Path, plugin: str) -> None:
    run = trained(plugin, tmp_path / "run")
    weights = sum(w.numel() for p in run.players.values() for w in p.module.state_dict().values())
    before = randomness.get_state(torch.device("cpu"))
    g = mmgan.load(tmp_path / "run", 2)
    g.sample(3, seed=1)
    list(g.stream(3))
    assert not list(differences(before, randomness.get_state(torch.device("cpu"))))
    players = g._run.players
    here = sum(w.numel() for p in players.values() for w in p.module.state_dict().values() if not w.is_meta)
    averages = sum(w.numel() for p in players.values() if p.average for w in p.average.state_dict().values())
    assert here + averages < weights
    assert all(w.is_meta for w in players["D"].module.parameters())
    assert not any(p.optimizer.state or p.optimizer.param_groups for p in players.values())
    assert not g._run.data_is_open


@pytest.mark.slow
@pytest.mark.parametrize("plugin", GAMES)
def test_four_threads_get_what_each_gets_alone(tmp_path: Path, plugin: str) -> None:
    trained(plugin, tmp_path / "run")
    g = mmgan.load(tmp_path / "run")
    alone = {seed: made(g.sample(6, seed=seed)) for seed in range(4)}
    found: dict[tuple[int, int], Tensor] = {}
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for turn in range(10):
                chunks = g.stream(6, seed=seed) if turn % 2 else [g.sample(6, seed=seed)]
                found[seed, turn] = torch.cat([made(chunk) for chunk in chunks])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(found) == 40
    for (seed, _), samples in found.items():
        assert torch.equal(samples, alone[seed])


class Drawing(Colours):
    """A stranger's, which draws from torch's own generator: side by side it would not be the same."""

    def pictures(self, label: Tensor) -> Tensor:
        parts = [torch.randn(1) for _ in range(200)]
        return super().pictures(label) + torch.stack(parts).sum() / 1000


def test_a_stranger_s_game_is_sampled_in_turn(tmp_path: Path) -> None:
    data = classes(tmp_path / "data")
    mmgan.train(Drawing, folder=tmp_path / "run", data=str(data), **{**TINY, "size": 8})
    plugins = mmgan.Plugins()
    plugins.add(Drawing)
    g = mmgan.load(tmp_path / "run", plugins=plugins)
    alone = [made(g.sample(3, seed=seed, label="red")) for seed in range(4)]
    assert not torch.equal(alone[0], alone[1])
    found: list[tuple[int, Tensor]] = []
    threads = [
        threading.Thread(
            target=lambda seed=seed: found.extend(  # type: ignore[misc]
                [(seed, made(g.sample(3, seed=seed, label="red"))) for _ in range(5)]
            )
        )
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert all(torch.equal(samples, alone[seed]) for seed, samples in found)
    with pytest.raises(UsageError, match="drawing does not turn latents into samples"):
        g.latents(3)


def test_a_subclass_of_a_reentrant_game_is_not_taken_for_one(tmp_path: Path) -> None:
    from mmgan_dcgan.task import DCGAN

    class Noisy(DCGAN):
        def latents(self, n: int) -> Tensor:
            return torch.randn(n, self.config.latent)

    mmgan.train(Noisy, folder=tmp_path / "run", **{**TINY, **GAMES["dcgan"]})
    plugins = mmgan.Plugins()
    plugins.add(Noisy)
    g = mmgan.load(tmp_path / "run", plugins=plugins)
    assert torch.equal(made(g.sample(3, seed=1)), made(g.sample(3, seed=1)))
    assert not g._run.reentrant
    assert mmgan.load(trained("dcgan", tmp_path / "plain").folder)._run.reentrant  # type: ignore[arg-type]


def test_labels_and_truncation(tmp_path: Path) -> None:
    trained("gan", tmp_path / "run", conditional=True)
    g = mmgan.load(tmp_path / "run")
    by_name = g.sample(4, seed=1, label="7")
    assert by_name.labels == ["7"] * 4
    assert torch.equal(g(g.latents(4, seed=1), label=7).clamp(-1, 1), made(by_name))
    assert torch.equal(made(g.sample(4, seed=1, label="7", truncation=1)), made(by_name))
    half = g.sample(4, seed=1, label="7", truncation=0.5)
    assert torch.equal(g(g.latents(4, seed=1) / 2, label=7).clamp(-1, 1), made(half))
    assert torch.equal(torch.cat([made(c) for c in g.stream(4, 1, label="7", truncation=0.5)]), made(half))
    for wrong in (0, -1, 1.5, "much"):
        with pytest.raises(UsageError, match="truncation = .* is not allowed"):
            g.sample(4, truncation=wrong)  # type: ignore[arg-type]
    for latents in (torch.zeros(3, 7), torch.zeros(100), [1.0]):
        with pytest.raises(UsageError, match=r"Latents of gan are a tensor \(n, 100\), and not"):
            g(latents)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="gan takes no prompts"):
        g.sample(3, prompt="a")


def test_a_run_that_trains_keeps_its_listeners(tmp_path: Path) -> None:
    """Loading it meanwhile, in the same process, by the same plugins."""
    trained("gan", tmp_path / "other")
    plugins = mmgan.Plugins()

    class Meanwhile:
        @mmgan.hookimpl
        def after_step(self, run: mmgan.Run, step: int) -> None:
            mmgan.load(tmp_path / "other", plugins=plugins).sample(2)

    run = mmgan.new_run("gan", plugins, tmp_path / "run", **{**TINY, **GAMES["gan"], "steps": 4})
    run.plugins.attach([Meanwhile()])
    mmgan.train(run)
    straight = trained("gan", tmp_path / "straight", steps=4)
    assert not list(differences(run.weights(), straight.weights()))
    assert (tmp_path / "run" / "metrics.jsonl").exists()


def test_what_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a run's folder"):
        mmgan.load(tmp_path)
    trained("gan", tmp_path / "run")
    with pytest.raises(CheckpointError, match="7"):
        mmgan.load(tmp_path / "run", 7)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(CheckpointError):
        mmgan.load(tmp_path / "run")


MEMORY = """
import resource, sys, mmgan
g = mmgan.load(sys.argv[1])
next(g.stream(256))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(sum(len(chunk) for chunk in g.stream(int(sys.argv[2]))))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.process
def test_a_stream_takes_little_memory(tmp_path: Path) -> None:
    trained("dcgan", tmp_path / "run")
    n = 40_000  # 160 MB of pictures, as float32
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "run"), str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    count, megabytes = map(int, done.stdout.split())
    assert count == n
    assert megabytes < 60


def test_its_samples_are_samples(tmp_path: Path) -> None:
    trained("dcgan", tmp_path / "run")
    samples = mmgan.load(tmp_path / "run").sample(4)
    assert isinstance(samples, ImageSamples)
    samples.save(tmp_path / "grid.png")
    assert (tmp_path / "grid.png").stat().st_size
