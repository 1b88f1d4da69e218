"""Minibatch standard deviation: a discriminator sees how varied its examples are."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmgan.errors import ConfigError

#: Examples that are compared with each other, at most (Karras et al. 2018).
GROUP = 4


class MinibatchStddev(nn.Module):
    """Append one channel: the standard deviation over a group of examples, averaged over all features.

    Karras et al. 2018 (Progressive GAN), section 3. Groups are neighbours in the batch, and divide
    ``batch_size``: so real and fake examples that pass together are never in one group.

    Args:
        batch_size: Real examples in a batch.

    Raises:
        ConfigError: No group of two or more divides the batch.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.group = math.gcd(batch_size, GROUP)
        if self.group == 1:
            raise ConfigError(
                f"minibatch_stddev compares examples of a batch, and batch_size = {batch_size} is odd.",
                hint=f"--set batch_size={batch_size + 1}",
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, …) to (batch, channels + 1, …)."""
        groups = x.float().reshape(-1, self.group, *x.shape[1:])
        variance = groups.var(1, correction=0)
        # The epsilon bounds the root's gradient where all of a group are equal.
        deviation = (variance + 1e-8).sqrt().flatten(1).mean(1)
        channel = deviation.to(x.dtype).repeat_interleave(self.group).view(-1, *[1] * (x.ndim - 1))
        return torch.cat([x, channel.expand(-1, 1, *x.shape[2:])], 1)
