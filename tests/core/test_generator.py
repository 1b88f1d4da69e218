"""What a run has learned, without the run: ``mmgan.load`` and ``mmgan.Generator``."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from painting import Colours, classes
from torch import Tensor
from toys import Games, Toy

import mmgan
from mmgan import CheckpointError, PointSamples, UsageError, hookimpl
from mmgan.plugins import Plugins

SMALL: dict[str, dict[str, Any]] = {
    "dcgan": {"size": 32, "width": 4, "batch_size": 8, "evaluate_every": 0},
    "gan": {"data": "ring", "width": 16, "batch_size": 8, "evaluate_every": 0},
    "wavegan": {"data": "drums", "dim": 4, "batch_size": 4, "critic_steps": 1, "evaluate_every": 0},
}

#: Making drums takes seconds.
GAMES = ["dcgan", "gan", pytest.param("wavegan", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a run of two steps of a built-in game."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "run"
            mmgan.train(name, folder=made[name], steps=2, tensorboard=False, device="cpu", **SMALL[name])
        return made[name]

    return folder


def numbers(samples: Any) -> Tensor:
    found: Tensor = next(
        getattr(samples, name) for name in ("images", "points", "waveforms") if hasattr(samples, name)
    )
    return found


@pytest.mark.parametrize("name", GAMES)
def test_it_samples_as_the_run_does(folder_of: Callable[[str], Path], name: str) -> None:
    run, g = mmgan.load_run(folder_of(name)), mmgan.load(folder_of(name))
    sampled = numbers(run.sample(40, seed=3))
    assert torch.equal(numbers(g.sample(40, seed=3)), sampled)
    assert torch.equal(torch.cat([numbers(part) for part in g.stream(40, seed=3)]), sampled)
    assert torch.equal(numbers(g.sample(4)), numbers(run.sample(4)))
    assert not torch.equal(numbers(g.sample(40, seed=4)), sampled)
    assert torch.equal(numbers(g.interpolate(9, seed=3)), numbers(run.interpolate(9, seed=3)))
    generated = g(g.latents(40, seed=3))
    assert (generated.dtype, generated.requires_grad) == (torch.float32, False)
    presented = g.task.present(generated) if name != "gan" else PointSamples(generated)
    assert torch.equal(numbers(presented), sampled)


@pytest.mark.parametrize("name", GAMES)
def test_four_threads_at_once_get_what_one_gets_alone(folder_of: Callable[[str], Path], name: str) -> None:
    g = mmgan.load(folder_of(name))
    alone = [numbers(g.sample(9, seed=seed)) for seed in range(4)]
    different, barrier = [], threading.Barrier(4)

    def work(place: int) -> None:
        barrier.wait()
        for turn in range(25):
            seed = (place + turn) % 4
            parts = [numbers(part) for part in g.stream(9, seed=seed)]
            if not torch.equal(torch.cat(parts), alone[seed]):
                different.append((place, turn))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert different == []


def test_it_leaves_the_process_as_it_was(folder_of: Callable[[str], Path]) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state(), random.getstate()
    g = mmgan.load(folder_of("dcgan"), deterministic=True)
    for samples in (g.sample(2), g.interpolate(2), *g.stream(2)):
        assert len(samples) == 2
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert not torch.are_deterministic_algorithms_enabled()


def test_it_keeps_only_what_sampling_needs(folder_of: Callable[[str], Path]) -> None:
    g = mmgan.load(folder_of("dcgan"))
    players = g._run.players
    devices = {name: next(p.module.parameters()).device.type for name, p in players.items()}
    assert devices == {"G": "meta", "D": "meta"}
    assert not next(players["G"].sampler.parameters()).is_meta
    assert [p.optimizer.param_groups for p in players.values()] == [[], []]
    assert not g._run.data_is_open
    assert repr(g) == f"<mmgan.Generator of dcgan at step 2 from {str(folder_of('dcgan'))!r}>"
    assert (g.plugin, g.step, g.config.plugin) == ("dcgan", 2, "dcgan")
    assert g.data_info is not None
    assert g.data_info.shape == (1, 32, 32)


def test_optimizers_stay_on_the_disk(folder_of: Callable[[str], Path]) -> None:
    from mmgan.storage import checkpoint

    path = folder_of("dcgan") / "checkpoints/step-000002"
    assert checkpoint.load(path)[1]["players"]["G"]["optimizer"]["state"]
    weights, state = checkpoint.load(path, to_train=False)
    assert state["players"]["G"]["optimizer"] == {"state": {}, "param_groups": []}
    assert weights.keys() == {"G", "D", "G.average"}
    assert isinstance(state["rng"]["torch"], Tensor)


def test_truncation_multiplies_latents(folder_of: Callable[[str], Path]) -> None:
    g = mmgan.load(folder_of("dcgan"))
    half = numbers(g.sample(300, seed=3, truncation=0.5))
    expected = g(0.5 * g.latents(300, seed=3))
    assert torch.equal(half, expected)
    assert torch.equal(torch.cat([numbers(part) for part in g.stream(300, 3, truncation=0.5)]), expected)
    assert torch.equal(numbers(g.sample(300, seed=3, truncation=1)), g(g.latents(300, seed=3)))
    walks = [numbers(g.interpolate(8, seed=3, truncation=psi)) for psi in (1, 0.5)]
    assert not torch.equal(*walks)
    points = mmgan.load(folder_of("gan"))
    assert torch.equal(numbers(points.sample(5, 3, truncation=0.5)), points(0.5 * points.latents(5, 3)))


@pytest.mark.parametrize("psi", [0, -1, 1.01, float("nan"), "a", [[1], [1]], torch.tensor(0.5)])
def test_a_truncation_that_is_none(folder_of: Callable[[str], Path], psi: Any) -> None:
    with pytest.raises(UsageError, match="truncation = .* is not allowed"):
        mmgan.load(folder_of("dcgan")).sample(2, truncation=psi)


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (torch.zeros(2, 99), r"shape \(2, 99\) don't fit: dcgan takes \(n, 100\)"),
        (torch.zeros(100), r"shape \(100,\) don't fit"),
        (torch.zeros(0, 100), "n at least 1"),
        (torch.zeros(2, 100, dtype=torch.int64), "not of torch.int64"),
        ([[0.0] * 100], "not a list"),
    ],
)
def test_latents_that_do_not_fit(folder_of: Callable[[str], Path], latents: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mmgan.load(folder_of("dcgan"))(latents)


def test_latents_in_double_precision_are_converted(folder_of: Callable[[str], Path]) -> None:
    g = mmgan.load(folder_of("dcgan"))
    latents = g.latents(2)
    assert torch.equal(g(latents.double()), g(latents))


@pytest.mark.parametrize("n", [0, -1, True, 2.0])
def test_a_number_of_samples_that_is_none(folder_of: Callable[[str], Path], n: Any) -> None:
    g = mmgan.load(folder_of("dcgan"))
    for way in (g.sample, g.stream, g.interpolate, g.latents):
        with pytest.raises(UsageError, match="not a number of samples"):
            way(n)


def toy_folder(tmp_path: Path, task: type[mmgan.Task] | str = "toy") -> Path:
    mmgan.train(task, plugins=plugins_of(), folder=tmp_path / "run", steps=2, device="cpu")
    return tmp_path / "run"


def plugins_of(*more: Any) -> Plugins:
    return Plugins(Games(), *more, installed=False)


def test_what_a_task_does_not_have(tmp_path: Path) -> None:
    g = mmgan.load(toy_folder(tmp_path), plugins=plugins_of())
    assert g.latents(2).shape == (2, 4)
    for work, message in (
        (lambda: g(torch.zeros(2, 4)), "toy does not turn latents into samples"),
        (lambda: g.sample(2, truncation=0.5), "takes no truncation"),
        (lambda: g.sample(2, prompt="a"), "takes no prompts"),
        (lambda: g.sample(2, label="cat"), "takes no label"),
        (lambda: g.interpolate(2), "no walk"),
    ):
        with pytest.raises(UsageError, match=message):
            work()


def test_a_task_that_is_not_reentrant_is_sampled_from_by_one_thread_at_a_time(tmp_path: Path) -> None:
    # It draws from the process's generators, which the others must not touch meanwhile.
    run = mmgan.load_run(folder := toy_folder(tmp_path), plugins_of())
    g = mmgan.load(folder, plugins=plugins_of())
    alone = [run.sample(5, seed=seed).points for seed in range(4)]
    different = []

    def work(place: int) -> None:
        for turn in range(50):
            seed = (place + turn) % 4
            if not torch.equal(numbers(g.sample(5, seed=seed)), alone[seed]):
                different.append((place, turn))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert different == []
    assert torch.equal(torch.get_rng_state(), before)


class Loud(Toy):
    reentrant: ClassVar[bool] = True
    needed_to_sample: ClassVar[tuple[str, ...]] = ("G",)


class Judged(Loud):
    """It samples by D, too."""

    def sample(self, n: int) -> PointSamples:
        return PointSamples(super().sample(n).points + self.run.players["D"].module(torch.ones(1, 2)))


def test_what_a_class_says_does_not_hold_for_its_subclasses(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    plugins = plugins_of()
    mmgan.train(Judged, plugins=plugins, folder=folder, steps=2, device="cpu")
    g = mmgan.load(folder, plugins=plugins)
    assert not g._run.reentrant
    assert torch.equal(numbers(g.sample(3)), numbers(mmgan.load_run(folder, plugins).sample(3)))


def test_aside_has_the_process_s_random_numbers(folder_of: Callable[[str], Path]) -> None:
    run, g = mmgan.load_run(folder_of("dcgan")), mmgan.load(folder_of("dcgan"))
    before = torch.get_rng_state()
    assert torch.equal(g.aside(lambda: torch.rand(3), 5), run.aside(lambda: torch.rand(3), 5))
    assert torch.equal(torch.get_rng_state(), before)


def test_labels(tmp_path: Path) -> None:
    settings = {"size": 8, "batch_size": 6, "tensorboard": False, "device": "cpu", "steps": 3}
    settings["data"] = str(classes(tmp_path / "data"))
    plugins = plugins_of()
    mmgan.train(Colours, plugins=plugins, folder=tmp_path / "run", **settings)
    shutil.rmtree(tmp_path / "data")
    run, g = mmgan.load_run(tmp_path / "run", plugins), mmgan.load(tmp_path / "run", plugins=plugins)
    assert g.data_info is not None
    assert g.data_info.classes == ("blue", "green", "red")
    for label in ("green", 1, ["red", 0]):
        samples: Any = g.sample(2, seed=3, label=label)
        assert torch.equal(samples.images, numbers(run.sample(2, seed=3, label=label)))
        assert samples.labels == run.sample(2, label=label).labels
    assert next(g.stream(2, label="red")).labels == ["red"] * 2
    with pytest.raises(UsageError, match="not a class"):
        g.sample(2, label="gren")


def test_latents_of_a_class(tmp_path: Path) -> None:
    settings = {**SMALL["gan"], "conditional": True, "tensorboard": False, "device": "cpu"}
    mmgan.train("gan", folder=tmp_path / "run", steps=2, **settings)
    g = mmgan.load(tmp_path / "run")
    latents = g.latents(4, seed=3)
    ones = g(latents, label="1")
    assert torch.equal(ones, numbers(g.sample(4, seed=3, label=1)))
    assert torch.equal(ones, g(latents, label=torch.tensor([1] * 4)))
    assert not torch.equal(ones, g(latents, label=2))
    # Nobody asked: all classes get their share, as in `sample`.
    assert torch.equal(g(latents), numbers(g.sample(4, seed=3)))


def test_which_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = {"steps": 4, "checkpoint_every": 2, "evaluate_every": 2, "device": "cpu"}
    mmgan.train("toy", plugins=plugins_of(), folder=folder, **settings)
    assert [mmgan.load(folder, which, plugins=plugins_of()).step for which in ("last", 2, "2")] == [4, 2, 2]
    assert mmgan.load(folder, "best", plugins=plugins_of()).step in (2, 4)
    with pytest.raises(CheckpointError, match="3"):
        mmgan.load(folder, 3, plugins=plugins_of())


def test_a_run_that_trains_keeps_its_listeners(tmp_path: Path) -> None:
    class Sampler:
        steps: ClassVar[list[int]] = []

        @hookimpl
        def after_step(self, run: mmgan.Run) -> None:
            self.steps.append(run.step)
            if run.step == 3:
                mmgan.load(tmp_path / "run", plugins=plugins).sample(2)

    plugins = plugins_of(Sampler())
    mmgan.train("toy", plugins=plugins, folder=tmp_path / "run", steps=5, checkpoint_every=2, device="cpu")
    assert Sampler.steps == [1, 2, 3, 4, 5]
    assert (tmp_path / "run/checkpoints/step-000005").is_dir()


def test_hostile_folders(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="run"):
        mmgan.load(tmp_path)
    shutil.copytree(folder_of("dcgan"), tmp_path / "run")
    weights = tmp_path / "run/checkpoints/step-000002/G.average.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(CheckpointError):
        mmgan.load(tmp_path / "run")


def test_a_run_made_before() -> None:
    folder = Path(__file__).parent / "storage/run_of_0_1"
    g, run = mmgan.load(folder), mmgan.load_run(folder, changes={"device": "cpu"})
    assert torch.equal(numbers(g.sample(4, seed=1)), numbers(run.sample(4, seed=1)))


GROWTH = """
import resource, sys
import mmgan

g = mmgan.load(sys.argv[1])
next(g.stream(300))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(len(samples) for samples in g.stream(int(sys.argv[2]), seed=3))
assert count == int(sys.argv[2])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.process
def test_a_stream_takes_little_memory(folder_of: Callable[[str], Path]) -> None:
    command = [sys.executable, "-c", GROWTH, str(folder_of("dcgan")), "40000"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    # MB. All of the pictures together would take 160, their latents take 16.
    assert int(done.stdout) < 80
