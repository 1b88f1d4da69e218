"""A run that trains goes back to a checkpoint of its own, on all ranks, and goes on another way."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toys import Toy, again, assert_same, everything, reload, toy_run
from two_ranks import two_ranks

import mmgan
from mmgan import CheckpointError, ConfigError, Phase, Player, Run, Stage, UsageError, hookimpl, train
from mmgan.storage import checkpoint

EVERY = {"checkpoint_every": 5, "keep": 2, "log_every": 1}


class Guardian:
    """Rolls back once after each of some steps; what it has done is in the checkpoint's history."""

    def __init__(self, *plan: tuple[int, Any, dict[str, Any]]) -> None:
        self.plan = plan
        self.told: list[Any] = []
        self.stages: list[str] = []

    @hookimpl
    def after_step(self, run: Run, step: int) -> None:
        done = len(run.roll_backs)
        if done < len(self.plan) and self.plan[done][0] == step:
            run.roll_back(self.plan[done][1], reason="it fell", **self.plan[done][2])
            run.roll_back(1, reason="only the first counts") if 1 in checkpoint.steps(
                run.checkpoints
            ) else None

    @hookimpl
    def after_roll_back(self, roll_back: Any) -> None:
        self.told.append(roll_back)

    @hookimpl
    def before_stage(self, stage: Stage) -> None:
        self.stages.append(stage.name)


def test_a_run_goes_back_and_another_way(tmp_path: Path) -> None:
    guardian = Guardian((13, "last", {}))
    run = toy_run("toy", tmp_path / "run", guardian, steps=20, **EVERY)
    plain = toy_run("toy", tmp_path / "plain", steps=20, **EVERY)
    report, _ = train(run), train(plain)
    assert (report.state, report.step, run.roll_backs[0].from_step, run.roll_backs[0].to_step) == (
        *("finished", 20),
        *(13, 10),
    )
    assert guardian.told == run.roll_backs
    assert guardian.stages == ["train", "train"], "told again, as where a run resumes"
    assert not torch.equal(run.weights()["G"]["0.weight"], plain.weights()["G"]["0.weight"])
    assert run.loader.position == plain.loader.position == 20
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    # What was undone stays in the file, before the line that says so; the step goes back.
    assert [line["step"] for line in lines] == [*range(1, 14), 10, *range(11, 21)]
    told = {"count": 1, "from": 13, "to": 10, "reason": "it fell", "settings": {}}
    assert lines[13]["roll_back"] == told
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert status["roll_backs"] == [{"from_step": 13, "to_step": 10, "reason": "it fell", "changes": {}}]


def test_the_same_run_rolls_back_to_the_same_bytes(tmp_path: Path) -> None:
    runs = [toy_run("toy", tmp_path / str(k), Guardian((9, 5, {})), steps=12, **EVERY) for k in range(2)]
    for run in runs:
        train(run)
    assert_same(*runs)


