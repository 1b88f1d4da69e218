"""Watching a run's first steps from inside: each loss, its side effects, and what each phase changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmgan.counting import some
from mmgan.engine import METER
from mmgan.errors import DivergedError, MmganError, PluginError
from mmgan.meter import unmeasured
from mmgan.run import Run
from mmgan.task import Phase, stage_at
from mmgan.testing.bench import Bench, play, spans
from mmgan.testing.compare import copied, differences


def watch(bench: Bench) -> None:
    """Play the first step of each stage, and record on the bench what breaks a rule.

    Raises:
        MmganError: The run can't be made, and not because of the task: a setting, or the data.
    """
    try:
        bench.watched = run = bench.new()
        watcher = Watcher(run, bench.found, bench.looked)
        for span in spans(run):
            play(run, span.start, span.start + 1)
        watcher.leave()
        bench.found["unreached"] += watcher.unreached()
        bench.found["unmoved"] += unmoved(run)
    except Exception as error:
        # Third-party code may raise anything. Errors that are not its fault must reach the caller.
        if isinstance(error, MmganError) and not isinstance(error, PluginError | DivergedError):
            raise
        bench.error = error


class Watcher:
    """Stands in for a task's ``loss``, which the engine calls once in each phase, and around each update.

    Work that a task's own ``step`` does besides the engine's updates is not checked: it is not known when it
    means to update which player.
    """

    def __init__(self, run: Run, found: Mapping[str, list[str]], looked: set[str]) -> None:
        self.run = run
        self.found = found
        self.looked = looked
        #: By updated player: the IDs of the parameters that ever had a gradient in its updates.
        self.reached: dict[str, dict[int, nn.Parameter]] = {}
        self.original = run.task.loss
        run.task.loss = self.loss  # type: ignore[method-assign]
        self.stages = run.stages
        run.stages = tuple(
            replace(stage, phases=tuple(map(self.watched, stage.phases))) for stage in run.stages
        )
        self.hooked: dict[torch.optim.Optimizer, RemovableHandle] = {}
        self.hook_optimizers()
        self.inside, self.sound = False, True
        self.phase = self.player = ""
        run.part = self.part

    def leave(self) -> None:
        """Restore the losses, and remove the optimizers' hooks."""
        del self.run.task.loss
        self.run.part = unmeasured
        self.run.stages = self.stages
        for hook in self.hooked.values():
            hook.remove()

    def hook_optimizers(self) -> None:
        """Check gradients before each optimizer's step; a rebuilt player may have a new optimizer."""
        for name, player in self.run.players.items():
            if player.optimizer not in self.hooked:
                look = partial(self.look_at_gradients, name)
                self.hooked[player.optimizer] = player.optimizer.register_step_pre_hook(look)

    def watched(self, phase: Phase) -> Phase:
        """Return a phase whose own loss, if it has one, is checked."""
        own = phase.loss
        if own is None:
            return phase
        return replace(phase, loss=lambda *args: self.look_at(lambda: own(*args), phase.name))

    def loss(self, phase: str, batch: Any, shared: Any) -> Mapping[str, Tensor]:
        """Call the task's loss, and check what it returns and what it changes."""
        return self.look_at(lambda: self.original(phase, batch, shared), phase)

    def look_at(self, compute: Callable[[], Mapping[str, Tensor]], phase: str) -> Mapping[str, Tensor]:
        """Compute a phase's loss, and check the result and side effects."""
        if self.inside:  # One that calls itself for another phase.
            return compute()
        self.phase, self.player = self.named(phase)
        before, self.inside = self.touchable(), True
        try:
            losses = compute()
        finally:
            self.inside = False
        self.looked |= {"losses", "hands-off"}
        if touched := list(differences(before, self.touchable())):
            self.found["hands-off"].append(f"{self.phase}: its loss changed the {some(touched)}.")
        # After the first non-finite value, further ones say nothing new.
        if self.sound and (wrong := problems(losses)):
            self.found["losses"] += [f"{self.phase}: {problem}" for problem in wrong]
            self.sound = False
        return losses

    def named(self, phase: str) -> tuple[str, str]:
        """Describe the phase, and return its player: "" for a phase of no stage, as a task that plays its own
        steps may have.
        """
        stage, _ = stage_at(self.run.stages, self.run.step)
        players = {known.name: known.player for known in stage.phases}
        return f"Phase {phase!r} of stage {stage.name!r}", players.get(phase, "")

    @contextmanager
    def part(self, name: str, phase: str) -> Iterator[None]:
        """Check what a part of a step changes: an update only its player, ``forward`` nothing."""
        if name not in ("update", "forward"):
            yield
            return
        self.looked.add("own-weights")
        self.hook_optimizers()
        where, player = self.named(phase) if name == "update" else ("`forward`", "")
        before = self.weights()
        try:
            yield
        finally:
            own = {id(parameter) for parameter in self.run.trained.get(player, ())}
            free = {name for name, parameter in parameters(self.run).items() if id(parameter) in own}
            changed = [
                name
                for name in differences(before, self.weights())
                if name not in free and not name.startswith((f"{player}.average.", f"{player}.optimizer."))
            ]
            if changed:
                self.found["own-weights"].append(f"{where} changed {some(changed)}.")
            self.phase = self.player = ""

    def look_at_gradients(self, player: str, *_: object) -> None:
        """Record which parameters of a player have a gradient before its update, and which a bad one."""
        self.looked.add("gradients")
        own = parameters(self.run, player)
        gradients = {name: p.grad for name, p in own.items() if p.grad is not None}
        self.reached.setdefault(player, {}).update((id(own[name]), own[name]) for name in gradients)
        bad = [name for name, gradient in gradients.items() if not bool(gradient.isfinite().all())]
        if bad and self.sound:
            self.sound = False
            self.found["gradients"].append(f"{self.phase or player}: NaN or infinity in that of {some(bad)}.")

    def unreached(self) -> list[str]:
        """Return the names of the parameters that got no gradient in any update of their player."""
        return [
            name
            for player, reached in self.reached.items()
            for name, parameter in parameters(self.run, player).items()
            if among(parameter, self.run.trained[player]) and id(parameter) not in reached
        ]

    def weights(self) -> dict[str, Tensor]:
        """Copy everything that only an update may change: parameters, averages, and optimizer state."""
        players = self.run.players.items()
        held: dict[str, Any] = dict(parameters(self.run))
        for name, player in players:
            if player.average is not None:
                held |= {f"{name}.average.{key}": value for key, value in player.average.state_dict().items()}
            # Without the learning rates, which the engine sets before it asks for a loss.
            held[f"{name}.optimizer"] = player.optimizer.state_dict()["state"]
        return copied(held)  # type: ignore[no-any-return]

    def touchable(self) -> dict[str, Any]:
        """Copy everything that a loss could change but must not."""
        held: dict[str, Any] = {"gradient scalers": self.run.precision.state_dict()}
        for name, parameter in parameters(self.run).items():
            held[f"gradient of {name}"] = parameter.grad
            held[f"requires_grad of {name}"] = parameter.requires_grad
        # Those of the other players are checked when the update ends.
        for name, parameter in parameters(self.run, self.player).items():
            held[f"value of {name}"] = parameter
        for name, player in self.run.players.items():
            held[f"optimizer of {name}"] = player.optimizer.state_dict()["state"]
        return copied(held | modes(self.run))  # type: ignore[no-any-return]


