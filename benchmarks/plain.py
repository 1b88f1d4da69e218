"""The plain loops: a page of PyTorch for each game, as ``bare_*.py`` have them, in the size of a case.

float32, contiguous, torch's own layers, ``torch.optim.Adam`` as it comes.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import bare_dcgan
import bare_seqgan
import bare_translation
import bare_wavegan
import torch

Batch = Callable[[], Any]
Step = Callable[[], object]


def dcgan(c: Any, batch: Batch) -> Step:
    """Return a step of DCGAN: D, then G."""
    simple = {"seed": c.seed, "precision": "fp32", "channels_last": False, "fused": False, "ema": 0.0}
    sizes = {name: getattr(c, name) for name in ("size", "channels", "width", "latent", "batch_size")}
    training = bare_dcgan.Training(Namespace(**simple, **sizes))
    return lambda: training.step(batch())


def wavegan(c: Any, batch: Batch) -> Step:
    """Return a round of WaveGAN: five updates of the critic, one of G."""
    return bare_wavegan.round_of_training(c.dim, c.batch_size, batch)


def seqgan_rewards(c: Any, batch: Batch) -> Step:
    """Return a function that computes the rewards of a batch of sequences."""
    g, d = bare_seqgan.Generator(c.vocabulary), bare_seqgan.Discriminator(c.vocabulary).eval()
    tokens = torch.randint(c.vocabulary, (c.batch_size, c.length))
    return lambda: bare_seqgan.rewards(g, d, tokens, c.rollouts)


def seqgan(c: Any, batch: Batch) -> Step:
    """Return an iteration of SeqGAN's adversarial stage."""
    sizes = {name: getattr(c, name) for name in ("vocabulary", "length", "batch_size")}
    return bare_seqgan.adversarial_iteration(batch, c.rollouts, c.negatives, **sizes)


def pix2pix(c: Any, batch: Batch) -> Step:
    """Return a step of pix2pix: D, then G."""
    return bare_translation.pix2pix_step(c.size, batch)


def cyclegan(c: Any, batch: Batch) -> Step:
    """Return a step of CycleGAN: both generators, then both discriminators."""
    return bare_translation.cyclegan_step(c.blocks, batch)


#: By the case's game. Each is given mmgan's settings, of which it takes the sizes, and what gives a batch.
LOOPS: dict[str, Callable[[Any, Batch], Step]] = {
    "dcgan": dcgan,
    "wavegan": wavegan,
    "seqgan-rewards": seqgan_rewards,
    "seqgan": seqgan,
    "pix2pix": pix2pix,
    "cyclegan": cyclegan,
}