def test_a_second_roll_back_to_one_step_goes_a_third_way(tmp_path: Path) -> None:
    run = toy_run("toy", tmp_path / "run", Guardian((9, 5, {}), (9, 5, {})), steps=9, **EVERY)
    seen: list[torch.Tensor] = []

    class Look:
        @hookimpl
        def after_step(self, run: Run, step: int) -> None:
            if step == 6:
                seen.append(run.weights()["G"]["0.weight"].clone())

    run.plugins.attach([Look()])
    assert train(run).step == 9, "the one at the last step is done too"
    assert len(run.roll_backs) == 2
    assert len(seen) == 3
    assert not any(torch.equal(seen[a], seen[b]) for a, b in [(0, 1), (0, 2), (1, 2)])
    assert len({run.order_seed, run.config.seed}) == 2


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 12, 13, 14, 17])
@pytest.mark.parametrize("changes", [{}, {"lr": "1e-4", "batch_size": 4}])
def test_a_resume_across_a_roll_back_is_exact(tmp_path: Path, stop: int, changes: dict[str, Any]) -> None:
    """Stopped before and after it, in the undone steps and in those that take their place."""
    plan = (13, 10, changes)
    straight = toy_run("toy", tmp_path / "straight", Guardian(plan), steps=20, **EVERY)
    train(straight)
    stopped = toy_run("toy", tmp_path / "run", Guardian(plan), steps=20, **EVERY)

    class Stop:
        @hookimpl
        def after_step(self, run: Run, step: int) -> None:
            if step == stop and (stop <= 13 or run.roll_backs):
                run.stop_signal = 15

    stopped.plugins.attach([Stop()])
    assert train(stopped).signal == 15
    resumed = again(tmp_path / "run", Guardian(plan))
    assert not resumed.changed
    assert train(resumed).step == 20
    assert_same(straight, resumed)
    for file in ("manifest.json", "state.json"):
        names = [tmp_path / name / "checkpoints/step-000020" / file for name in ("straight", "run")]
        assert names[0].read_bytes() == names[1].read_bytes()
    files = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("straight", "run")]
    steps = [[json.loads(line)["step"] for line in lines] for lines in files]
    assert steps[0] == steps[1]


def test_a_run_killed_right_after_going_back_resumes_there(tmp_path: Path) -> None:
    """Checkpoints that lie ahead are gone, and the one gone back to says that it was gone back to."""

    class Killed:
        @hookimpl
        def after_step(self, run: Run) -> None:
            if run.roll_backs:
                raise KeyboardInterrupt

    run = toy_run("toy", tmp_path / "run", Guardian((13, 5, {"lr": 1e-4})), Killed(), steps=20, **EVERY)
    with pytest.raises(KeyboardInterrupt):
        train(run)
    assert checkpoint.steps(run.checkpoints) == [5]
    assert tomllib.loads((tmp_path / "run/config.toml").read_text())["lr"] == 1e-4
    straight = toy_run("toy", tmp_path / "straight", Guardian((13, 5, {"lr": 1e-4})), steps=20, **EVERY)
    train(straight)
    resumed = again(tmp_path / "run")
    assert (resumed.step, len(resumed.roll_backs), resumed.changed) == (5, 1, {})
    train(resumed)
    assert_same(straight, resumed)


def test_settings_change_with_it_and_are_kept(tmp_path: Path) -> None:
    run = toy_run("toy", tmp_path / "run", Guardian((8, 5, {"lr": 1e-4}), (9, 5, {})), steps=10, **EVERY)
    train(run)
    assert run.config.lr == 1e-4
    assert run.players["G"].optimizer.param_groups[0]["lr"] == 1e-4
    assert [done.changes for done in run.roll_backs] == [{"lr": [1e-2, 1e-4]}, {}]
    assert tomllib.loads((tmp_path / "run/config.toml").read_text())["lr"] == 1e-4
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    told = [line["roll_back"]["settings"] for line in lines if "roll_back" in line]
    assert told == [{"lr": {"from": 1e-2, "to": 1e-4}}, {}]


def test_the_best_checkpoint_is_known_and_gone_back_to(tmp_path: Path) -> None:
    class ToBest:
        bests: list[Path | None]

        def __init__(self) -> None:
            self.bests = []

        @hookimpl
        def after_step(self, run: Run, step: int) -> None:
            self.bests.append(run.best)
            if step == 19 and not run.roll_backs:
                run.roll_back(run.best)

    guardian = ToBest()
    run = toy_run("toy", tmp_path / "run", guardian, steps=20, evaluate_every=6, **EVERY)
    train(run)
    assert guardian.bests[0] is None
    best = next(path for path in guardian.bests if path)
    assert best.parent == run.checkpoints
    assert run.roll_backs[0].to_step in (6, 12, 18)
    assert run.best == checkpoint.path_of(
        run.checkpoints, json.loads((run.checkpoints / "best.json").read_text())["step"]
    )
    assert toy_run().best is None


