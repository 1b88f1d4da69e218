"""Layers of the networks of both papers: normalisation, dropout as noise, initial weights."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

Norm = Literal["batch", "instance", "none"]
When = Literal["always", "training", "none"]


def norm_layers(norm: Norm, channels: int, running: bool) -> list[nn.Module]:
    """Return the normalisation after a convolution, as a list of one layer or of none.

    Args:
        norm: ``batch`` (with gain and bias), ``instance`` (without, as CycleGAN's) or ``none``.
        channels: Feature maps.
        running: Let batch norm keep running statistics for inference. Without them it uses the current
            batch's then too: pix2pix trains and is used with one picture at a time (Isola et al., 3.3).
    """
    match norm:
        case "batch":
            return [nn.BatchNorm2d(channels, track_running_stats=running)]
        case "instance":
            return [nn.InstanceNorm2d(channels)]
        case _:
            return []


def has_bias(norm: Norm) -> bool:
    """Return whether a convolution before the norm has a bias of its own: batch norm brings one."""
    return norm != "batch"


class Dropout(nn.Module):
    """Dropout with p = 0.5, which pix2pix has instead of latents.

    Args:
        when: ``always``, as noise, also in evaluation mode; only in ``training``; or ``none``.
    """

    def __init__(self, when: When) -> None:
        super().__init__()
        self.when = when

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, …) to the same shape: half of the values 0, the others doubled."""
        return dropout(features, 0.5, self.when == "always" or (self.training and self.when == "training"))


class ReflectionPad(nn.ReflectionPad2d):
    """torch's layer, with a gradient that repeats to the byte on a GPU too, where a run asks for that: there
    torch has none, and raises.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to (…, height + top + bottom, width + left + right)."""
        if not (input.is_cuda and torch.are_deterministic_algorithms_enabled()):
            return super().forward(input)
        left, right, top, bottom = self.padding
        return reflected(reflected(input, 2, top, bottom), 3, left, right)


def reflected(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Reflect a tensor at both ends of an axis: [0, 1, 2] by 1 and 2 is [1, 0, 1, 2, 1, 0]."""
    length = x.shape[axis]
    first = x.narrow(axis, 1, before).flip(axis)
    last = x.narrow(axis, length - 1 - after, after).flip(axis)
    return torch.cat([first, x, last], axis)


def initialise(module: nn.Module) -> None:
    """Draw convolutions from N(0, 0.02²) with bias 0, and batch norm's gain from N(1, 0.02²) with bias 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
