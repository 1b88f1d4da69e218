"""The generated sequences that the discriminator learns from, sampled anew for each round."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from mmgan_seqgan.config import SeqGANConfig


class Negatives:
    """Rounds of generated sequences, each seen several times, in a different order each time.

    The content and order of a batch are determined by D's number of updates and by :attr:`tokens`: a resumed
    run needs no other state.

    Args:
        config: Sizes and lengths of rounds.
        write: Samples ``count`` sequences from G: int64 (count, length).
    """

    def __init__(self, config: SeqGANConfig, write: Callable[[int], Tensor]) -> None:
        self.config, self.write = config, write
        #: int64 (negatives, length), or None before the first batch.
        self.tokens: Tensor | None = None

    def batch(self, update: int) -> Tensor:
        """Return the sequences for an update of D, int64 (share, length); a round's first makes them anew."""
        c = self.config
        inside = update - c.pretrain_d_steps
        epochs = c.epochs
        if inside < 0:
            inside, epochs = update, c.pretrain_epochs
        if inside % (epochs * c.epoch_steps) == 0 or self.tokens is None:
            self.tokens = self.write(c.epoch_steps * c.share)
        epoch, part = divmod(update, c.epoch_steps)
        # A separate generator: the order is a function of the seed and the epoch.
        order = np.random.default_rng([c.seed, epoch]).permutation(len(self.tokens))
        chosen = torch.from_numpy(order[part * c.share : (part + 1) * c.share])
        # To a GPU without waiting for it.
        return self.tokens[chosen.to(self.tokens.device, non_blocking=True)]
