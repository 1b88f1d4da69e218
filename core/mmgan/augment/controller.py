"""The controller of p: as much augmentation as keeps D from learning the data by heart.

Karras et al. 2020 (ADA), section 3; Jiang et al. 2021 (APA) and Wang et al. 2022 (Diffusion-GAN) take it
over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

#: Updates of D between two of p.
INTERVAL = 4
#: The greatest p: at p = 1 no picture would be left as it is, and G would learn the changes too.
LIMIT = 0.8
#: The state: each number's name, dtype, and its least and greatest value. A batch has at most 2^20 examples
#: on each process, so that the examples since the last change of p fit float32 by far.
_STATE: dict[str, tuple[torch.dtype, float, float]] = {
    "p": (torch.float32, 0.0, LIMIT),
    "signs": (torch.float32, -INTERVAL, INTERVAL),
    "count": (torch.int64, 0, INTERVAL - 1),
    "examples": (torch.float32, 0.0, 2.0**60),
    "updates": (torch.int64, 0, 2**53),
}


class Controller:
    """Moves p by r_t = E[sign D(real)]: up where it is above the target, since D overfits, and down below it.

    After each :data:`INTERVAL` updates of D, p moves by sign(r_t - target) · n / speed, where n is the number
    of examples, over all ranks, that D was updated on meanwhile; it stays in [0, :data:`LIMIT`]. Everything
    is computed on the device, and nothing waits for it.

    Args:
        target: The r_t to be held: 0.6 as published.
        speed: Examples in which p goes from 0 to 1: 500,000 as published.
        device: Where p is.

    Attributes:
        p: A scalar of float32. It is changed in place.
        updates: How often p has been moved: a scalar of int64.
    """

    def __init__(self, target: float, speed: float, device: torch.device | str) -> None:
        self.target, self.speed = target, speed
        self.p = torch.zeros((), device=device)
        self.updates = torch.zeros((), dtype=torch.int64, device=device)
        # Since p was last moved: the sum of the mean signs, how many they are, and of how many examples.
        self.signs = torch.zeros((), device=device)
        self.count = torch.zeros((), dtype=torch.int64, device=device)
        self.examples = torch.zeros((), device=device)

    @torch.no_grad()
    def observe(self, sign: Tensor, examples: int) -> None:
        """Take in an update of D, and move p where that is due.

        Args:
            sign: The mean sign of D's scores of real examples, over all ranks: a scalar.
            examples: How many examples they were, on all ranks.
        """
        self.signs += sign
        self.count += 1
        self.examples += examples
        due = self.count == INTERVAL
        step = (self.signs / INTERVAL - self.target).sign() * self.examples / self.speed
        self.p.copy_(torch.where(due, (self.p + step).clamp(0, LIMIT), self.p))
        self.updates += due
        for total in (self.signs, self.count, self.examples):
            total.masked_fill_(due, 0)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state for checkpoints: scalars."""
        return {name: getattr(self, name).clone() for name in _STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            ValueError: It is something else, or a number is out of its range.
        """
        if not isinstance(state, Mapping) or state.keys() != _STATE.keys():
            raise ValueError(f"the state of an augmentation's controller holds {', '.join(_STATE)}")
        for name, (dtype, least, greatest) in _STATE.items():
            value = state[name]
            if not isinstance(value, Tensor) or value.shape or value.dtype != dtype:
                raise ValueError(f"{name} of an augmentation's controller is not a scalar of {dtype}")
            # The greatest p as float32 is above the number 0.8.
            slack = 1e-6 if dtype == torch.float32 else 0
            if not math.isfinite(value) or not least <= float(value) <= greatest + slack:
                raise ValueError(
                    f"{name} = {float(value)} of an augmentation's controller is not in [{least}, {greatest}]"
                )
        for name in _STATE:
            getattr(self, name).copy_(state[name])
