"""The game that WaveGAN plays."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from mmgan import Player, Samples, Stage
from mmgan.augment import augment_for
from mmgan.losses import Objective, shifted
from mmgan.nn import spectral
from mmgan.tasks.audio import AudioTask
from mmgan_wavegan.config import WaveGANConfig
from mmgan_wavegan.networks import Critic, Generator


class WaveGAN(AudioTask[WaveGANConfig]):
    """A critic on raw waveforms, kept smooth by a gradient penalty, against a generator of them.

    With ``conditional=true`` G gets the class beside its latents, and the critic by projection (Miyato and
    Koyama 2018); a fake is of the class of the real sound that it is beside.
    """

    Config = WaveGANConfig
    needed_to_sample = ("G",)
    reentrant = True
    graphs = True

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The critic, five times in the paper, then G."""
        return self.config.stages

    def build(self) -> dict[str, Player]:
        """Make G and the critic, each with Adam."""
        c = self.config
        self.run.sample_count = 16  # with gaps about 20 seconds to listen to
        # Without batch norm real and fake sounds can pass together: weights are read once.
        augment = augment_for(c, self.run)
        self.objective = Objective(c, self.run, joined=True, augment=augment, shift=shifted)
        self.g = Generator(
            c.length, c.channels, c.dim, c.latent, c.kernel, c.upsampling, c.post_filter, self.classes
        )
        deviation = c.batch_size if c.minibatch_stddev else 0
        self.d = Critic(
            c.length, c.channels, c.dim, c.kernel, c.phase_shuffle, c.shuffle_each, self.classes, deviation
        )
        if c.d_norm == "spectral":
            spectral(self.d)
        return {
            "G": c.player(self.g, torch.optim.Adam(self.g.parameters(), c.lr, c.betas), **c.averaging),
            "D": c.player(
                self.d,
                torch.optim.Adam(self.d.parameters(), c.d_lr or c.lr, c.betas),
                clip_weights=c.clip_weights or None,
                compile=c.penalty == "none",
            ),
        }

    def latents(self, n: int) -> Tensor:
        """Draw z ~ U(-1, 1): (n, latent)."""
        device, generator = self.run.device.torch, self.run.generator
        return torch.rand(n, self.config.latent, device=device, generator=generator) * 2 - 1

    def interpolate(self, n: int, label: Tensor | None = None, truncation: Tensor | None = None) -> Samples:
        """Generate ``n`` sounds along a closed walk of straight lines, which stay in the latents' cube."""
        return self.walk(n, torch.lerp, label, truncation)

    def loss(self, phase: str, batch: Any, shared: None) -> dict[str, Tensor]:
        """Let the critic score real and generated sounds, or G be judged by it.

        Each update has fakes of its own, as in the paper's code: those that the critic has just learned from
        would not do for G.
        """
        real, label = self.parts(batch)
        fake = self.conditioned(self.g, label)(self.latents(len(real)))

        def critic(sounds: Tensor) -> Tensor:
            # Real and fake sounds that pass together draw shifts of their own.
            together = partial(self.d, sets=len(sounds) // len(real))
            return self.conditioned(together, label)(sounds)

        if phase == "D":
            return self.objective.discriminator(critic, real, fake)
        return self.objective.generator(critic, real, fake)
