"""The environment in which a plugin without a task is checked: a small game in two stages."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from mmgan import hookimpl
from mmgan.config import Config, check
from mmgan.data.dataset import Dataset, Draw
from mmgan.opening import load_run, new_run
from mmgan.plugins import Plugin, Plugins
from mmgan.plugins.guard import guard
from mmgan.run import Run
from mmgan.samples import PointSamples
from mmgan.task import Phase, Player, Stage, Task
from mmgan.testing.bench import SMALL
from mmgan.testing.compare import copied, differences
from mmgan.testing.rules import Skip

#: The game's length, and the step of the first of its two checkpoints.
STEPS, HALF = 8, 4
#: Settings with which each hook of a listener is called in these few steps.
OFTEN = {"log_every": 1, "sample_every": 2, "evaluate_every": 2, "checkpoint_every": HALF}


class Cloud(Dataset):
    """Points around (1, 1)."""

    description = "100 points"

    def __len__(self) -> int:
        return 100

    def batch(self, indices: Tensor, draw: Draw) -> Tensor:
        """Return (batch, 2)."""
        return 1 + 0.1 * draw.normal("point", 2).float()


class Playground(Task[Config]):
    """A game on points that trains in milliseconds, with an average, scores and two stages."""

    phases = (Phase("D", "D"), Phase("G", "G"))
    stages = (Stage("first", phases, HALF - 1), Stage("second", phases))
    best_score = "distance"
    data_kind = "points"

    def build(self) -> dict[str, Player]:
        """Make two small networks."""
        self.g = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
        self.d = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        return {
            name: Player(network, torch.optim.Adam(network.parameters(), 1e-3), ema=0.9)
            for name, network in (("G", self.g), ("D", self.d))
        }

    def data(self) -> Dataset:
        """Return the points."""
        return Cloud()

    def loss(self, phase: str, batch: Tensor, shared: None) -> dict[str, Tensor]:
        """Return the hinge loss."""
        fake = self.g(torch.randn_like(batch))
        if phase == "G":
            return {"G/adv": -self.d(fake).mean()}
        return {"D/adv": (1 - self.d(batch)).relu().mean() + (1 + self.d(fake.detach())).relu().mean()}

    def sample(self, n: int) -> PointSamples:
        """Return ``n`` points."""
        return PointSamples(self.run.players["G"].sampler(torch.randn(n, 2, device=self.run.device.torch)))

    def evaluate(self, n: int) -> dict[str, float]:
        """Return the distance between the means."""
        return {"distance": float((self.sample(n or 100).points - 1).mean(0).norm())}


class Meant(Exception):
    """Raised in the middle of a game that should fail."""


class Failing(Playground):
    """Fails in the middle."""

    def loss(self, phase: str, batch: Tensor, shared: None) -> dict[str, Tensor]:
        """Raise an error in the second stage."""
        if self.run.step >= HALF:
            raise Meant
        return super().loss(phase, batch, shared)


class Spy:
    """Records what other plugins put into checkpoints."""

    def __init__(self) -> None:
        #: By step: what was added.
        self.kept: dict[int, dict[str, Any]] = {}
        #: Keys that were there before, and were changed.
        self.touched: set[str] = set()

    @hookimpl(wrapper=True)
    def before_save(self, run: Run, state: dict[str, Any]) -> Any:
        """Compare the state before all other hooks with the state after them."""
        before = copied(state)
        result = yield
        self.kept[run.step] = {key: copied(value) for key, value in state.items() if key not in before}
        own = {key: value for key, value in state.items() if key in before}
        self.touched |= {place.partition(".")[0] for place in differences(before, own)}
        return result


@dataclass
class Sandbox:
    """A plugin, and an environment to check it in.

    Args:
        plugin: The plugin, which is loaded.
        plugins: All installed plugins.
        folder: An empty folder to write to.
    """

    plugin: Plugin
    plugins: Plugins
    folder: Path

    @property
    def authors(self) -> list[type | ModuleType]:
        """The objects in whose code an error's place is looked for."""
        module = self.plugin.module
        return [module if isinstance(module, ModuleType) else type(module)]

    @property
    def hooks(self) -> set[str]:
        """The hooks that the plugin has."""
        return set(self.plugin.hooks)

    def fresh(self) -> Any:
        """Return the plugin as another process would have it: without state from earlier runs.

        Raises:
            Skip: It can't be copied.
        """
        module = self.plugin.module
        if not isinstance(module, ModuleType):
            try:
                again = copy.deepcopy(module)
            except Exception as error:  # Copying calls the author's code.
                raise Skip(f"the plugin's object can't be copied: {type(error).__name__}: {error}") from None
        else:
            spec = module.__spec__
            if spec is None or spec.loader is None:
                raise Skip("the plugin's module can't be loaded a second time")
            again = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(again)
        # Failures must be seen; an optional plugin must not be switched off.
        again.mmgan_optional = False
        return again

    def around(self, spy: Spy, task: type[Task] = Playground, with_it: bool = True) -> Plugins:
        """Return plugins with a fresh copy of this one, a spy and a game."""
        module = self.fresh() if with_it else None
        plugins = Plugins(*([module] if with_it else []), spy, installed=False)
        if with_it:
            guard(plugins.manager, self.plugin.name, module)
        plugins.add(task)
        return plugins

    def begin(
        self, spy: Spy, folder: str = "", task: type[Task] = Playground, with_it: bool = True, **changes: Any
    ) -> Run:
        """Make a run of the game with the plugin, in a folder of this name, if given."""
        plugins = self.around(spy, task, with_it)
        values: Mapping[str, Any] = {
            "plugin": task.__name__.lower(),
            "steps": STEPS,
            **SMALL,
            **OFTEN,
            **changes,
        }
        return new_run(check(Config, values), plugins, self.folder / folder if folder else None)

    def again(self, spy: Spy, folder: str) -> Run:
        """Open a run's folder at its first checkpoint, with a fresh copy of the plugin."""
        return load_run(self.folder / folder, self.around(spy), str(HALF))
