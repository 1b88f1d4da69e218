"""What ``mmgan bench`` measures: which steps, their parts, operations, and what it leaves behind."""

from __future__ import annotations

import json
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from toys import Toy, ToyCycle, ToyStages, ToyWGAN, toy_run

import mmgan
from mmgan import Phase, Player, Stage, UsageError, hookimpl
from mmgan.bench import machine, measure, timing
from mmgan.bench.kinds import choose, kinds
from mmgan.bench.split import Split, splitting
from mmgan.engine import training


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds and matrices so small that their figures mean nothing."""
    monkeypatch.setattr(timing, "SECONDS", 0.003)
    monkeypatch.setattr(machine, "SIZES", (32,))
    monkeypatch.setattr(machine, "_BUDGET", 0.001)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def quick(run: mmgan.Run, **options: Any) -> dict[str, Any]:
    return measure(run, **{"warmup": 1, "rounds": 2, **options})


def parts_of(result: dict[str, Any]) -> list[str]:
    return [f"{part['phase'] or ''} {part['part']}".strip() for part in result["split"]["parts"]]


# What it says.


def test_all_figures_of_a_plain_game() -> None:
    result = quick(toy_run("toy"), rounds=3)
    assert json.loads(json.dumps(result)) == result
    assert (result["plugin"], result["stage"]) == ("toy", "train")
    spread = result["seconds_per_step"]
    ordered = [spread[name] for name in ("min", "lower_quartile", "median", "upper_quartile", "max")]
    assert ordered == sorted(ordered)
    assert ordered[0] > 0
    assert sorted(result["rounds"])[1] == spread["median"]
    assert result["steps_per_s"] == pytest.approx(1 / spread["median"])
    assert result["samples_per_s"] == pytest.approx(8 / spread["median"])
    (kind,) = result["kinds"]
    assert (kind["phases"], kind["share"], kind["steps_per_period"]) == (["D", "G"], 1.0, 1)
    assert kind["steps_per_round"] >= 1
    memory = result["memory"]
    assert memory["gpu_peak_bytes"] is None
    assert 0 <= memory["process_peak_growth_bytes"] < memory["process_peak_bytes"]
    operations = result["operations"]
    assert operations["ceiling"].items() >= {"size": 32, "dtype": "float32"}.items()
    assert operations["fraction"] * operations["ceiling"]["flops_per_s"] == pytest.approx(
        operations["flops_per_s"]
    )
    where = result["environment"]
    assert where["plugin"] == {"name": "Games", "version": None}
    assert where["mmgan"] == mmgan.__version__
    assert where["memory_format"] == {"G": "contiguous", "D": "contiguous"}
    assert (where["threads"], where["batch_size"]) == (torch.get_num_threads(), 8)
    assert (where["device"], where["precision"], where["compile"]) == ("cpu", "fp32", False)


def test_the_parts_add_up_and_stand_in_their_order() -> None:
    result = quick(toy_run("toy", task=type("Reversed", (Toy,), {"stages": (Stage("a", GD),)})))
    update = ["loss", "backward", "optimizer"]
    names = ["data", "forward", *(f"G {part}" for part in [*update, "average"])]
    assert parts_of(result) == [*names, *(f"D {part}" for part in update), "hooks", "rest"]
    split = result["split"]
    assert sum(part["seconds"] for part in split["parts"]) == pytest.approx(split["seconds_per_step"])
    assert sum(part["share"] for part in split["parts"]) == pytest.approx(1)
    assert all(part["seconds"] > 0 for part in split["parts"])


GD = (Phase("G", "G"), Phase("D", "D"))


def test_each_part_gets_its_own_time_and_no_other() -> None:
    """On a clock that goes on by one at each look: a part has as many seconds as it has boundaries."""
    ticks = count()
    split = Split(lambda: None, lambda: float(next(ticks)))
    split.start()
    with split.within("update", "D"):
        with split.within("loss", "D"):
            pass
        with split.within("backward", "D"):
            pass
    with pytest.raises(ValueError, match="inside"), split.within("data", ""):
        raise ValueError("inside")
    assert split.stop() == {
        ("rest", ""): 3.0,
        ("optimizer", "D"): 3.0,
        ("loss", "D"): 1.0,
        ("backward", "D"): 1.0,
        ("data", ""): 1.0,
    }


def test_the_device_is_waited_for_at_every_boundary_of_the_split_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, calls = toy_run("toy"), Counter[str]()
    monkeypatch.setattr(run.device, "synchronize", lambda: calls.update(["waits"]))
    with training(run):
        timing.timed(run, 5)
    assert (run.step, calls["waits"]) == (5, 2)
    with splitting(run) as split:
        split.start()
        run.next_batch()
        split.stop()
    assert calls["waits"] == 6


# Operations.


class Plain(Toy):
    """One linear layer for each player: what it computes can be counted by hand."""

    def build(self) -> dict[str, Player]:
        self.g, self.d = nn.Linear(4, 2), nn.Linear(2, 1)
        return {
            name: Player(net, torch.optim.SGD(net.parameters(), 0.01))
            for name, net in (("G", self.g), ("D", self.d))
        }


def test_operations_of_linear_layers_are_exact() -> None:
    n, g, d = 8, 2 * 4 * 2, 2 * 2 * 1
    d_phase = 2 * d + 2 * d  # real and fake: forward, and the gradient of the weights
    g_phase = d + d + g  # through D, back to its input, and to the weights of G
    assert quick(toy_run("toy", task=Plain))["operations"]["flops_per_step"] == n * (g + d_phase + g_phase)


def test_operations_hold_those_of_a_second_backward() -> None:
    class Unpunished(ToyWGAN):
        def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
            self.run.grad = lambda d, x: (d(x), x)
            return super().loss(phase, batch, shared)

    whole, without = (
        quick(toy_run("toy-wgan", task=task))["operations"]["flops_per_step"] for task in (None, Unpunished)
    )
    # What is left out: D's gradient by its input (16 and 2 to 16 weights), and back through it.
    assert whole - without >= 5 * 8 * 2 * 2 * (16 + 32)


# Which steps.


class Recorded(ToyStages):
    """Knows which phases were played, and in which step of the run."""

    played: ClassVar[list[tuple[int, str]]] = []

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        self.played.append((self.run.step, phase))
        return super().loss(phase, batch, shared)


@pytest.mark.parametrize(
    ("stage", "phases", "start"),
    [("", {"policy", "D"}, 22), ("pretrain-g", {"mle"}, 0), ("pretrain-d", {"D"}, 10)],
)
def test_one_stage_is_played_from_its_first_step_for_as_long_as_it_takes(
    stage: str, phases: set[str], start: int
) -> None:
    Recorded.played.clear()
    result = quick(toy_run("toy-stages", task=Recorded, steps=23), stage=stage, rounds=14)
    assert result["stage"] == stage or "adversarial"
    assert {phase for _, phase in Recorded.played} == phases
    assert Recorded.played[0][0] == start
    assert len(Recorded.played) > 13  # More than the stage has where it has an end.
    batches = {"": 2, "pretrain-g": 1, "pretrain-d": 1}[stage]
    assert result["samples_per_s"] == pytest.approx(batches * 8 * result["steps_per_s"])


def test_an_unknown_stage_and_one_without_steps() -> None:
    class Empty(ToyStages):
        stages = (Stage("early", GD, 0), Stage("late", GD))

    run = toy_run("toy-stages", task=Empty)
    assert choose(run)[0].name == "late"
    for given, message in (("lat", r"no stage 'lat'. Did you mean 'late'\?"), ("early", "no stage 'early'")):
        with pytest.raises(UsageError, match=message) as caught:
            quick(run, stage=given)
        assert caught.value.hint == "Stages: late."


def lazy(*phases: Phase, steps: int | None = None) -> Any:
    return type("Lazy", (Plain,), {"stages": (Stage("train", phases, steps), Stage("more", phases))})


def test_steps_of_different_work_count_by_their_share() -> None:
    task = lazy(Phase("D", "D"), Phase("G", "G", every=4))
    result = quick(toy_run("toy", task=task))
    both, d = result["kinds"]
    assert (both["phases"], both["share"]) == (["D", "G"], 0.25)
    assert (d["phases"], d["share"], d["steps_per_period"]) == (["D"], 0.75, 3)
    per_step = 8 * (16 + 16 + (4 + 4 + 16) / 4)
    assert result["operations"]["flops_per_step"] == per_step
    assert min(result["rounds"]) > 0.25 * 0.9 * min(both["seconds_per_step"], d["seconds_per_step"])
    assert parts_of(result)[2:5] == ["D loss", "D backward", "D optimizer"]


@pytest.mark.parametrize(
    ("phases", "steps", "expected"),
    [
        ([("D", 1, 1), ("G", 1, 5)], None, {"DG": 1.0}),
        ([("D", 2, 1), ("G", 3, 1)], None, {"DG": 1 / 6, "D": 2 / 6, "G": 1 / 6, "": 2 / 6}),
        ([("D", 1, 1), ("G", 99_991, 1), ("R", 99_989, 1)], None, {"DGR": 1e-5}),
        ([("D", 1, 1), ("G", 100, 1)], 10, {"DG": 0.1, "D": 0.9}),
    ],
)
def test_kinds(phases: list[tuple[str, int, int]], steps: int | None, expected: dict[str, float]) -> None:
    players = {"D": "D", "G": "G", "R": "D"}
    task = lazy(*(Phase(name, players[name], every, repeat) for name, every, repeat in phases), steps=steps)
    run = toy_run("toy", task=task, steps=5)
    found = kinds(run, run.stages[0])
    assert sum(kind.share for kind in found) == pytest.approx(1)
    shares = {"".join(phase.name for phase in kind.stage.phases): kind.share for kind in found}
    for name, share in expected.items():
        assert shares[name] == pytest.approx(share)
    assert all(phase.every == 1 for kind in found for phase in kind.stage.phases)
    assert {phase.repeat for kind in found for phase in kind.stage.phases} == {r for *_, r in phases}


def test_a_task_that_plays_its_own_steps_is_measured_as_it_is() -> None:
    class Own(Plain):
        stages = (Stage("train", (Phase("D", "D"), Phase("G", "G", every=2))),)
        indices: ClassVar[list[int]] = []

        def step(self, run: mmgan.Run, stage: Stage, index: int) -> dict[str, Tensor]:
            self.indices.append(index)
            return {"D/adv": self.d(run.next_batch()).mean().detach()}

    result = quick(toy_run("toy", task=Own))
    assert parts_of(result) == ["data", "hooks", "rest"]
    assert [kind["phases"] for kind in result["kinds"]] == [["D", "G"]]
    assert Own.indices == list(range(len(Own.indices)))


def test_a_schedule_stays_where_the_run_would_end() -> None:
    class Watched(ToyCycle):
        rates: ClassVar[set[float]] = set()

        def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
            self.rates.add(self.run.players["G"].optimizer.param_groups[0]["lr"])
            return super().loss(phase, batch, shared)

    quick(toy_run("toy-cycle", task=Watched, steps=2))
    assert Watched.rates == {1e-2, 5e-3}


@pytest.mark.slow
def test_seqgan(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = mmgan.Plugins()
    settings = {
        "vocabulary": 40, "length": 8, "embedding": 8, "hidden": 8, "batch_size": 8, "mle_steps": 4,
        "negatives": 8, "pretrain_rounds": 2, "pretrain_epochs": 2, "rounds": 2, "epochs": 1,
        "iterations": 3, "rollouts": 2, "device": "cpu", "tensorboard": False,
    }  # fmt: skip
    config = mmgan.resolve(plugins.task("seqgan").Config, "seqgan", flags=settings, environment={})
    result = quick(mmgan.new_run(config, plugins))
    assert result["stage"] == "adversarial"
    both, d = result["kinds"]
    assert (both["phases"], d["phases"]) == (["G", "D"], ["D"])
    assert both["share"] == 1 / config.iteration_steps
    assert {"G loss", "G optimizer", "D backward"} <= set(parts_of(result))
    assert quick(mmgan.new_run(config, plugins), stage="pretrain-g")["kinds"][0]["phases"] == ["MLE"]


# What it leaves behind.


class Nosy:
    """A plugin's listener that keeps something in the run's folder, and may have enough."""

    def __init__(self, enough: int = 0) -> None:
        self.folder, self.calls, self.enough = Path(), Counter[str](), enough

    @hookimpl
    def before_run(self, run: mmgan.Run) -> None:
        assert run.folder
        self.folder = run.folder
        (self.folder / "nosy").touch()

    @hookimpl
    def after_step(self) -> None:
        self.calls["step"] += 1
        if self.calls["step"] == self.enough:
            raise KeyboardInterrupt

    @hookimpl
    def after_log(self) -> None:
        self.calls["log"] += 1
        assert {path.name for path in self.folder.iterdir()} >= {"nosy", "status.json"}

    @hookimpl
    def after_sample(self) -> None:
        raise AssertionError

    @hookimpl
    def after_evaluate(self) -> None:
        raise AssertionError

    @hookimpl
    def before_save(self) -> None:
        raise AssertionError


def test_listeners_take_part_and_nothing_is_kept() -> None:
    nosy = Nosy()
    rare = {"sample_every": 1, "evaluate_every": 1, "checkpoint_every": 1}
    run = toy_run("toy", None, nosy, log_every=2, **rare)
    plugins = run.plugins.manager.get_plugins()
    quick(run)
    assert nosy.calls["log"] == nosy.calls["step"] // 2 > 2
    assert not nosy.folder.exists()
    assert run.folder is None
    assert run.plugins.manager.get_plugins() == plugins
    assert run.part("data", "") is run.part("loss", "D"), "nobody measures any more"


@pytest.mark.parametrize("enough", [1, 3, 10, 20])
def test_ctrl_c_leaves_nothing_behind_either(enough: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SECONDS", 1e-9)
    monkeypatch.setattr("mmgan.bench.measuring._SPLIT_ROUNDS", 30)
    nosy = Nosy(enough)
    run = toy_run("toy", None, nosy)
    with pytest.raises(KeyboardInterrupt):
        quick(run, rounds=4)
    assert not nosy.folder.exists()
    assert run.part("data", "") is run.part("loss", "D"), "nobody measures any more"


def test_what_cannot_be_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="without a folder, and this one has"):
        quick(toy_run("toy", tmp_path / "run"))
    run = toy_run("toy")
    monkeypatch.setattr(run.ranks, "world", 2)
    with pytest.raises(UsageError, match="one process, and 2 were started"):
        quick(run)


def test_watching_changes_no_result() -> None:
    plain, seen = toy_run("toy", steps=3), toy_run("toy", steps=3)
    mmgan.train(plain)
    with splitting(seen) as split:
        mmgan.train(seen)
    assert ("loss", "G") in split.seconds
    for name, weights in plain.weights().items():
        for key, value in weights.items():
            assert torch.equal(value, seen.weights()[name][key])


def test_a_step_shows_its_parts_in_their_order() -> None:
    import contextlib

    run, seen = toy_run("toy", steps=1), []

    def around(part: str, phase: str) -> Any:
        seen.append(f"{part} {phase}".strip())
        return contextlib.nullcontext()

    run.part = around
    mmgan.train(run)
    update = ["update", "loss", "backward"]
    phases = [*(f"{part} D" for part in update), *(f"{part} G" for part in [*update, "average"])]
    assert seen == ["data", "forward", *phases]


# The machine.


def test_a_processor_as_linux_describes_it(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nmodel name\t: Some CPU: fast\nflags\t\t: fpu avx2 avx512f amx_bf16\n\nprocessor: 1"
    )
    found = machine.processor(file)
    assert (found["cpu"], found["cpu_features"]) == ("Some CPU: fast", ["avx2", "avx512f", "amx_bf16"])
    assert found["cpu_kernels"] == torch.backends.cpu.get_cpu_capability()
    elsewhere = machine.processor(tmp_path / "none")
    assert elsewhere["cpu"]
    assert elsewhere["cpu_features"] == []


def test_memory_format() -> None:
    assert machine.memory_format(nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)) == "channels_last"
    assert machine.memory_format(nn.Conv2d(3, 4, 3)) == "contiguous"
    # Of a single weight both are true.
    assert machine.memory_format(nn.Conv2d(1, 4, 1).to(memory_format=torch.channels_last)) == "contiguous"


def test_memory_where_the_system_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    found = machine.Memory(mmgan.Device("cpu")).read()
    assert set(found.values()) == {None}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_ceiling_is_the_best_of_the_sizes(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    monkeypatch.setattr(machine, "SIZES", (8, 16, 1_000_000))
    seconds = {8: 1e-6, 16: 2.0}
    monkeypatch.setattr(machine, "_product", lambda device, dtype, size: seconds[size])
    found = machine.ceiling(torch.device("cpu"), dtype)
    assert found == {"flops_per_s": 2 * 8**3 / 1e-6, "size": 8, "dtype": str(dtype).removeprefix("torch.")}