def problems(losses: Any) -> list[str]:
    """Return what is wrong with a loss's result."""
    if not isinstance(losses, Mapping):
        return [f"the loss is a {type(losses).__name__}, not a dict of named terms."]
    if not losses:
        return ["the loss has no terms."]
    found = []
    for name, value in losses.items():
        if not isinstance(name, str) or not name or name in METER:
            found.append(f"a term is called {name!r}, which is not a valid name of a loss.")
        if not isinstance(value, Tensor):
            found.append(f"{name!r} is a {type(value).__name__}, not a tensor.")
        elif value.ndim:
            found.append(f"{name!r} has the shape {tuple(value.shape)}, and is not a scalar.")
        elif not bool(torch.isfinite(value)):
            found.append(f"{name!r} is {float(value.detach())}.")
        elif not value.requires_grad:
            found.append(f"{name!r} has no graph: no gradient comes from it.")
    return found


def unmoved(run: Run) -> list[str]:
    """Return the names of the parameters that their player's optimizer does not have."""
    return [
        name
        for player, trained in run.trained.items()
        for name, parameter in parameters(run, player).items()
        if among(parameter, trained)
        and not any(among(parameter, group["params"]) for group in run.players[player].optimizer.param_groups)
    ]


def among(parameter: nn.Parameter, others: Iterable[nn.Parameter]) -> bool:
    """Whether a parameter is one of these. (`in` would compare values.)"""
    return any(parameter is other for other in others)


def parameters(run: Run, player: str = "") -> dict[str, nn.Parameter]:
    """Return a player's parameters by their names, such as "G.0.weight"; by default those of all."""
    return {
        f"{name}.{key}": parameter
        for name, one in run.players.items()
        if player in ("", name)
        for key, parameter in one.module.named_parameters()
    }


def modes(run: Run) -> dict[str, bool]:
    """Return whether each module of a run is in training mode."""
    networks = [(name, player.module) for name, player in run.players.items()]
    networks += [(f"{name}.average", p.average) for name, p in run.players.items() if p.average is not None]
    return {
        f"mode of {name}.{key}".rstrip("."): module.training
        for name, network in networks
        for key, module in network.named_modules()
    }
