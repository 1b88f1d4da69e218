"""How near translated pictures are to their targets, and what comes as near without having learned."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

#: Pictures that SSIM is computed of at once: it needs many times their memory.
CHUNK = 32


def mean_difference(pictures: Tensor, targets: Tensor) -> float:
    """Return the mean absolute difference (L1) of pictures in [-1, 1], as a part of the range: 0 to 1."""
    return float((pictures - targets).abs().mean()) / 2


def pair_scores(pictures: Tensor, targets: Tensor) -> dict[str, float]:
    """Compare pictures with their targets; each score is the mean over the pictures.

    Args:
        pictures: (n, 1 or 3, height, width) in [-1, 1]; grey ones are compared with every channel.
        targets: (n, channels, height, width) in [-1, 1].

    Returns:
        ``l1``: mean absolute difference, black to white being 1. ``psnr``: peak signal-to-noise ratio in dB.
        ``ssim``: structural similarity (Wang et al. 2004), at most 1.
    """
    # Here, since the import takes a second.
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    pictures = pictures.clamp(-1, 1).expand_as(targets)
    psnr = [
        # Equal pictures would have an infinite one, and one of them would make the mean infinite.
        peak_signal_noise_ratio(each, target, data_range=2.0).clamp(max=100)
        for each, target in zip(pictures, targets, strict=True)
    ]
    ssim = [
        structural_similarity_index_measure(each, target, data_range=2.0, reduction="none").reshape(-1)
        for each, target in zip(pictures.split(CHUNK), targets.split(CHUNK), strict=True)
    ]
    return {
        "l1": mean_difference(pictures, targets),
        "psnr": float(torch.stack(psnr).mean()),
        "ssim": float(torch.cat(ssim).mean()),
    }


def without_learning(
    sources: Tensor, targets: Tensor, known_sources: Tensor, known_targets: Tensor
) -> dict[str, float]:
    """Score what a network must beat: two ways to a target that need no training.

    Args:
        sources: Pictures to translate, (n, channels, height, width).
        targets: Their targets.
        known_sources: Pictures of the training part.
        known_targets: Their targets.

    Returns:
        ``l1_of_mean``: the known targets' mean colour as the translation of everything. ``l1_of_nearest``:
        the target of the known source that is nearest in pixels (averaged to 32x32 if they are larger).
    """
    colour = known_targets.mean((0, 2, 3), keepdim=True)
    here, there = (small(pictures).flatten(1) for pictures in (sources, known_sources))
    nearest = torch.cdist(here, there).argmin(1)
    return {
        "l1_of_mean": mean_difference(colour, targets),
        "l1_of_nearest": mean_difference(known_targets[nearest], targets),
    }


def small(pictures: Tensor) -> Tensor:
    """Average pictures down to 32x32, if they are larger."""
    return adaptive_avg_pool2d(pictures, 32) if pictures.shape[-1] > 32 else pictures
