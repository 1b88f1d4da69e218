"""The replay pool: D sees generated pictures of earlier updates too (Shrivastava et al. 2017)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ReplayPool:
    """Up to ``size`` generated pictures that a discriminator has seen.

    The first ``size`` pictures are kept and returned. Afterwards each picture is returned itself, or with
    probability 0.5 exchanged for a picture from the pool (Zhu et al. 2017, section 4).

    Args:
        size: How many are kept, 50 in the paper; 0: every picture is returned itself.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.pictures: list[Tensor] = []

    def exchange(self, pictures: Tensor) -> Tensor:
        """Pass pictures (batch, channels, height, width) through the pool, and return as many.

        Randomness comes from torch's default generator on the CPU. No gradient passes; the result
        is float32.
        """
        # Float32 in any precision: a pool restored from a checkpoint must mix with new pictures.
        pictures = pictures.detach().float()
        if not self.size:
            return pictures
        taken = []
        for picture in pictures:
            if len(self.pictures) < self.size:
                self.pictures.append(picture.clone())
            elif torch.rand(()) < 0.5:
                place = int(torch.randint(self.size, ()))
                picture, self.pictures[place] = self.pictures[place], picture.clone()
            taken.append(picture)
        return torch.stack(taken)

    def state_dict(self) -> dict[str, Any]:
        """Return the pictures, for a checkpoint: float32 (pictures, …) on the CPU."""
        return {"pictures": torch.stack(self.pictures).cpu()} if self.pictures else {}

    def load_state_dict(self, state: dict[str, Any], shape: tuple[int, ...], device: torch.device) -> None:
        """Restore the state of :meth:`state_dict`; of more pictures than there is room for, the first.

        Args:
            state: From a checkpoint.
            shape: The shape of a picture, (channels, height, width).
        device: The device for the pictures.

        Raises:
            ValueError: It holds anything but such pictures.
        """
        pictures = state.get("pictures", torch.empty(0, *shape))
        if pictures.shape[1:] != shape or pictures.dtype != torch.float32 or not pictures.isfinite().all():
            raise ValueError(f"the replay pool holds {tuple(pictures.shape)}, and not pictures of {shape}")
        self.pictures = list(pictures[: self.size].to(device))
