"""Stages with a batch size and a picture size of their own, and real examples that are looked at aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import Toy, ToyConfig, again, assert_same, toy_run
from two_ranks import two_ranks

import mmgan
from mmgan import (
    ConfigError,
    DataError,
    Dataset,
    Draw,
    Phase,
    Player,
    PluginError,
    Run,
    Stage,
    hookimpl,
    train,
)
from mmgan.backend.ranks import Ranks
from mmgan.bench.kinds import kinds
from mmgan.data.image.dataset import ImageConfig, ImageData
from mmgan.storage import rank_state

# A machine with one core is told that two workers are many.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

PHASES = (Phase("D", "D"), Phase("G", "G"))
#: Both sizes, neither, and the batch size alone.
STAGES = (
    Stage("coarse", PHASES, 4, batch_size=12, size=4),
    Stage("fine", PHASES, 4),
    Stage("back", PHASES, batch_size=5, size=2),
)
EVERY = {"checkpoint_every": 3, "keep": 9, "log_every": 1}


class Config(ToyConfig, ImageConfig):
    flip: bool = True
    size: int = 8
    channels: int = 1
    data: str = "digits"


class Pictures(Toy):
    """Its networks take pictures of any size; it notes the shapes of its batches."""

    Config = Config
    stages = STAGES

    def build(self) -> dict[str, Player]:
        self.g, self.d = nn.Linear(4, 4), nn.Linear(4, 1)
        self.seen: list[tuple[int, int]] = []
        self.begun: list[int] = []
        return {"G": self.player(self.g), "D": self.player(self.d)}

    def player(self, network: nn.Module) -> Player:
        return Player(network, torch.optim.Adam(network.parameters(), 1e-2), ema_half_life=100)

    def begin_stage(self, stage: Stage) -> None:
        self.begun.append(self.run.batch_size)

    def data(self) -> Dataset:
        return ImageData(self.run.open_data("images"), self.config)

    def forward(self, batch: Tensor) -> Tensor:
        self.seen.append((len(batch), batch.shape[-1]))
        return self.g(self.latents(len(batch)))

    def loss(self, phase: str, batch: Tensor, shared: Tensor) -> dict[str, Tensor]:
        if phase == "G":
            return {"G/adv": -self.d(shared).mean()}
        real = nn.functional.adaptive_avg_pool2d(batch, 2).flatten(1)
        return {"D/adv": (1 + self.d(shared.detach())).relu().mean() + (1 - self.d(real)).relu().mean()}

    def sample(self, n: int) -> Any:
        return mmgan.PointSamples(self.g(self.latents(n))[:, :2])


def same_bytes(one: Path, other: Path, step: int) -> None:
    for file in ("manifest.json", "state.json"):
        files = [folder / f"checkpoints/step-{step:06}" / file for folder in (one, other)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_batches_and_pictures_have_the_stages_sizes() -> None:
    run = toy_run(task=Pictures, steps=11)
    assert run.batch_size == 12, "the first stage's, before it has begun"
    train(run)
    assert run.task.seen == [(12, 4)] * 4 + [(8, 8)] * 4 + [(5, 2)] * 3
    assert run.task.begun == [12, 8, 5]
    assert run.players["G"].images == 4 * 12 + 4 * 8 + 3 * 5


def test_accumulated_batches_have_the_stages_size_too() -> None:
    run = toy_run(task=Pictures, steps=6, accumulate=2)
    train(run)
    assert run.loader.state_dict()["start"] == 2 * (4 * 12 + 2 * 8)
    assert run.players["G"].images == 2 * (4 * 12 + 2 * 8)


def test_the_speed_counts_examples() -> None:
    class Look:
        @hookimpl
        def before_run(self, run: Run) -> None:
            run.seconds = 0.0

        @hookimpl
        def after_log(self, step: int, metrics: dict[str, Any]) -> None:
            speeds.append(metrics["samples_per_s"] / metrics["steps_per_s"])

    speeds: list[float] = []
    # The log of six steps has four of the first stage.
    train(toy_run("toy", None, Look(), task=Pictures, steps=6, log_every=6))
    assert speeds == pytest.approx([(4 * 12 + 2 * 8) / 6])


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [2, 4, 6, 8, 10])
def test_a_resume_inside_and_across_stages_is_exact(tmp_path: Path, stop: int, workers: int) -> None:
    straight = toy_run("toy", tmp_path / "straight", task=Pictures, steps=12, **EVERY)
    train(straight)
    train(toy_run("toy", tmp_path / "stopped", task=Pictures, steps=stop, **EVERY))
    resumed = again(tmp_path / "stopped", task=Pictures, steps=12, workers=workers)
    assert resumed.step == stop
    train(resumed)
    assert_same(straight, resumed)
    assert resumed.task.seen == straight.task.seen[stop:]
    if not workers:  # A setting, which the checkpoint names.
        same_bytes(tmp_path / "straight", tmp_path / "stopped", 12)


@pytest.mark.process
def test_worker_processes_change_the_size_of_pictures_alone_too() -> None:
    class Sharper(Pictures):
        stages = (Stage("coarse", PHASES, 3, size=2), Stage("fine", PHASES, 3, size=4), Stage("full", PHASES))

    runs = [toy_run(task=Sharper, steps=8, workers=workers) for workers in (0, 2)]
    for run in runs:
        train(run)
        assert run.task.seen == [(8, 2)] * 3 + [(8, 4)] * 3 + [(8, 8)] * 2
    assert_same(*runs)


class Back:
    """Rolls back once, from a step to another."""

    def __init__(self, at: int, to: int, **changes: Any) -> None:
        self.at, self.to, self.changes = at, to, changes

    @hookimpl
    def after_step(self, run: Run, step: int) -> None:
        if step == self.at and not run.roll_backs:
            run.roll_back(self.to, **self.changes)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [4, 7, 10])
@pytest.mark.parametrize("changes", [{}, {"batch_size": 6}])
def test_a_roll_back_across_stages_resumes_exactly(
    tmp_path: Path, stop: int, changes: dict[str, int]
) -> None:
    runs = [
        toy_run("toy", tmp_path / name, Back(9, 3, **changes), task=Pictures, steps=12, **EVERY)
        for name in ("straight", "stopped")
    ]
    train(runs[0])
    usual = changes.get("batch_size", 8)
    assert runs[0].loader.state_dict()["start"] == 4 * 12 + 4 * usual + 4 * 5

    class Stop:
        @hookimpl
        def after_step(self, run: Run, step: int) -> None:
            if step == stop and run.roll_backs:
                run.stop_signal = 15

    runs[1].plugins.attach([Stop()])
    train(runs[1])
    resumed = again(tmp_path / "stopped", task=Pictures)
    train(resumed)
    assert_same(runs[0], resumed)
    same_bytes(tmp_path / "straight", tmp_path / "stopped", 12)


@pytest.mark.parametrize(("stop", "start"), [(4, 48), (7, 48 + 3 * 8)])
def test_another_batch_size_goes_on_at_the_same_example(tmp_path: Path, stop: int, start: int) -> None:
    train(toy_run("toy", tmp_path / "run", task=Pictures, steps=stop, **EVERY))
    resumed = again(tmp_path / "run", task=Pictures, steps=stop + 1, batch_size=16)
    train(resumed)
    assert resumed.loader.state_dict()["start"] == start + 16
    assert resumed.loader.position == stop + 1, "batches, as they were taken"


def test_a_run_whose_stages_have_no_sizes_has_the_state_of_before(tmp_path: Path) -> None:
    class Plain(Pictures):
        stages = tuple(Stage(stage.name, PHASES, stage.steps) for stage in STAGES)

    run = toy_run("toy", tmp_path / "run", task=Plain, steps=9)
    train(run)
    assert run.loader.state_dict() == {"position": 9, "examples": len(run.dataset)}


def test_bench_measures_a_stage_with_its_sizes() -> None:
    run = toy_run(task=Pictures)
    assert [(kind.stage.batch_size, kind.stage.size) for kind in kinds(run, run.stages[2])] == [(5, 2)]


def test_a_place_in_examples_is_the_same_for_any_number_of_ranks(tmp_path: Path) -> None:
    run = toy_run("toy", tmp_path / "run", task=Pictures, steps=6, **EVERY)
    train(run)
    state = {**run.state_dict(), "ranks": [{"rng": run.randomness, "task": {}}]}
    for place, position in (({"position": 6, "start": 64}, 6), ({"position": 6}, 12)):
        one = rank_state.own_part({**state, "data": place}, Ranks(), 0, torch.device("cpu"))
        assert one["data"] == {**place, "position": position}


# What can't be.


@pytest.mark.parametrize(
    ("stage", "error", "said"),
    [
        (Stage("a", PHASES, batch_size=0), PluginError, "batch_size = 0 is not a number from 1 to 1,048,576"),
        (Stage("a", PHASES, batch_size=True), PluginError, "batch_size = True"),
        (Stage("a", PHASES, size=-8), PluginError, "size = -8 is not a number of pixels"),
        (Stage("a", PHASES, size=3), ConfigError, "3 pixels a side, which does not divide size = 8"),
        (Stage("a", PHASES, size=16), ConfigError, "does not divide size = 8"),
    ],
)
def test_a_size_that_can_not_be_is_told_at_the_start(stage: Stage, error: type[Exception], said: str) -> None:
    class Wrong(Pictures):
        stages = (Stage("first", PHASES, 1), stage)

    with pytest.raises(error, match=f"Stage 'a' of toy.*{said}"):
        toy_run(task=Wrong)


def test_a_size_needs_a_setting() -> None:
    class Dotted(Toy):
        stages = (Stage("a", PHASES, size=4),)

    with pytest.raises(PluginError, match="settings have no number `size`"):
        toy_run(task=Dotted)


def test_a_data_set_that_can_not_resize_says_so_at_the_start() -> None:
    class Dotted(Pictures):
        stages = (Stage("first", PHASES, 5), Stage("a", PHASES, size=4))
        data = Toy.data

    with pytest.raises(PluginError, match="Dots can't change the size of its pictures"):
        toy_run(task=Dotted)


# On two ranks.

PLUGIN = """
import torch
from torch import nn
from mmgan import Phase, Player, PointSamples, Stage, Task, hookimpl

