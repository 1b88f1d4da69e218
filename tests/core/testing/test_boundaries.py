"""The kit plays over boundaries of stages, in networks that grow, and on two ranks; steps of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from growing import growing
from toys import Toy, mlp

from mmgan import Phase, Player, Plugins, Run, Stage
from mmgan.testing import ConformanceError, check_task, report

PHASES = (Phase("D", "D"), Phase("G", "G"))


def broken(task: Any, **settings: Any) -> dict[str, str]:
    """Return what each broken rule says."""
    with pytest.raises(ConformanceError) as caught:
        check_task(task, **settings)
    found: dict[str, str] = {}
    for failure in caught.value.failures:
        found[failure.rule] = f"{found.get(failure.rule, '')} {failure.what}".strip()
    return found


class Growing(Toy):
    """G has a layer more after 5,000 steps, and again after one step more."""

    stages = (Stage("small", PHASES, 5000), Stage("middle", PHASES, 1), Stage("large", PHASES))
    best_score = ""
    evaluate = Toy.__mro__[1].evaluate

    def build(self) -> dict[str, Player]:
        self.g, self.d = torch.nn.Sequential(torch.nn.Linear(4, 2)), mlp(2, 1)
        return {"G": self.player(self.g), "D": self.player(self.d)}

    def player(self, network: torch.nn.Module) -> Player:
        return Player(network, torch.optim.Adam(network.parameters(), 1e-2), ema=0.9)

    def begin_stage(self, stage: Stage) -> None:
        if stage.name != "small":
            self.g = torch.nn.Sequential(*self.g, torch.nn.Linear(2, 2))
            self.run.rebuild("G", self.player(self.g))


def test_a_network_that_grows_after_a_long_stage_conforms() -> None:
    check_task(Growing)


class GrowingOnce(Growing):
    """Grows by what it remembers, and not by its stages: a resumed run grows again."""

    def begin_stage(self, stage: Stage) -> None:
        if self.run.step:
            super().begin_stage(stage)


def test_growth_that_a_resumed_run_does_not_repeat() -> None:
    found = broken(GrowingOnce)
    assert list(found) == ["resume"]
    assert "does not fit this task" in found["resume"]


class AtTheEnd(Toy):
    """What the first stage's last step has measured is lost where a run stops just before the second.

    Once the second has begun, all that matters is saved.
    """

    stages = (Stage("long", PHASES, 5000), Stage("second", PHASES))

    def build(self) -> dict[str, Player]:
        self.measured, self.pace = 0.0, 1.0
        return super().build()

    def end_stage(self, stage: Stage) -> None:
        self.pace = 1.0 + self.measured

    def loss(self, phase: str, batch: Any, shared: Any) -> Any:
        losses = super().loss(phase, batch, shared)
        if self.run.stage is not None and (self.run.stage.name, self.run.stage_step) == ("long", 4999):
            self.measured = 0.5
        return {name: self.pace * value for name, value in losses.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"pace": self.pace}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.pace = state["pace"]


def test_what_is_lost_just_before_a_boundary_is_found() -> None:
    assert "Different after a resume in stage 'second': " in broken(AtTheEnd)["resume"]


def test_stages_behind_one_without_an_end_are_not_played() -> None:
    class Behind(Toy):
        stages = (Stage("endless", PHASES), Stage("never", (Phase("nothing", "D"),)))

    check_task(Behind)


# Steps of a task's own.


class Around(Toy):
    """Does something before and after the engine's step, and something that it may not do within."""

    meddles = False

    def step(self, run: Run, stage: Stage, index: int) -> dict[str, torch.Tensor]:
        losses = super().step(run, stage, index)
        with torch.no_grad():
            self.d[0].bias.clamp_(-1, 1)
        return losses

    def loss(self, phase: str, batch: Any, shared: Any) -> Any:
        if phase == "G" and self.meddles:
            with torch.no_grad():
                self.d[0].weight.mul_(0.99)
        return super().loss(phase, batch, shared)


def test_a_step_that_calls_super_switches_no_rule_off() -> None:
    plugins = Plugins(installed=False)
    name = plugins.add(Around)
    outcomes = {result.rule: result.outcome for result in report(name, {}, plugins=plugins)}
    assert {outcomes[rule] for rule in ("losses", "gradients", "own-weights", "hands-off")} == {"passed"}
    meddling = type("Meddling", (Around,), {"meddles": True})
    assert broken(meddling) == {"own-weights": "Phase 'G' of stage 'train' changed D.0.weight."}


# Two ranks.


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("kit-grows", ""),
        (
            "kit-apart",
            "After the first steps of stage 'large' the 2 processes have different weights: "
            "G.1.bias, G.1.weight, G.average.1.bias and 1 more.",
        ),
    ],
)
def test_two_ranks_over_a_boundary(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / f"{name.replace('-', '_')}.py").write_text(growing(5000, "kit-grows", "kit-apart"))
    plugins = Plugins(folder=tmp_path)
    (ranks,) = [r for r in report(name, {"data": "ring"}, plugins=plugins, ranks=2) if r.rule == "ranks"]
    assert (ranks.what, ranks.outcome) == (what, "failed" if what else "passed")
