"""What ``table.py`` measures: cases, each a game in one size, and the data that their loops train on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import mmgan
from mmgan.config import check

if TYPE_CHECKING:
    from mmgan.config import Config


@dataclass(frozen=True)
class Case:
    """A game in one size.

    Args:
        name: Its name on the command line and in the results.
        what: The same for people, with what a step of it is.
        game: Which loops play it: a plugin's name; ``seqgan-rewards`` is a part of a step of seqgan, which
            no engine plays.
        settings: mmgan's, where they are not the defaults.
        precision: mmgan's, ``fp32`` or ``bf16``; the plain loop's is always fp32.
        engine_steps: How many of the engine's steps make one of the bare loops'.
        loops: Which loops there are.
        device: Where all of them compute.
    """

    name: str
    what: str
    game: str
    settings: dict[str, Any] = field(default_factory=dict)
    precision: str = "bf16"
    engine_steps: int = 1
    loops: tuple[str, ...] = ("plain", "mmgan", "same")
    device: str = "cpu"

    @property
    def plugin(self) -> str:
        """The plugin whose settings and networks these are."""
        return self.game.partition("-")[0]

    @property
    def through_the_engine(self) -> bool:
        """Whether mmgan's loop is the engine, and not a function."""
        return self.game == self.plugin

    def config(self, plugins: mmgan.Plugins) -> Config:
        """Return all of mmgan's settings: the defaults, but without an end and what happens now and then."""
        fixed: dict[str, Any] = dict.fromkeys(("sample_every", "evaluate_every", "checkpoint_every"), 0)
        fixed |= {"plugin": self.plugin, "data": "random", "steps": 2**52, "device": self.device}
        fixed |= {"precision": self.precision}
        return check(plugins.config_class(self.plugin), {**fixed, **self.settings})


#: Without a moving average, which the plain loops do not have; the papers' sizes, but WaveGAN's and SeqGAN's.
DCGAN = {"preset": "paper", "size": 64, "channels": 3, "width": 64, "batch_size": 64, "ema": 0.0}
WAVEGAN = {"length": 16_384, "dim": 32, "batch_size": 16, "ema": 0.0}
#: The adversarial stage alone, and a quarter of the updates of D that an iteration has in the preset
#: paper-small (78 of 312): with all of them the plain loop would take minutes. So G has more weight here.
SEQGAN = {"data": "oracle", "mle_steps": 0, "pretrain_rounds": 0, "negatives": 2_496}

#: The default objective, but with its penalty in every step, so that one is as long as another.
DCGAN_R1R2 = DCGAN | {"preset": "r1r2", "penalty_every": 1}
DCGAN_64 = Case("dcgan-64", "dcgan, 64 pixels, width 64, batch 64", "dcgan", DCGAN)
#: The preset small-cpu, in the same way.
R3GAN = {"size": 32, "channels": 1, "batch_size": 64, "penalty_every": 1, "ema_half_life": 0.0}
WAVEGAN_BF16 = Case("wavegan-bf16", "wavegan, 16,384 samples, dim 32, batch 16", "wavegan", WAVEGAN)


def with_flag(case: Case, name: str, flag: str, setting: dict[str, Any]) -> Case:
    """Return the case with a flag of mmgan's, whose engine was measured without it."""
    what, settings = f"the same with `{flag}`", case.settings | setting
    return replace(case, name=name, what=what, settings=settings, loops=("plain", "mmgan"))


CASES = (
    # Nearly all time is in Python: every microsecond of the engine shows.
    Case("gan-ring", "gan on points, batch 100", "gan", {"data": "ring"}, "fp32", loops=("mmgan", "same")),
    DCGAN_64,
    with_flag(DCGAN_64, "dcgan-64-tuned", "--tune", {"convolutions": "tune"}),
    with_flag(DCGAN_64, "dcgan-64-compiled", "--compile", {"compile": True}),
    Case("dcgan-64-r1r2", "the same by its default objective, R1 and R2 in every step", "dcgan", DCGAN_R1R2),
    Case("r3gan-32", "r3gan, 32 pixels, batch 64, R1 and R2 in every step", "r3gan", R3GAN),
    Case("r3gan-64", "r3gan, 64 pixels, the same", "r3gan", R3GAN | {"size": 64, "channels": 3}),
    replace(WAVEGAN_BF16, name="wavegan", precision="fp32"),
    WAVEGAN_BF16,
    with_flag(WAVEGAN_BF16, "wavegan-bf16-tuned", "--tune", {"convolutions": "tune"}),
    Case(
        "seqgan-rewards",
        "seqgan, the rewards of an update of G: batch 64, 16 rollouts, 20 tokens of 5,000",
        "seqgan-rewards",
        SEQGAN,
        loops=("plain", "mmgan"),
    ),
    Case("seqgan", "seqgan, an update of G and 78 of D", "seqgan", SEQGAN, engine_steps=78),
    Case("pix2pix-256", "pix2pix, 256 pixels", "pix2pix", {"size": 256}),
    Case("cyclegan-128", "cyclegan, 128 pixels, 6 blocks", "cyclegan", {"size": 128, "blocks": 6}),
    Case("cyclegan-256", "cyclegan, 256 pixels, 9 blocks", "cyclegan", {"size": 256, "blocks": 9}),
)


class RandomData(mmgan.Dataset):
    """Random examples in memory: a real data set would say more of the disk than of the step.

    Args:
        *parts: What a batch consists of: tensors (examples, …).
    """

    description = "random"

    def __init__(self, *parts: Tensor) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts[0])

    def batch(self, indices: Tensor, draw: mmgan.Draw | None = None) -> Any:
        """Return a tensor (batch, …), or a tuple where an example has several parts."""
        chosen = tuple(part[indices] for part in self.parts)
        return chosen if len(chosen) > 1 else chosen[0]

    def any(self, count: int) -> Any:
        """Return a random batch, for the loops that have no loader."""
        return self.batch(torch.randint(len(self), (count,)))


def random_data(plugin: str, config: Any) -> RandomData:
    """Return data of the shape that a plugin trains on."""
    match plugin:
        case "gan":
            return RandomData(torch.randn(100_000, 2))
        case "dcgan" | "r3gan":
            return RandomData(torch.rand(1024, config.channels, config.size, config.size) * 2 - 1)
        case "wavegan":
            return RandomData(torch.rand(256, 1, config.length) * 2 - 1)
        case "seqgan":
            return RandomData(torch.randint(config.vocabulary, (9_984, config.length)))
        case _:
            shape = (64, config.channels, config.size, config.size)
            return RandomData(torch.rand(shape) * 2 - 1, torch.rand(shape) * 2 - 1)
