"""CUDA graphs: what Python does beside a replay, and what can't be recorded.

No GPU is needed: a recorder of ours plays the recorded step again instead of replaying its kernels, which
does the same to memory. The kernels themselves are tested in ``tests/gpu``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import Toy, ToyConfig, assert_same, toy_run

import mmgan
from mmgan.backend.graphs import WARM_UP, Graphs, Recorder
from mmgan.config import resolve
from mmgan.engine import train
from mmgan.errors import ConfigError
from mmgan.plugins import Plugins

GAMES: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 4, "ema": 0.9},
    "dcgan-critic": {"width": 4, "penalty": "r1", "critic_steps": 2},
    "dcgan-classes": {"width": 4, "conditional": True},
    "gan": {"data": "ring", "width": 8, "ema": 0.9},
    "gan-clipped": {
        "data": "digits",
        "width": 8,
        "loss": "wgan",
        "clip_weights": 0.1,
        "optimizer": "rmsprop",
    },
    "wavegan": {"data": "drums:20", "dim": 2, "critic_steps": 2, "ema": 0.9},
}


def recorder_of(run: mmgan.Run, fails: Exception | None = None) -> type[Recorder]:
    """Return recorders that play a step again."""

    class Again(Recorder):
        made = 0

        def __init__(self) -> None:
            type(self).made += 1
            self.replays = 0

        def record(self, play: Callable[[], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
            """Play, and put everything back: to record launches nothing."""
            self.play = play
            tensors = [*weights(run), *(t for p in run.players.values() for t in state_of(p.optimizer))]
            kept = [tensor.clone() for tensor in tensors]
            random = torch.get_rng_state()
            self.losses = play()
            if fails:
                raise fails
            with torch.no_grad():
                for tensor, before in zip(tensors, kept, strict=True):
                    tensor.copy_(before)
            torch.set_rng_state(random)
            return self.losses

        def replay(self) -> None:
            self.replays += 1
            for name, loss in self.play().items():
                self.losses[name].copy_(loss)

        @staticmethod
        @contextmanager
        def aside(device: torch.device) -> Iterator[None]:
            yield

    return Again


def weights(run: mmgan.Run) -> list[torch.Tensor]:
    """Return the weights and buffers of all players."""
    return [tensor for player in run.players.values() for tensor in player.module.state_dict().values()]


def state_of(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Return the tensors of an optimizer's state."""
    states = optimizer.state.values()
    return [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]


def game(name: str, folder: Path | None = None, **changes: Any) -> mmgan.Run:
    plugins, plugin = Plugins(), name.partition("-")[0]
    flags = {
        "steps": 10,
        "batch_size": 8,
        "tensorboard": False,
        "precision": "fp32",
        **GAMES[name],
        **changes,
    }
    config = resolve(plugins.config_class(plugin), plugin, flags=flags, environment={})
    return mmgan.new_run(config, plugins, folder=folder)


class Told:
    """Keeps the losses that a run logs."""

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []

    @mmgan.hookimpl
    def after_log(self, metrics: dict[str, Any]) -> None:
        self.losses.append({name: value for name, value in metrics.items() if "/" in name})


@pytest.mark.parametrize("name", GAMES)
def test_a_run_with_graphs_ends_as_one_without(name: str) -> None:
    runs, logs = [game(name, log_every=2) for _ in range(2)], []
    make = recorder_of(runs[1])
    runs[1].stepper = Graphs(make)
    for run in runs:
        told = Told()
        run.plugins.attach([told])
        train(run)
        logs.append(told.losses)
    assert make.made == 1
    assert logs[0] == logs[1]
    assert_same(*runs)


def test_a_step_is_replayed_after_the_warm_up() -> None:
    run = game("gan", steps=WARM_UP + 5)
    run.stepper = graphs = Graphs(recorder_of(run))
    train(run)
    (kind,) = graphs.kinds.values()
    assert (kind.steps, kind.takes, kind.updates) == (WARM_UP, 1, {"D": 1, "G": 1})
    assert kind.recorder.replays == 5


def test_each_combination_of_due_phases_is_a_graph() -> None:
    class Lazy(Toy):
        @property
        def stages(self) -> tuple[mmgan.Stage, ...]:
            return (mmgan.Stage("lazy", (mmgan.Phase("D", "D"), mmgan.Phase("G", "G", every=3))),)

    runs = [toy_run(task=Lazy, steps=20) for _ in range(2)]
    make = recorder_of(runs[1])
    runs[1].stepper = Graphs(make)
    for run in runs:
        train(run)
    assert make.made == 2
    assert_same(*runs)


def test_losses_of_two_steps_have_memory_of_their_own() -> None:
    run = game("gan", steps=WARM_UP + 3)
    run.stepper = Graphs(recorder_of(run))
    seen = []

    class Listener:
        @mmgan.hookimpl
        def after_step(self, losses: dict[str, torch.Tensor]) -> None:
            seen.append(losses["D/adv"])

    run.plugins.attach([Listener()])
    train(run)
    assert len({float(loss) for loss in seen}) == len(seen)