PHASES = (Phase("D", "D"), Phase("G", "G"))


class Sized(Task):
    stages = (Stage("small", PHASES, 4, batch_size=7), Stage("large", PHASES, batch_size=3))

    def build(self):
        self.g, self.d = nn.Linear(4, 2), nn.Linear(2, 1)
        return {name: Player(net, torch.optim.Adam(net.parameters(), 1e-2), ema_half_life=50)
                for name, net in (("G", self.g), ("D", self.d))}

    def data(self):
        return self.run.open_data("points")

    def loss(self, phase, real, shared):
        assert len(real) == self.run.batch_size == (7 if self.run.step < 4 else 3)
        fake = self.g(torch.randn(len(real), 4))
        if phase == "G":
            return {"G/adv": -self.d(fake).mean()}
        return {"D/adv": self.d(fake.detach()).mean() - self.d(real).mean() + self.d(real).square().mean()}

    def sample(self, n):
        return PointSamples(self.run.players["G"].sampler(torch.randn(n, 4)))


@hookimpl
def register_tasks(register):
    register("sized", Sized)
"""


@pytest.mark.process
@pytest.mark.slow
def test_two_ranks_resume_exactly_across_stages(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/sized.py").write_text(PLUGIN)
    settings = ("device=cpu", "checkpoint_every=0", "tensorboard=false", "precision=fp32", "sample_every=0")
    words = ["run", "--plugin", "sized", "--data", "ring", "--batch-size", "4"]
    words += [word for setting in settings for word in ("--set", setting)]
    for steps, name in (("7", "straight"), ("3", "stopped")):
        ends = two_ranks(tmp_path, *words, "--steps", steps, "--out", tmp_path / name)
        assert [code for code, _ in ends] == [0, 0], ends
    ends = two_ranks(tmp_path, "resume", tmp_path / "stopped", "--steps", "7")
    assert [code for code, _ in ends] == [0, 0], ends
    same_bytes(tmp_path / "straight", tmp_path / "stopped", 7)
    state = json.loads((tmp_path / "straight/checkpoints/step-000007/state.json").read_text())
    assert "start" in json.dumps(state)


# Real examples.


def test_examples_are_those_of_the_data_and_the_same_each_time() -> None:
    run = toy_run(task=Pictures, steps=1, flip=False)
    batch = run.examples(6)
    assert batch.shape == (6, 1, 4, 4), "as in the present stage"
    assert torch.equal(batch, run.examples(6))
    assert torch.equal(batch[:3], run.examples(3))
    assert not torch.equal(batch, run.examples(6, seed=1))
    everything = run.dataset.pictures(torch.arange(len(run.dataset)))
    assert all((everything == example).all((1, 2, 3)).any() for example in batch)


def test_examples_are_as_many_as_there_are() -> None:
    run = toy_run()
    assert len(run.examples(1000)) == len(run.dataset) == 100
    with pytest.raises(mmgan.UsageError, match="n must be at least 1"):
        run.examples(0)
    with pytest.raises(mmgan.UsageError, match="seed at least 0"):
        run.examples(1, seed=-1)


class Draws(ImageData):
    """Draws from the process's generator, as it should not."""

    def batch(self, indices: Tensor, draw: Draw) -> Tensor:
        torch.rand(3)
        return super().batch(indices, draw)


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 2])
def test_training_goes_on_as_if_no_examples_had_been_asked_for(workers: int) -> None:
    class Drawing(Pictures):
        def data(self) -> Dataset:
            return Draws(self.run.open_data("images"), self.config)

    class Asks(Drawing):
        def forward(self, batch: Tensor) -> Tensor:
            self.run.examples(3, seed=self.run.step)
            return super().forward(batch)

    runs = [toy_run(task=task, steps=9, workers=workers) for task in (Drawing, Asks)]
    for run in runs:
        train(run)
    assert_same(*runs)


