"""Small games for the tests, one for each shape that a game can have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

import mmgan
from mmgan import Config, Dataset, Draw, Phase, Player, PointSamples, Run, Stage, Task, hookimpl
from mmgan.losses import adversarial_loss, penalty
from mmgan.plugins import Plugins
from mmgan_convolutions.forms import FORMS
from mmgan_convolutions.plan import Plan
from mmgan_convolutions.products import Geometry


class Dots(Dataset):
    """Points around (1, 1), made from nothing but their seed, epoch and index."""

    description = "100 dots"

    def __len__(self) -> int:
        return 100

    def batch(self, indices: Tensor, draw: Draw) -> Tensor:
        return 1 + 0.1 * draw.normal("dot", 2).float()


class ToyConfig(Config):
    steps: int = Field(40, ge=1, description="steps")
    batch_size: int = Field(8, ge=1, description="batch")
    ema: float = Field(0.9, description="decay")
    lr: float = Field(1e-2, description="learning rate")
    critic_steps: int = Field(1, description="updates of D for each of G")
    tensorboard: bool = Field(False, description="off: it is slow to import")


def mlp(inputs: int, outputs: int, norm: bool = False) -> nn.Sequential:
    middle = [nn.BatchNorm1d(16)] if norm else []
    # No bias before batch norm: its gradient is nothing but rounding, which Adam would blow up.
    return nn.Sequential(
        nn.Linear(inputs, 16, bias=not norm), *middle, nn.LeakyReLU(0.2), nn.Linear(16, outputs)
    )


class Toy(Task):
    """The plain game: a fake made once in ``forward`` serves both players."""

    Config = ToyConfig
    data_kind = "points"

    def build(self) -> dict[str, Player]:
        self.g, self.d = mlp(4, 2, norm=True), mlp(2, 1)
        return {
            "G": Player(self.g, torch.optim.Adam(self.g.parameters(), self.config.lr), ema=self.config.ema),
            "D": Player(self.d, torch.optim.Adam(self.d.parameters(), self.config.lr)),
        }

    def data(self) -> Dataset:
        return Dots()

    def latents(self, n: int) -> Tensor:
        return torch.randn(n, 4, device=self.run.device.torch)

    def forward(self, batch: Tensor) -> Any:
        return self.g(self.latents(len(batch)))

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        bce = adversarial_loss("nonsaturating")
        if phase == "G":
            return {"G/adv": bce.generator(self.d(shared))}
        return {"D/adv": bce.discriminator(self.d(batch), self.d(shared.detach()))}

    def sample(self, n: int) -> PointSamples:
        return PointSamples(self.run.players["G"].sampler(self.latents(n)))

    def evaluate(self, n: int) -> dict[str, float]:
        points = self.run.players["G"].sampler(self.latents(n or 100))
        return {"distance": float((points.mean(0) - 1).norm())}

    @property
    def best_score(self) -> str:
        return "distance"


class ToyWGAN(Toy):
    """WaveGAN's shape: five critic steps, each with a fresh batch, and a gradient penalty."""

    def build(self) -> dict[str, Player]:
        self.g, self.d = mlp(4, 2), mlp(2, 1)
        return {
            "G": Player(self.g, torch.optim.Adam(self.g.parameters(), self.config.lr, (0.0, 0.9))),
            "D": Player(self.d, torch.optim.Adam(self.d.parameters(), self.config.lr, (0.0, 0.9))),
        }

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (Stage("train", (Phase("D", "D", repeat=5), Phase("G", "G"))),)

    def forward(self, batch: Tensor) -> None:
        return None

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        fake = self.g(self.latents(len(batch)))
        wgan = adversarial_loss("wgan")
        if phase == "G":
            return {"G/adv": wgan.generator(self.d(fake))}
        fake = fake.detach()
        return {
            "D/adv": wgan.discriminator(self.d(batch), self.d(fake)),
            "D/penalty": 10 * penalty("wgan-gp", self.run, self.d, batch, fake),
        }