def test_a_learning_rate_that_changes_is_recorded_anew() -> None:
    class Halving:
        @mmgan.hookimpl
        def after_step(self, run: mmgan.Run, step: int) -> None:
            if step == 6:
                run.players["G"].optimizer.param_groups[0]["lr"] /= 2

    runs = [game("gan", steps=12) for _ in range(2)]
    make = recorder_of(runs[1])
    runs[1].stepper = Graphs(make)
    for run in runs:
        run.plugins.attach([Halving()])
        train(run)
    assert make.made == 2
    assert_same(*runs)


def test_what_can_not_be_recorded_is_played_as_it_is() -> None:
    plain, run = game("gan"), game("gan")
    train(plain)
    run.stepper = graphs = Graphs(recorder_of(run, RuntimeError("an operation waits for the GPU")))
    with pytest.warns(UserWarning, match="can't be recorded as a CUDA graph.*waits for the GPU"):
        train(run)
    assert graphs.failed
    # The recorder had played the step once in vain.
    assert run.step == plain.step
    assert {n: p.updates for n, p in run.players.items()} == {n: p.updates for n, p in plain.players.items()}
    assert run.loader.position == plain.loader.position


def test_an_average_that_moves_twice_in_a_step_can_not_be_recorded() -> None:
    class Twice(Toy):
        @property
        def stages(self) -> tuple[mmgan.Stage, ...]:
            return (mmgan.Stage("twice", (mmgan.Phase("D", "D"), mmgan.Phase("G", "G", repeat=2))),)

    run = toy_run(task=Twice)
    run.stepper = Graphs(recorder_of(run))
    with pytest.warns(UserWarning, match="G has a moving average and is updated 2 times"):
        train(run)


def test_a_batch_of_texts_can_not_be_recorded() -> None:
    class Named(mmgan.Dataset):
        description = "texts"

        def __len__(self) -> int:
            return 8

        def batch(self, indices: torch.Tensor, draw: mmgan.Draw) -> dict[str, Any]:
            return {"points": torch.ones(len(indices), 2), "text": ["a"] * len(indices)}

    class Reading(Toy):
        holds = ("points", "text")

        def data(self) -> mmgan.Dataset:
            return Named()

        def forward(self, batch: Any) -> Any:
            return super().forward(batch["points"])

        def loss(self, phase: str, batch: Any, shared: Any) -> dict[str, torch.Tensor]:
            return super().loss(phase, batch["points"], shared)

    run = toy_run(task=Reading)
    run.stepper = Graphs(recorder_of(run))
    with pytest.warns(UserWarning, match="a batch holds str"):
        train(run)


def test_a_run_that_is_loaded_records_anew(tmp_path: Path) -> None:
    run = game("gan", folder=tmp_path / "run", checkpoint_every=0)
    run.stepper = Graphs(recorder_of(run))
    train(run)
    before = run.stepper
    run.load(run.save())
    assert run.stepper is not before


def test_graphs_on_needs_a_gpu() -> None:
    assert game("gan", graphs="auto").stepper is not None
    assert not isinstance(game("gan").stepper, Graphs)
    with pytest.raises(ConfigError, match="graphs = 'on': the run is on cpu"):
        game("gan", graphs="on")


class AugmentedConfig(ToyConfig):
    augment: str = "ada"


class Augmented(Toy):
    Config = AugmentedConfig
    graphs = True


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"world": 2}, "2 processes train"),
        ({"task": Toy}, "does not say that its steps can be recorded"),
        ({"schedule": lambda step: 1.0}, "an option of the optimizer of G changes"),
        ({"task": Augmented}, "augment = ada has a probability that is moved"),
    ],
)
def test_runs_that_have_no_graphs(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], reason: str
) -> None:
    from mmgan.backend import graphs

    run = toy_run(task=change.get("task", type("Fixed", (Toy,), {"graphs": True})))
    monkeypatch.setattr(type(run.device), "type", "cuda")
    if "world" in change:
        monkeypatch.setattr(type(run.ranks), "world", 2)
    if "schedule" in change:
        run.players["G"].schedule = change["schedule"]
    assert graphs.graphs_for(run) is None
    run.config = run.config.model_copy(update={"graphs": "on"})
    with pytest.raises(ConfigError, match=reason):
        graphs.graphs_for(run)


def test_the_claim_of_a_task_does_not_count_for_a_subclass(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmgan.backend import graphs

    class Fixed(Toy):
        graphs = True

    class Other(Fixed):
        pass

    runs = toy_run(task=Fixed), toy_run(task=Other)
    monkeypatch.setattr(type(runs[0].device), "type", "cuda")
    monkeypatch.setattr(graphs, "Graphs", lambda: "graphs")
    assert [graphs.graphs_for(run) for run in runs] == ["graphs", None]
