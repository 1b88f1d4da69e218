"""The plain loops: a page of PyTorch for each game, as ``bare_*.py`` have them, in the size of a case.

float32, contiguous, torch's own layers, ``torch.optim.Adam`` as it comes; on a GPU also in another
:class:`styles.Style`.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Protocol

import bare_dcgan
import bare_gan
import bare_models
import bare_r3gan
import bare_seqgan
import bare_translation
import bare_wavegan
import torch
from styles import AS_IT_COMES, Batch, Step, Style
from torch import nn


def gan(c: Any, batch: Batch, style: Style = AS_IT_COMES) -> Step:
    """Return a step of the GAN on points: D, then G."""
    return bare_gan.gan_step(c.latent, c.width, c.lr, c.betas, batch, style)


def dcgan(c: Any, batch: Batch, style: Style = AS_IT_COMES) -> Step:
    """Return a step of DCGAN: D, then G."""
    if c.penalty == "r1r2":
        g = bare_models.build_generator(c.size, c.channels, c.width, c.latent)
        d = bare_models.build_discriminator(c.size, c.channels, c.width, norm=False)
        flat = nn.Sequential(nn.Unflatten(1, (c.latent, 1, 1)), g)
        game = c.latent, c.lr, c.betas, c.penalty_weight
        return bare_r3gan.r3gan_step(flat, d, *game, batch, style, shared=True)
    simple = {"seed": c.seed, "precision": "bf16" if style.bf16 else "fp32", "ema": 0.0}
    simple |= {"channels_last": style.channels_last, "fused": style.fused, "device": style.device}
    sizes = {name: getattr(c, name) for name in ("size", "channels", "width", "latent", "batch_size")}
    training = bare_dcgan.Training(Namespace(**simple, **sizes))
    return lambda: training.step(batch())


def r3gan(c: Any, batch: Batch, style: Style = AS_IT_COMES) -> Step:
    """Return a step of R3GAN: D with R1 and R2, then G."""
    shape = c.widths, c.group, c.blocks, c.channels
    g, d = bare_r3gan.Generator(*shape, c.latent), bare_r3gan.Discriminator(*shape)
    return bare_r3gan.r3gan_step(g, d, c.latent, c.lr, c.betas, c.penalty_weight, batch, style)


def wavegan(c: Any, batch: Batch, style: Style = AS_IT_COMES) -> Step:
    """Return a round of WaveGAN: five updates of the critic, one of G."""
    return bare_wavegan.round_of_training(c.dim, c.batch_size, batch, style)


def seqgan_rewards(c: Any, batch: Batch, style: Style = AS_IT_COMES) -> Step:
    """Return a function that computes the rewards of a batch of sequences."""
    g = style.network(bare_seqgan.Generator(c.vocabulary))
    d = style.network(bare_seqgan.Discriminator(c.vocabulary)).eval()
    tokens = torch.randint(c.vocabulary, (c.batch_size, c.length)).to(style.device)
    return lambda: bare_seqgan.rewards(g, d, tokens, c.rollouts)


def seqgan(c: Any, batch: Batch, style: Style = AS_IT_COMES) -> Step:
    """Return an iteration of SeqGAN's adversarial stage."""
    sizes = {name: getattr(c, name) for name in ("vocabulary", "length", "batch_size")}
    return bare_seqgan.adversarial_iteration(batch, c.rollouts, c.negatives, **sizes, style=style)


def pix2pix(c: Any, batch: Batch, style: Style = AS_IT_COMES) -> Step:
    """Return a step of pix2pix: D, then G."""
    return bare_translation.pix2pix_step(c.size, batch, style)


def cyclegan(c: Any, batch: Batch, style: Style = AS_IT_COMES) -> Step:
    """Return a step of CycleGAN: both generators, then both discriminators."""
    return bare_translation.cyclegan_step(c.blocks, batch, style)


class Maker(Protocol):
    """Makes a step, given mmgan's settings, of which it takes the sizes, what gives a batch, and a style."""

    def __call__(self, c: Any, batch: Batch, style: Style = AS_IT_COMES) -> Step:
        """Return the step."""


#: By the case's game.
LOOPS: dict[str, Maker] = {
    "gan": gan,
    "dcgan": dcgan,
    "r3gan": r3gan,
    "wavegan": wavegan,
    "seqgan-rewards": seqgan_rewards,
    "seqgan": seqgan,
    "pix2pix": pix2pix,
    "cyclegan": cyclegan,
}
