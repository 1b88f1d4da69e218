"""DCGAN's game: its losses and updates."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mmgan import Player, Stage
from mmgan.augment import AugmentConfig, augment_for
from mmgan.losses import Objective, ObjectiveConfig, shifted
from mmgan.tasks.adam import AdamConfig
from mmgan.tasks.image import ImageTask, ImageTaskConfig, fit_small
from mmgan.tasks.latent import ConditionalConfig
from mmgan_dcgan.networks import Discriminator, Generator

#: What today's objective bears and needs, by the pictures' size: the learning rate, and the weight of the
#: penalties (gamma), which must grow with the number of pixels that a gradient is summed over.
RATES = {"32": (2e-3, 0.3), "64": (1e-3, 5.0), "128": (5e-4, 30.0)}
#: Settings that choose the objective. Who sets one of them begins from the paper's others.
OBJECTIVE = ("loss", "penalty", "d_norm", "clip_weights")


class DCGANConfig(ImageTaskConfig, ObjectiveConfig, AdamConfig, AugmentConfig, ConditionalConfig):
    """DCGAN's settings: the paper's, or with the same networks today's objective (``preset``)."""

    preset: Literal["auto", "paper", "r1r2"] = Field(
        "auto",
        description="a set of defaults: paper, or r1r2 (loss=rpgan penalty=r1r2 d_norm=none, and rates that "
        "this bears); auto: r1r2, or paper where you choose loss, penalty, d_norm or clip_weights",
    )
    data: str = Field("digits", description="a folder of pictures, digits, or torchvision:NAME")
    size: Literal[32, 64, 128] = Field(
        64, description="height and width; 32 by default for digits, MNIST, CIFAR"
    )
    channels: Literal[1, 3] = Field(3, description="1: grey, 3: colour; 1 by default for digits and MNIST")
    width: int = Field(64, ge=1, description="feature maps of the layer next to the pictures")
    d_norm: Literal["auto", "batch", "spectral", "none"] = Field(
        "auto",
        description="normalisation in D, whose layers have biases with spectral and none; auto: batch norm, "
        "or with a penalty nothing",
    )
    minibatch_stddev: bool = Field(False, description="let D see how varied a batch is")

    @model_validator(mode="before")
    @classmethod
    def _fit_small_data(cls, values: dict[str, Any]) -> dict[str, Any]:
        values = fit_small(values) | values
        preset = values.get("preset", "auto")
        if preset == "auto":
            preset = "paper" if any(name in values for name in OBJECTIVE) else "r1r2"
        return (todays(values.get("size", 64)) if preset == "r1r2" else {}) | values


def todays(size: Any) -> dict[str, Any]:
    """Return the settings of R3GAN's objective (Huang et al. 2024) for DCGAN's networks.

    The penalties are computed lazily, and D has no batch norm. Rate and gamma were measured (docs/dcgan.md).
    """
    # It may still be a text; and one that is not allowed has its own message.
    rate, gamma = RATES.get(str(size), RATES["64"])
    return {
        "loss": "rpgan", "penalty": "r1r2", "penalty_every": 4, "penalty_weight": gamma, "d_norm": "none",
        "lr": rate, "betas": (0.0, 0.99),
    }  # fmt: skip


class DCGAN(ImageTask[DCGANConfig]):
    """A convolutional discriminator against a convolutional generator, one update each in turn.

    With ``conditional=true`` G gets the class beside its latents, and D by projection (Miyato and Koyama
    2018): a fake is of the class of the real picture that it is beside.
    """

    Config = DCGANConfig
    needed_to_sample = ("G",)
    reentrant = True
    graphs = True

    @property
    def stages(self) -> tuple[Stage, ...]:
        """D, as often as ``critic_steps`` says, then G."""
        return self.config.stages

    def build(self) -> dict[str, Player]:
        """Make G and D, each with Adam."""
        c = self.config
        # A gradient penalty is of each picture for itself and forbids batch norm (Gulrajani et al. 2017).
        automatic = "batch" if c.penalty == "none" else "bare"
        norm = automatic if c.d_norm == "auto" else c.d_norm
        augment = augment_for(c, self.run)
        self.objective = Objective(c, self.run, c.d_norm in ("none", "spectral"), augment, shifted)
        self.g = Generator(c.size, c.channels, c.width, c.latent, self.classes)
        deviation = c.batch_size if c.minibatch_stddev else 0
        self.d = Discriminator(c.size, c.channels, c.width, norm, self.classes, deviation)
        return {
            "G": c.player(
                self.g,
                torch.optim.Adam(self.g.parameters(), c.lr, c.betas),
                channels_last=True,
                **c.averaging,
            ),
            "D": c.player(
                self.d,
                torch.optim.Adam(self.d.parameters(), c.d_lr or c.lr, c.betas),
                clip_weights=c.clip_weights or None,
                channels_last=True,
                compile=c.penalty == "none",
            ),
        }

    def forward(self, batch: Any) -> Tensor:
        """Make the fakes of a step once: D learns from them, then G through the same graph."""
        real, label = self.parts(batch)
        return self.conditioned(self.g, label)(self.latents(len(real)))

    def loss(self, phase: str, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """Return D's loss on real and fake pictures, or G's by D's scores."""
        real, label = self.parts(batch)
        critic = self.conditioned(self.d, label)
        if phase == "D":
            return self.objective.discriminator(critic, real, fake)
        return self.objective.generator(critic, real, fake)
