"""The game that WaveGAN plays."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmgan import Player, Samples, Stage
from mmgan.losses import Objective
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
        self.objective = Objective(c, self.run)
        self.g = Generator(
            c.length, c.channels, c.dim, c.latent, c.kernel, c.upsampling, c.post_filter, self.classes
        )
        self.d = Critic(c.length, c.channels, c.dim, c.kernel, c.phase_shuffle, c.shuffle_each, self.classes)
        return {
            "G": Player(self.g, torch.optim.Adam(self.g.parameters(), c.lr, c.betas), ema=c.ema),
            "D": Player(
                self.d,
                torch.optim.Adam(self.d.parameters(), c.lr, c.betas),
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
        critic = self.conditioned(self.d, label)
        if phase == "D":
            # Without batch norm real and fake sounds can pass together: weights are read once.
            both = self.conditioned(self.d, None if label is None else label.repeat(2))
            scores = both(torch.cat([real, fake.detach()]), sets=2).chunk(2)
            return self.objective.discriminator(critic, real, fake, scores)
        return self.objective.generator(critic, real, fake)