class ToyStages(Toy):
    """SeqGAN's shape: pretraining stages, then a policy gradient on sampled symbols."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("pretrain-g", (Phase("mle", "G"),), steps=10),
            Stage("pretrain-d", (Phase("D", "D"),), steps=12),
            Stage("adversarial", (Phase("policy", "G"), Phase("D", "D", repeat=2))),
        )

    def build(self) -> dict[str, Player]:
        self.g, self.d = nn.Linear(1, 5), nn.Embedding(5, 1)
        return {
            "G": Player(self.g, torch.optim.Adam(self.g.parameters(), 1e-2), clip_norm=5.0),
            "D": Player(self.d, torch.optim.Adam(self.d.parameters(), 1e-2)),
        }

    def forward(self, batch: Tensor) -> None:
        return None

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        real = batch[:, 0].gt(1).long() + 3  # the data only has the symbols 3 and 4
        logits = self.g(torch.ones(len(batch), 1))
        if phase == "mle":
            return {"G/nll": nn.functional.cross_entropy(logits, real)}
        fake = torch.distributions.Categorical(logits=logits.detach()).sample()
        if phase == "D":
            return {"D/adv": adversarial_loss("nonsaturating").discriminator(self.d(real), self.d(fake))}
        with torch.no_grad():
            reward = torch.sigmoid(self.d(fake))[:, 0]
        return {"G/policy": (nn.functional.cross_entropy(logits, fake, reduction="none") * reward).mean()}

    def sample(self, n: int) -> PointSamples:
        return PointSamples(torch.softmax(self.g(torch.ones(1, 1)), 1)[:, :2].expand(n, 2))


class ToyCycle(Toy):
    """CycleGAN's shape: two generators under one optimizer, two discriminators, a replay pool, G first."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (Stage("train", (Phase("G", "G"), Phase("D", "D"))),)

    def build(self) -> dict[str, Player]:
        self.g = nn.ModuleDict({"AB": mlp(2, 2), "BA": mlp(2, 2)})
        self.d = nn.ModuleDict({"A": mlp(2, 1), "B": mlp(2, 1)})
        self.pool: list[Tensor] = []

        def schedule(step: int) -> float:
            return 1 - step / self.config.steps

        return {
            "G": Player(self.g, torch.optim.Adam(self.g.parameters(), 1e-2), schedule=schedule),
            "D": Player(self.d, torch.optim.Adam(self.d.parameters(), 1e-2), schedule=schedule),
        }

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        a, b = batch, -batch
        return {"a": a, "b": b, "fake_b": self.g["AB"](a), "fake_a": self.g["BA"](b)}

    def loss(self, phase: str, batch: Tensor, shared: Any) -> dict[str, Tensor]:
        lsgan = adversarial_loss("lsgan")
        if phase == "G":
            cycle = (self.g["BA"](shared["fake_b"]) - shared["a"]).abs().mean()
            adv = lsgan.generator(self.d["B"](shared["fake_b"])) + lsgan.generator(
                self.d["A"](shared["fake_a"])
            )
            return {"G/adv": adv, "G/cycle": 10 * cycle}
        fake = self.replay(shared["fake_b"].detach())
        return {
            "D/A": 0.5
            * lsgan.discriminator(self.d["A"](shared["a"]), self.d["A"](shared["fake_a"].detach())),
            "D/B": 0.5 * lsgan.discriminator(self.d["B"](shared["b"]), self.d["B"](fake)),
        }

    def replay(self, fakes: Tensor) -> Tensor:
        out = []
        for fake in fakes:
            if len(self.pool) < 20:
                self.pool.append(fake)
            elif torch.rand(()) < 0.5:
                place = int(torch.randint(20, ()))
                self.pool[place], fake = fake, self.pool[place]
            out.append(fake)
        return torch.stack(out)

    def sample(self, n: int) -> PointSamples:
        return PointSamples(self.g["AB"](torch.randn(n, 2)))

    def state_dict(self) -> dict[str, Any]:
        return {"pool": self.pool}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.pool = state["pool"]


GAMES = {"toy": Toy, "toy-wgan": ToyWGAN, "toy-stages": ToyStages, "toy-cycle": ToyCycle}


class Games:
    """The plugin that registers them."""

    @hookimpl
    def register_tasks(self, register: Any) -> None:
        for name, task in GAMES.items():
            register(name, task)


class Stopper:
    """Stops a run after a step, as a signal does: by default Ctrl-C."""

    def __init__(self, at: int, signal: int = 2) -> None:
        self.at, self.signal = at, signal

    @hookimpl
    def after_step(self, run: Run, step: int) -> None:
        if step == self.at:
            run.stop_signal = self.signal


class Always(Plan):
    """A plan of convolutions that chooses one form for all."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def leaves(self, weight: Tensor, dtype: torch.dtype, places: int) -> bool:
        return False

    def compute(self, kind: Any, a: Tensor, b: Tensor, geometry: Geometry, may_measure: bool) -> Tensor:
        return FORMS[self.form](kind, a, b, geometry)


def toy_run(
    plugin: str = "toy", folder: Path | None = None, *extra: Any, task: Any = None, **settings: Any
) -> Run:
    """Make a run of a toy, with further plugins; ``task`` takes the place of the toy's class."""
    plugins = Plugins(Games(), *extra, installed=False)
    if task is not None:
        plugins.tasks[plugin].thing = task
    settings = {"device": "cpu", "precision": "fp32", "plugin": plugin} | settings
    config = mmgan.config.check(plugins.config_class(plugin), settings)
    return mmgan.new_run(config, plugins, folder)


def reload(folder: Path, which: str = "last", **changes: Any) -> Run:
    """Open a toy's run again."""
    return mmgan.load_run(folder, Plugins(Games(), installed=False), which, changes)


def again(folder: Path, *extra: Any, task: Any = None, **changes: Any) -> Run:
    """Open a toy's run again, with further plugins; ``task`` as for :func:`toy_run`."""

    class Game:
        @hookimpl
        def register_tasks(self, register: Any) -> None:
            register("toy", task or Toy)

    return mmgan.load_run(folder, Plugins(Game(), *extra, installed=False), changes=changes)


def everything(run: Run) -> dict[str, Tensor]:
    """Return all tensors that a run's future depends on, by path, for comparison to the byte."""
    found: dict[str, Tensor] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Tensor):
            found[path] = value
        elif isinstance(value, dict):
            for key, item in value.items():
                walk(item, f"{path}/{key}")
        elif isinstance(value, list | tuple):
            for number, item in enumerate(value):
                walk(item, f"{path}/{number}")
        elif isinstance(value, int | float):
            found[path] = torch.tensor(value, dtype=torch.float64)

    walk({"weights": run.weights(), "state": run.state_dict()}, "")
    return found


def assert_same(one: Run, other: Run) -> None:
    """Assert that two runs are equal to the byte."""
    left, right = everything(one), everything(other)
    assert left.keys() == right.keys()
    different = [key for key in left if not torch.equal(left[key], right[key])]
    assert not different, different
