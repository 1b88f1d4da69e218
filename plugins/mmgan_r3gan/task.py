"""R3GAN's game: a relativistic loss with R1 and R2, and schedules for what is fixed in other games."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmgan import Player, Stage
from mmgan.augment import augment_for
from mmgan.losses import Objective, shifted
from mmgan.tasks.image import ImageTask
from mmgan_r3gan.config import R3GANConfig
from mmgan_r3gan.networks import Discriminator, Generator


class R3GAN(ImageTask[R3GANConfig]):
    """Residual networks without normalisation, one update each in turn (Huang et al. 2024).

    D is held by penalties on its gradient at real and at generated pictures; G's update has latents of its
    own. The learning rate, the penalties' weight, Adam's second decay rate and the half-life of G's average
    move by cosines from their first values to their last.
    """

    Config = R3GANConfig
    needed_to_sample = ("G",)
    reentrant = True

    @property
    def stages(self) -> tuple[Stage, ...]:
        """D, as often as ``critic_steps`` says, then G."""
        return self.config.stages

    def build(self) -> dict[str, Player]:
        """Make G and D, each with Adam."""
        c = self.config
        p = None if c.augment_p_end is None else c.cosine(c.augment_p or 0.0, c.augment_p_end)
        augment = augment_for(c, self.run, p)
        self.objective = Objective(c, self.run, joined=True, augment=augment, shift=shifted)
        shape = c.widths, c.group, c.blocks, c.channels
        self.g = Generator(*shape, c.latent, self.classes)
        self.d = Discriminator(*shape, self.classes)
        adam = torch.optim.Adam(self.g.parameters(), c.lr, c.betas)
        d_adam = torch.optim.Adam(self.d.parameters(), c.d_lr or c.lr, c.betas)
        # Autograd functions of our own are not for a compiler.
        options = {"channels_last": True, "compile": False}
        return {
            "G": c.player(self.g, adam, **options, **c.averaging),
            "D": c.player(self.d, d_adam, clip_weights=c.clip_weights or None, **options),
        }

    def loss(self, phase: str, batch: Any, shared: None) -> dict[str, Tensor]:
        """Return D's loss, or G's, each on pictures that are generated for it."""
        real, label = self.parts(batch)
        critic = self.conditioned(self.d, label)
        with torch.set_grad_enabled(phase == "G"):
            fake = self.conditioned(self.g, label)(self.latents(len(real)))
        if phase == "D":
            return self.objective.discriminator(critic, real, fake)
        return self.objective.generator(critic, real, fake)
