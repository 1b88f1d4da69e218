"""A plugin whose generator grows at a stage boundary: rightly, and apart on each of several ranks."""

from __future__ import annotations

_PLUGIN = """
import torch
from torch import nn
from mmgan import Phase, Player, PointSamples, Stage, Task, hookimpl

PHASES = (Phase("D", "D"), Phase("G", "G"))


class Grows(Task):
    stages = (Stage("small", PHASES, STEPS), Stage("large", PHASES))

    def build(self):
        self.g, self.d = nn.Sequential(nn.Linear(4, 2)), nn.Linear(2, 1)
        return {"G": self.player(self.g), "D": self.player(self.d)}

    def player(self, network):
        return Player(network, torch.optim.SGD(network.parameters(), 1e-2), ema=0.9)

    def begin_stage(self, stage):
        if stage.name == "large":
            self.grow()

    def grow(self):
        self.g = nn.Sequential(*self.g, nn.Linear(2, 2))
        self.run.rebuild("G", self.player(self.g))

    def data(self):
        return self.run.open_data("points")

    def forward(self, real):
        return self.g(torch.randn(len(real), 4))

    def loss(self, phase, real, fake):
        if phase == "G":
            return {"G/adv": -self.d(fake).mean()}
        return {"D/adv": self.d(fake.detach()).mean() - self.d(real).mean() + self.d(real).square().mean()}

    def sample(self, n):
        return PointSamples(self.run.players["G"].sampler(torch.randn(n, 4)))


class Apart(Grows):
    def grow(self):
        self.g.append(nn.Linear(2, 2))
        self.run.players["G"].optimizer.add_param_group({"params": self.g[1].parameters()})
        self.run.trained["G"] += self.g[1].parameters()
        self.run.players["G"].average.append(nn.Linear(2, 2).requires_grad_(False))


@hookimpl
def register_tasks(register):
    register("GROWS", Grows)
    register("APART", Apart)
"""


def growing(steps: int, grows: str, apart: str) -> str:
    """Return the text of the plugin.

    Args:
        steps: How long the first stage is.
        grows: The name of the task that grows alike on all ranks.
        apart: The name of the one that gets another random layer on each.
    """
    return _PLUGIN.replace("STEPS", str(steps)).replace("GROWS", grows).replace("APART", apart)
