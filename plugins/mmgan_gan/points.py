"""Points in the plane: rings and grids of Gaussians, and scores of mode coverage.

Sizes and scores are those of Lin et al. 2018, "PacGAN: The power of two samples in generative adversarial
networks", section 4.1, after Metz et al. 2017 and Srivastava et al. 2017.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmgan import Config, DataError, DataInfo, Dataset, Draw
from mmgan.counting import counted


class Mixture(Dataset):
    """100,000 points of equally likely round Gaussians, as many as in the paper.

    Args:
        centres: The modes' centres, (modes, 2).
        sigma: The standard deviation of each, on both axes.
        seed: Of the points.
    """

    SIZE = 100_000
    #: Points whose distances to all centres are in memory at once.
    COMPARED = 1_000

    def __init__(self, centres: Tensor, sigma: float, seed: int = 0) -> None:
        self.centres = centres
        self.sigma = sigma
        self.description = (
            f"{self.SIZE:,} points around {counted(len(centres), 'mode')}, standard deviation {sigma}"
        )
        generator = torch.Generator().manual_seed(seed)
        #: int64 (points,): the mode of each point.
        self.labels = torch.randint(len(centres), (self.SIZE,), generator=generator)
        #: float32 (points, 2).
        self.points = centres[self.labels] + sigma * torch.randn(self.SIZE, 2, generator=generator)
        #: Whether a batch holds labels too.
        self.labelled = False
        modes = len(centres)
        self.info = DataInfo(
            examples=self.SIZE,
            shape=(2,),
            classes=tuple(map(str, range(modes))),
            counts=tuple(torch.bincount(self.labels, minlength=modes).tolist()),
            columns=("label",),
        )

    def __len__(self) -> int:
        return self.SIZE

    def batch(self, indices: Tensor, draw: Draw) -> Any:
        """Return points, (batch, 2); in a dict with their modes where it holds labels."""
        points = self.points[indices]
        return {"points": points, "label": self.labels[indices]} if self.labelled else points

    def scores(self, points: Tensor, label: Tensor | None = None) -> dict[str, float]:
        """Say how well generated points cover the modes. A point is good within 3 sigma of a centre.

        Args:
            points: (n, 2).
            label: The mode that each was asked for, int64 (n,), where modes were learned as classes.

        Returns:
            ``missing``: the share of the data that no good point stands for, 1 - Σ min(s, 1/modes),
            where s is the share of the points that are good and of a mode. ``modes``: those with at least one
            good point. ``high_quality``: the share of good points. ``reverse_kl``: KL(p ‖ uniform) in nats,
            where p are the shares of the points that are nearest to each mode. ``of_their_class``: where
            modes were asked for, the share of points that are nearest to theirs.

            A perfect sampler tends to 0.011, all modes, 0.989 (1 - exp(-9/2)), and (modes - 1) / 2n.
        """
        points = points.cpu()
        # A chunk at a time, since every point is compared with every centre.
        nearest = [
            (part[:, None] - self.centres).norm(dim=2).min(1) for part in torch.split(points, self.COMPARED)
        ]
        distance, mode = (torch.cat(found) for found in zip(*nearest, strict=True))
        modes = len(self.centres)
        share = torch.bincount(mode[distance < 3 * self.sigma], minlength=modes) / len(points)
        scores = {
            "missing": float(1 - share.clamp(max=1 / modes).sum()),
            "modes": float((share > 0).sum()),
            "high_quality": float(share.sum()),
            "reverse_kl": _reverse_kl(mode, modes),
        }
        if label is not None:
            scores["of_their_class"] = float((mode == label.cpu()).float().mean())
        return scores


def open_ring(argument: str, config: Config) -> Mixture:
    """Open ``ring`` or ``ring:MODES``: 8 modes on a circle of radius 1, standard deviation 0.01."""
    modes = _number(argument, "ring", default=8)
    angle = torch.arange(modes) * (2 * torch.pi / modes)
    return Mixture(torch.stack((angle.cos(), angle.sin()), dim=1), 0.01, config.seed)


def open_grid(argument: str, config: Config) -> Mixture:
    """Open ``grid`` or ``grid:SIDE``: 5x5 modes around the origin, 2 apart, standard deviation 0.05."""
    side = _number(argument, "grid", default=5)
    axis = 2.0 * torch.arange(side) - (side - 1)
    return Mixture(torch.cartesian_prod(axis, axis), 0.05, config.seed)


def _reverse_kl(mode: Tensor, modes: int) -> float:
    share = torch.bincount(mode, minlength=modes) / len(mode)
    # xlogy is 0 where a share is 0.
    return float(torch.xlogy(share, share * modes).sum())


def _number(argument: str, name: str, default: int) -> int:
    if not argument:
        return default
    if not argument.isdecimal() or len(argument) > 3 or not 1 <= int(argument) <= 100:
        raise DataError(
            f"data = {f'{name}:{argument}'!r}: what follows the colon must be a number from 1 to 100.",
            hint=f"--data {name}:{default} is the default.",
        )
    return int(argument)
