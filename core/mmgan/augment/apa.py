"""APA: some of the generated examples are shown to D as real (Jiang et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from mmgan.augment.base import Augmentation, coins, over
from mmgan.errors import UsageError


class Apa(Augmentation):
    """Adaptive pseudo augmentation (Jiang et al. 2021), for examples of any kind.

    With probability p a real example is replaced by the generated one beside it, so that D can't be sure of
    what it learns by heart. Nothing else changes, and it costs next to nothing.
    """

    adaptive = True

    def real(self, real: Tensor, fake: Tensor, p: Tensor) -> Tensor:
        """Return real examples (batch, …), each with probability p replaced by a generated one.

        Raises:
            UsageError: Their shapes differ.
        """
        if real.shape != fake.shape:
            raise UsageError(
                "augment = apa needs as many generated examples as real ones, of one shape: "
                f"{tuple(fake.shape)} were generated beside {tuple(real.shape)}.",
                hint="--set augment=none, or another one.",
            )
        return torch.where(over(coins(real, p), real), fake.detach().to(real.dtype), real)
