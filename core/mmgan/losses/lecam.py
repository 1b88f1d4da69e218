"""LeCam regularisation: D's scores are held near what they have been on the other kind of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import relu

from mmgan.losses.adversarial import wide


class LeCam:
    """E[relu(D(x) - a_F)²] + E[relu(a_R - D(G(z)))²], with moving averages a_R and a_F of D's mean scores.

    Tseng et al. 2021, "Regularizing Generative Adversarial Networks under Limited Data"; weight 0.3.

    Args:
        device: Where scores are.
        mean: Averages a tensor over the ranks.
        decay: Of the averages.
        start: How many updates of D pass before the averages move slowly, and before the term counts: until
            then they are the present means.
    """

    def __init__(
        self,
        device: torch.device | str,
        mean: Callable[[Tensor], Tensor],
        decay: float = 0.99,
        start: int = 1000,
    ) -> None:
        self.mean, self.decay, self.start = mean, decay, start
        # All of it is arithmetic on the device, so that no GPU is waited for: a_R, a_F, and the updates.
        self.averages = torch.zeros(2, device=device)
        self.updates = torch.zeros((), device=device)

    def __call__(self, on_real: Tensor, on_fake: Tensor) -> Tensor:
        """Return the term for scores of any shape, before its weight, and move the averages."""
        real, fake = wide(on_real), wide(on_fake)
        began = (self.updates >= self.start).to(self.averages)
        means = self.mean(torch.stack([real.mean(), fake.mean()]).detach())
        self.averages.lerp_(means.to(self.averages), 1 - self.decay * began)
        self.updates += 1
        of_real, of_fake = self.averages.clone()
        return began * (relu(real - of_fake).square().mean() + relu(of_real - fake).square().mean())

    def state_dict(self) -> dict[str, Any]:
        """Return the averages, and how many updates they have seen."""
        return {"averages": self.averages.clone(), "updates": self.updates.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises:
            ValueError: It is something else.
        """
        for name, own in (("averages", self.averages), ("updates", self.updates)):
            value = state.get(name)
            if not isinstance(value, Tensor) or value.shape != own.shape or not value.isfinite().all():
                raise ValueError(f"LeCam's {name} are not {own.numel()} finite numbers")
            own.copy_(value)
