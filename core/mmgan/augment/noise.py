"""Instance noise: D sees everything in noise that fades out (Sønderby et al. 2017)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from mmgan.augment.base import Augmentation, Schedule, computed


class InstanceNoise(Augmentation):
    """Gaussian noise on all that D sees, for examples of any kind: its deviation is p · ``augment_noise``.

    p falls linearly from 1 to 0 over the run. Early on, real and generated examples are far apart, and noise
    gives them a part in common.
    """

    def see(self, examples: Tensor, p: Tensor) -> Tensor:
        """Return examples (batch, …) in noise."""
        return computed(partial(self._noisy, deviation=p * self.config.augment_noise), examples)

    def schedule(self) -> Schedule:
        """Return p: from 1 at the first step to 0 after the last one."""
        return lambda step: 1 - step / self.config.steps

    @staticmethod
    def _noisy(examples: Tensor, deviation: Tensor) -> Tensor:
        return examples + deviation * torch.randn_like(examples)
