"""Scores of translated pictures against their targets, and baselines that need no training."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from mmgan.extras import has

#: Why PSNR and SSIM are missing where torchmetrics is.
WITHOUT_TORCHMETRICS = "It needs torchmetrics: pip install 'mmgan[translation]'."


def differences(pictures: Tensor, targets: Tensor) -> list[float]:
    """Return each picture's mean absolute difference (L1) to its target, where black to white is 1.

    Args:
        pictures: (n, 1 or 3, height, width) in [-1, 1]; grey ones are compared with every channel.
        targets: (n, channels, height, width) in [-1, 1].
    """
    found: list[float] = ((pictures - targets).abs().mean((1, 2, 3)) / 2).tolist()
    return found


def pair_scores(pictures: Tensor, targets: Tensor) -> list[dict[str, float]]:
    """Compare each picture with its target.

    Args:
        pictures: (n, 1 or 3, height, width) in [-1, 1]; grey ones are compared with every channel.
        targets: (n, channels, height, width) in [-1, 1].

    Returns:
        For each picture ``l1``: mean absolute difference, where black to white is 1. Where torchmetrics
        is installed ``psnr``: peak signal-to-noise ratio in dB, at most 100; ``ssim``: structural similarity
        (Wang et al. 2004).
    """
    pictures = pictures.clamp(-1, 1).expand_as(targets)
    rows = [{"l1": l1} for l1 in differences(pictures, targets)]
    if not has("torchmetrics"):
        return rows
    # Here, since the import takes a second.
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    pairs = zip(torch.split(pictures, 1), torch.split(targets, 1), strict=True)
    for row, (picture, target) in zip(rows, pairs, strict=True):
        # Equal pictures would have an infinite PSNR, and make the mean infinite.
        row["psnr"] = float(peak_signal_noise_ratio(picture, target, data_range=2.0).clamp(max=100))
        ssim = structural_similarity_index_measure(picture, target, data_range=2.0)
        row["ssim"] = float(ssim)  # type: ignore[arg-type]
    return rows


def means(rows: list[dict[str, float]], suffix: str = "") -> dict[str, float]:
    """Return the mean of each score over the pictures, its name followed by ``suffix``."""
    return {f"{name}{suffix}": sum(row[name] for row in rows) / len(rows) for name in rows[0]}


class WithoutLearning:
    """Baselines: two predictions of the target that need no training.

    Args:
        pairs: Batches of sources and targets of the training part, two of (n, channels, height, width) in
            [-1, 1]. They are kept at 32x32.
        look: Returns the targets with these numbers, at full size.
    """

    def __init__(self, pairs: Iterable[tuple[Tensor, Tensor]], look: Callable[[list[int]], Tensor]) -> None:
        kept = [(small(sources).flatten(1), targets.mean((2, 3))) for sources, targets in pairs]
        self.sources = torch.cat([sources for sources, _ in kept])
        self.colour = torch.cat([colours for _, colours in kept]).mean(0).view(1, -1, 1, 1)
        self.look = look

    def scores(self, sources: Tensor, targets: Tensor) -> list[dict[str, float]]:
        """Score them for pictures to translate.

        Returns:
            For each picture ``l1_of_mean``: the prediction is the mean colour of the training targets.
            ``l1_of_nearest``: the prediction is the target of the training source that is nearest in pixels
            (averaged to 32x32 if they are larger).
        """
        places = torch.cdist(small(sources).flatten(1), self.sources).argmin(1)
        of_mean, of_nearest = (
            differences(guess, targets) for guess in (self.colour, self.look(places.tolist()))
        )
        return [
            {"l1_of_mean": mean, "l1_of_nearest": near}
            for mean, near in zip(of_mean, of_nearest, strict=True)
        ]


def small(pictures: Tensor) -> Tensor:
    """Average pictures down to 32x32, if they are larger."""
    return adaptive_avg_pool2d(pictures, 32) if pictures.shape[-1] > 32 else pictures