@pytest.mark.parametrize(
    ("to", "changes", "error", "said"),
    [
        (7, {}, CheckpointError, "There is no checkpoint '7'"),
        ("worst", {}, CheckpointError, "There is no checkpoint 'worst'"),
        ("best", {}, CheckpointError, "was never evaluated"),
        (Path("/elsewhere/step-000005"), {}, UsageError, "not a checkpoint of this run"),
        (5, {"seed": 3}, ConfigError, "seed can't change when a run is rolled back"),
        (5, {"steps": 3}, ConfigError, "steps can't change"),
        (5, {"rl": 3}, ConfigError, "toy has no setting 'rl'"),
        (5, {"batch_size": 0}, ConfigError, "batch_size = 0"),
    ],
)
def test_what_can_t_be_is_said_where_it_is_asked(
    tmp_path: Path, to: Any, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    run = toy_run("toy", tmp_path / "run", Guardian((6, to, changes)), steps=8, **EVERY)
    with pytest.raises(error, match=said):
        train(run)


def test_it_needs_a_folder_and_training() -> None:
    with pytest.raises(UsageError, match="while it trains"):
        toy_run().roll_back()
    with pytest.raises(UsageError, match="has no folder"):
        train(toy_run("toy", None, Guardian((3, "last", {})), steps=5))


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    class Tear:
        @hookimpl(tryfirst=True)
        def after_step(self, run: Run, step: int) -> None:
            if step == 12 and not run.roll_backs:
                (run.checkpoints / "step-000010/D.safetensors").write_bytes(b"")

    run = toy_run("toy", tmp_path / "run", Tear(), Guardian((13, "last", {})), steps=15, **EVERY)
    train(run)
    assert run.roll_backs[0].to_step == 5


class Growing(Toy):
    """G has one more layer in the second stage."""

    phases = (Phase("D", "D"), Phase("G", "G"))
    stages = (Stage("small", phases, 7), Stage("large", phases))

    def build(self) -> dict[str, Player]:
        self.g, self.d = nn.Sequential(nn.Linear(4, 2)), nn.Linear(2, 1)
        return {"G": self.player(self.g), "D": self.player(self.d)}

    def player(self, network: nn.Module) -> Player:
        return Player(network, torch.optim.Adam(network.parameters(), 1e-2), ema=0.9)

    def begin_stage(self, stage: Stage) -> None:
        if stage.name == "large":
            self.g = nn.Sequential(*self.g, nn.Linear(2, 2))
            self.run.rebuild("G", self.player(self.g))


def test_back_across_a_growth_boundary(tmp_path: Path) -> None:
    straight = toy_run("toy", tmp_path / "run", Guardian((9, 5, {})), task=Growing, steps=12, **EVERY)
    sizes: list[int] = []

    class Look:
        @hookimpl
        def after_step(self, run: Run) -> None:
            sizes.append(len(run.players["G"].module))

    straight.plugins.attach([Look()])
    train(straight)
    assert sizes == [1] * 7 + [2] * 2 + [1] * 2 + [2] * 5
    stopped = toy_run("toy", tmp_path / "stopped", Guardian((9, 5, {})), task=Growing, steps=12, **EVERY)

    class Stop:
        @hookimpl
        def after_step(self, run: Run, step: int) -> None:
            if step == 6 and run.roll_backs:
                run.stop_signal = 15

    stopped.plugins.attach([Stop()])
    train(stopped)
    resumed = again(tmp_path / "stopped", task=Growing)
    assert resumed.step == 6
    train(resumed)
    assert_same(straight, resumed)


def test_a_run_that_has_grown_loads_an_earlier_checkpoint(tmp_path: Path) -> None:
    run = toy_run("toy", tmp_path / "run", task=Growing, steps=12, **{**EVERY, "keep": 9})
    train(run)
    run.load(run.checkpoints / "step-000005")
    assert (run.step, len(run.players["G"].module), run.entered) == (5, 1, 1)
    fresh = mmgan.load_run(tmp_path / "run", run.plugins, "5")
    assert everything(run).keys() == everything(fresh).keys()
    assert_same(run, fresh)


def test_a_task_may_ask_too(tmp_path: Path) -> None:
    class Asks(Toy):
        def forward(self, batch: Any) -> Any:
            if self.run.step == 7 and not self.run.roll_backs:
                self.run.roll_back("last", lr=1e-3)
            return super().forward(batch)

    run = toy_run("toy", tmp_path / "run", task=Asks, steps=9, **EVERY)
    assert train(run).step == 9
    assert [(done.from_step, done.to_step) for done in run.roll_backs] == [(8, 5)]


def test_a_signal_that_comes_with_it_stops_after_it(tmp_path: Path) -> None:
    class Stop:
        @hookimpl
        def after_step(self, run: Run, step: int) -> None:
            if step == 8:
                run.stop_signal = 15

    run = toy_run("toy", tmp_path / "run", Guardian((8, 5, {})), Stop(), steps=9, **EVERY)
    report = train(run)
    assert (report.state, report.step, len(run.roll_backs)) == ("interrupted", 5, 1)
    assert reload(tmp_path / "run").step == 5


# On two ranks.

PLUGIN = """
import torch
from torch import nn
from mmgan import Player, PointSamples, Task, hookimpl


class Asks(Task):
    def build(self):
        self.g, self.d = nn.Linear(4, 2), nn.Linear(2, 1)
        return {name: Player(net, torch.optim.Adam(net.parameters(), self.config.lr), ema=0.9)
                for name, net in (("G", self.g), ("D", self.d))}

    def data(self):
        return self.run.open_data("points")

    def forward(self, real):
        # On one rank only, and not on that which writes.
        if self.run.ranks.rank == 1 and self.run.step == 6 and not self.run.roll_backs:
            self.run.roll_back("last", reason="rank 1 says so", lr=1e-3)
        return self.g(torch.randn(len(real), 4))

    def loss(self, phase, real, fake):
        if phase == "G":
            return {"G/adv": -self.d(fake).mean()}
        return {"D/adv": self.d(fake.detach()).mean() - self.d(real).mean() + self.d(real).square().mean()}

    def sample(self, n):
        return PointSamples(self.run.players["G"].sampler(torch.randn(n, 4)))


class Config(Task.Config):
    lr: float = 1e-2


Asks.Config = Config


@hookimpl
def register_tasks(register):
    register("asks", Asks)
"""


def ends(folder: Path, *words: str) -> list[int]:
    """Run a command on two ranks, and return their exit codes."""
    return [code for code, _ in two_ranks(folder, *words)]


@pytest.mark.process
@pytest.mark.slow
def test_two_ranks_go_back_together_and_resume_exactly(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/asking.py").write_text(PLUGIN)
    settings = ("device=cpu", "checkpoint_every=5", "tensorboard=false", "precision=fp32", "sample_every=0")
    words = ["run", "--plugin", "asks", "--data", "ring", "--batch-size", "4"]
    words += [word for setting in settings for word in ("--set", setting)]
    assert ends(tmp_path, *words, "--steps", "9", "--out", str(tmp_path / "straight")) == [0, 0]
    assert ends(tmp_path, *words, "--steps", "7", "--out", str(tmp_path / "stopped")) == [0, 0]
    status = json.loads((tmp_path / "stopped/status.json").read_text())
    done = {"from_step": 7, "to_step": 5, "reason": "rank 1 says so", "changes": {"lr": [1e-2, 1e-3]}}
    assert status["roll_backs"] == [done]
    assert ends(tmp_path, "resume", str(tmp_path / "stopped"), "--steps", "9") == [0, 0]
    for file in ("manifest.json", "state.json"):
        files = [tmp_path / name / "checkpoints/step-000009" / file for name in ("straight", "stopped")]
        assert files[0].read_bytes() == files[1].read_bytes()
