"""The same work as mmgan's without its engine: loops as a good practitioner would write them by hand.

Networks, losses and all that makes a step fast (precision, memory format, convolutions as products, fused
Adam, fakes made once) are mmgan's; players, phases, hooks, logs and the watch for NaN are not there. What is
left between such a loop and mmgan is what the engine costs. From equal weights and draws both compute equal
weights, which is tested.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from mmgan.losses import adversarial_loss, gradient_penalty, interpolate, r1_penalty
from mmgan_convolutions.activations import stop_second_derivatives
from mmgan_convolutions.layers import choose
from mmgan_convolutions.plan import Plan
from mmgan_dcgan import networks as dcgan_networks
from mmgan_gan import networks as gan_networks
from mmgan_r3gan import networks as r3gan_networks
from mmgan_wavegan import networks as wavegan_networks

Batch = Callable[[], Any]


class Loop:
    """What all games have in common.

    Args:
        config: mmgan's settings.
        batch: Gives a batch.
    """

    def __init__(self, config: Any, batch: Batch) -> None:
        self.config, self.batch = config, batch
        self.plan = Plan(config.convolutions.mode == "tune")
        self.build()

    def build(self) -> None:
        """Make networks and optimizers: the attributes ``g`` and ``d``, ``g_opt`` and ``d_opt``."""
        raise NotImplementedError

    def step(self) -> None:
        """Play one step."""
        raise NotImplementedError

    def adam(self, module: nn.Module) -> torch.optim.Adam:
        """Return the optimizer, in its fused form; let convolutions take their fastest form."""
        choose(module, self.plan)
        return torch.optim.Adam(module.parameters(), self.config.lr, self.config.betas, fused=True)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of forward passes and losses."""
        if self.config.precision == "bf16":
            return torch.autocast("cpu", torch.bfloat16)
        return contextlib.nullcontext()


class DCGAN(Loop):
    """D, then G by the same fakes."""

    def build(self) -> None:
        """Make both networks, channels-last."""
        c = self.config
        norm = "batch" if c.d_norm == "auto" else c.d_norm
        self.g = dcgan_networks.Generator(c.size, c.channels, c.width, c.latent)
        self.d = dcgan_networks.Discriminator(c.size, c.channels, c.width, norm)
        for module in (self.g, self.d):
            module.to(memory_format=torch.channels_last)
        self.g_opt, self.d_opt = self.adam(self.g), self.adam(self.d)
        self.loss = adversarial_loss(c.loss)

    def step(self) -> None:
        """Update D, then G."""
        real = self.batch()
        with self.autocast():
            fake = self.g(torch.randn(len(real), self.config.latent))
        self.d_opt.zero_grad()
        with self.autocast():
            if self.config.penalty == "r1r2":
                loss = penalised(self, real, fake)
            else:
                loss = self.loss.discriminator(self.d(real), self.d(fake.detach()))
        loss.backward()
        self.d_opt.step()
        # Else G's update would compute gradients of D that are thrown away.
        self.d.requires_grad_(False)
        self.g_opt.zero_grad()
        with self.autocast():
            on_real = self.d(real) if self.loss.needs_real else None
            loss = self.loss.generator(self.d(fake), on_real)
        loss.backward()
        self.g_opt.step()
        self.d.requires_grad_(True)


class GAN(DCGAN):
    """The same game on points."""

    def build(self) -> None:
        """Make PacGAN's networks."""
        c = self.config
        self.g = gan_networks.point_generator(c.latent, c.width, c.batch_norm)
        self.d = gan_networks.point_discriminator(2, c.width // 2, c.dropout)
        self.g_opt, self.d_opt = self.adam(self.g), self.adam(self.d)
        self.loss = adversarial_loss("nonsaturating")


class R3GAN(Loop):
    """D with R1 and R2, both in one pass, then G. Each makes fakes of its own."""

    def build(self) -> None:
        """Make both networks, channels-last."""
        c = self.config
        shape = c.widths, c.group, c.blocks, c.channels
        self.g = r3gan_networks.Generator(*shape, c.latent)
        self.d = r3gan_networks.Discriminator(*shape)
        for module in (self.g, self.d):
            module.to(memory_format=torch.channels_last)
        self.g_opt, self.d_opt = self.adam(self.g), self.adam(self.d)
        self.loss = adversarial_loss("rpgan")

    def step(self) -> None:
        """Update D, then G."""
        real = self.batch()
        with self.autocast(), torch.no_grad():
            fake = self.g(torch.randn(len(real), self.config.latent))
        self.d_opt.zero_grad()
        with self.autocast():
            loss = penalised(self, real, fake)
        loss.backward()
        self.d_opt.step()
        self.d.requires_grad_(False)
        self.g_opt.zero_grad()
        with self.autocast():
            on_real = self.d(real)
            loss = self.loss.generator(self.d(self.g(torch.randn(len(real), self.config.latent))), on_real)
        loss.backward()
        self.g_opt.step()
        self.d.requires_grad_(True)


def penalised(loop: DCGAN | R3GAN, real: Tensor, fake: Tensor) -> Tensor:
    """Return D's loss with R1 and R2, both in one pass."""
    both = torch.cat([real, fake]).detach().requires_grad_()
    scores = loop.d(both)
    (gradient,) = torch.autograd.grad(scores.float().sum(), both, create_graph=True)
    penalty = 2 * r1_penalty(gradient)
    return loop.loss.discriminator(*scores.chunk(2)) + loop.config.penalty_weight * penalty


class WaveGAN(Loop):
    """Five updates of the critic, each with a fresh batch, and one of G. Each makes fakes of its own."""

    def build(self) -> None:
        """Make both networks."""
        c = self.config
        self.g = wavegan_networks.Generator(c.length, c.channels, c.dim, c.latent, c.kernel)
        self.d = wavegan_networks.Critic(c.length, c.channels, c.dim, c.kernel, c.phase_shuffle)
        stop_second_derivatives(self.d)
        self.g_opt, self.d_opt = self.adam(self.g), self.adam(self.d)

    def step(self) -> None:
        """Update the critic five times, then G."""
        c = self.config
        for _ in range(c.critic_steps):
            real = self.batch()
            with self.autocast(), torch.no_grad():
                fake = self.g(torch.rand(len(real), c.latent) * 2 - 1)
            self.d_opt.zero_grad()
            with self.autocast():
                loss = self.critic_loss(real, fake)
            loss.backward()
            self.d_opt.step()
        self.d.requires_grad_(False)
        self.g_opt.zero_grad()
        with self.autocast():
            loss = -self.d(self.g(torch.rand(len(real), c.latent) * 2 - 1)).float().mean()
        loss.backward()
        self.g_opt.step()
        self.d.requires_grad_(True)

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return WGAN-GP's loss."""
        on_real, on_fake = self.d(torch.cat([real, fake]), sets=2).float().chunk(2)
        between = interpolate(real, fake)
        (gradient,) = torch.autograd.grad(self.d(between).float().sum(), between, create_graph=True)
        penalty = gradient_penalty(gradient)
        return on_fake.mean() - on_real.mean() + self.config.penalty_weight * penalty