def test_pictures_are_averages_over_blocks(tmp_path: Path) -> None:
    run = toy_run(task=Pictures, steps=1, flip=False)
    data: ImageData = run.dataset
    indices = torch.arange(5)
    data.resize(8)
    full = data.pictures(indices)
    for size in (4, 2, 1):
        data.resize(size)
        small = nn.functional.avg_pool2d(full, 8 // size)
        for pictures in (data.pictures(indices), data.batch(indices, Draw(0, indices, indices))):
            assert pictures.dtype == torch.float32
            assert pictures.shape == (5, 1, size, size)
            torch.testing.assert_close(pictures, small, atol=1e-6, rtol=0)
    data.resize(8)
    assert torch.equal(data.pictures(indices), full)
    with pytest.raises(DataError, match="8 pixels a side can't be averaged to 3"):
        data.resize(3)


def test_small_pictures_are_flipped_as_large_ones_are() -> None:
    data: ImageData = toy_run(task=Pictures, steps=1, flip=True).dataset
    indices = torch.arange(20)
    draw = Draw(0, indices, indices)
    data.resize(8)
    full = data.batch(indices, draw)
    assert not torch.equal(full, data.pictures(indices))
    data.resize(4)
    torch.testing.assert_close(
        data.batch(indices, draw), nn.functional.avg_pool2d(full, 2), atol=1e-6, rtol=0
    )
