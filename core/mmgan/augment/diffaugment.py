"""DiffAugment: colours, shifts and cut-out squares, always (Zhao et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmgan.augment.base import Augmentation, computed, need_pictures, over, uniform
from mmgan.augment.cutting import cut_out
from mmgan.augment.matrices import translation
from mmgan.augment.resampling import ZEROS, moved
from mmgan.errors import unknown_name


class DiffAugment(Augmentation):
    """Differentiable augmentation (Zhao et al. 2020), for pictures: every one is changed, whatever p is.

    Args:
        config: The run's settings; ``augment_policy`` lists some of :data:`CHANGES`, with commas between
            them, in the order in which they are made. By default all.

    Raises:
        ConfigError: There is no such change.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.changes = [CHANGES[name] for name in listed(getattr(config, "augment_policy", ""))]

    def see(self, examples: Tensor, p: Tensor) -> Tensor:
        """Return pictures (batch, channels, height, width) as D sees them.

        Raises:
            UsageError: These are not pictures.
        """
        need_pictures(examples, "diffaugment")
        return computed(self._all, examples)

    def _all(self, pictures: Tensor) -> Tensor:
        for change in self.changes:
            pictures = change(pictures)
        return pictures


def listed(policy: str) -> list[str]:
    """Return the changes that a policy lists.

    Raises:
        ConfigError: There is no such change.
    """
    names = policy.split(",") if policy else [*CHANGES]
    for name in names:
        if name not in CHANGES:
            raise unknown_name("change of diffaugment", name, CHANGES)
    return names


def colour(pictures: Tensor) -> Tensor:
    """Add U(-0.5, 0.5) to the brightness, and multiply saturation by U(0, 2), contrast by U(0.5, 1.5)."""
    brightness = over(uniform(pictures, -0.5, 0.5), pictures)
    saturation = over(uniform(pictures, 0, 2), pictures)
    contrast = over(uniform(pictures, 0.5, 1.5), pictures)
    # One after the other they come to this: saturation is about each pixel's grey, contrast about the mean.
    grey = pictures.mean(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    rest = contrast * (1 - saturation) * grey + (1 - contrast) * mean + brightness
    return contrast * saturation * pictures + rest


def shift(pictures: Tensor) -> Tensor:
    """Shift by up to an eighth of each side, by whole pixels; what comes in is grey."""
    y, x = (_whole(pictures, -int(n * 0.125 + 0.5), int(n * 0.125 + 0.5)) for n in pictures.shape[2:])
    return moved(pictures, translation(-x, -y), ZEROS)


def cutout(pictures: Tensor) -> Tensor:
    """Cut out a square of half the side, around any pixel; a part of it may be outside."""
    ranges = (_range(pictures, n) for n in pictures.shape[2:])
    return cut_out(pictures, *(end for both in ranges for end in both))


def _range(pictures: Tensor, n: int) -> tuple[Tensor, Tensor]:
    side = int(n * 0.5 + 0.5)
    # A square with an even side has no middle pixel: its centre may be at either edge of the picture.
    first = _whole(pictures, 0, n - side % 2) - side // 2
    return first, first + side


def _whole(pictures: Tensor, low: int, high: int) -> Tensor:
    """Draw an integer from low to high, both included, for each picture."""
    drawn = torch.randint(low, high + 1, (len(pictures),), device=pictures.device)
    return drawn.to(pictures.dtype)


#: The changes by name, in the order of the paper's own policy.
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {"color": colour, "translation": shift, "cutout": cutout}
