"""Diffusion-GAN: D sees examples in more or less noise (Wang et al. 2022)."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from mmgan.augment.base import Augmentation, computed, over
from mmgan.errors import unknown_name

#: What ``augment_policy`` may be: how likely large t are among those that are drawn.
WEIGHTINGS = ("priority", "uniform")
#: The steps of the diffusion: how many at p = 0, and at p = 1.
T_MIN, T_MAX = 10, 1000
#: Noise after the last step has this deviation.
NOISE = 0.05
#: Half of the list that t is drawn from is 0, which is no noise.
HALF = 32


class Diffusion(Augmentation):
    """Diffusion-GAN (Wang et al. 2022), for examples of any kind.

    Each example x becomes √ā_t x + 0.05 √(1 - ā_t) ε, with ε from N(0, 1). Here ā_t is the product of 1 - β
    up to step t, where β grows linearly from 0.0001 to 0.02 over 1,000 steps. An example's t is drawn from a
    list of 64: 32 zeros, and 32 between 1 and T = 10 + round(990 p), drawn with weights proportional to t
    (``priority``) or alike (``uniform``). The list is drawn anew when p moves. At p = 0 there is a little
    noise: ten steps of it.

    Args:
        config: The run's settings; ``augment_policy`` is one of :data:`WEIGHTINGS`, by default "priority".

    Raises:
        ConfigError: There is no such policy.
    """

    adaptive = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        policy = getattr(config, "augment_policy", "") or "priority"
        if policy not in WEIGHTINGS:
            raise unknown_name("augment_policy of diffusion", policy, WEIGHTINGS)
        self.priority = policy == "priority"

    def see(self, examples: Tensor, p: Tensor) -> Tensor:
        """Return examples (batch, …) in noise."""
        return computed(partial(self._diffused, p=p), examples)

    def _diffused(self, examples: Tensor, p: Tensor) -> Tensor:
        which = torch.randint(2 * HALF, (len(examples),), device=examples.device)
        kept = _kept(examples.device, examples.dtype)[self.times(p)[which]]
        noise = NOISE * torch.randn_like(examples)
        return over(kept.sqrt(), examples) * examples + over((1 - kept).sqrt(), examples) * noise

    def times(self, p: Tensor) -> Tensor:
        """Return the list that each example's t is drawn from, int64 (64,).

        It follows from the run's seed and how often p has moved, so that it is the same on all ranks and
        after a resume, and nothing needs to be kept. Where p is not controlled it is another one each time.
        """
        if self.updates is None:
            drawn = torch.rand(HALF, device=p.device)
        else:
            drawn = scrambled(self.config.seed, self.updates, HALF)
        last = (T_MIN + (p * (T_MAX - T_MIN)).round()).clamp(T_MIN, T_MAX)
        if self.priority:
            # The least t with t (t + 1) / 2 of T (T + 1) / 2: the inverse of the sum of the weights.
            times = ((1 + 4 * (1 - drawn) * last * (last + 1)).sqrt() - 1) / 2
        else:
            times = (1 - drawn) * last
        times = times.ceil().clamp(torch.ones_like(last), last).long()
        return torch.cat((torch.zeros_like(times), times))


def scrambled(seed: int, count: Tensor, n: int) -> Tensor:
    """Return n numbers from U[0, 1), float32, that follow from a seed and a count on a device.

    Integers are mixed as in SplitMix64's finaliser, in 32 bits: there is no generator to keep or to wait for.

    Args:
        seed: In [0, 2³²).
        count: A scalar of int64.
        n: How many.
    """
    bits = _mixed(torch.arange(n, device=count.device) + _mixed(count + _mixed(torch.full_like(count, seed))))
    return (bits >> 8) / 2.0**24


def _mixed(bits: Tensor) -> Tensor:
    """Scramble integers of 32 bits, which int64 tensors hold."""
    bits = (bits + 0x9E3779B9) & 0xFFFFFFFF
    bits = ((bits ^ (bits >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    bits = ((bits ^ (bits >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return bits ^ (bits >> 16)


@lru_cache(maxsize=8)
def _kept(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return ā_t, what is left of an example's power, for t from 0 to 1,000."""
    beta = torch.linspace(1e-4, 2e-2, T_MAX, dtype=torch.float64)
    kept = torch.cat((torch.ones(1, dtype=torch.float64), (1 - beta).cumprod(0)))
    return kept.to(device, dtype)
