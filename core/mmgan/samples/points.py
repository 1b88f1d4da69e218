"""Points in the plane as samples."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from torch import Tensor

from mmgan.samples.base import Samples
from mmgan.samples.drawing import new_figure, to_image
from mmgan.storage.files import fresh

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class PointSamples(Samples):
    """Points in the plane.

    Args:
        points: (n, 2).
        real: Points of the data to draw behind them, (m, 2).
    """

    suffix = ".png"

    def __init__(self, points: Tensor, real: Tensor | None = None) -> None:
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"points must be (n, 2), not {tuple(points.shape)}")
        self.points = points.detach().float().cpu()
        self.real = None if real is None else real.detach().float().cpu()

    def __len__(self) -> int:
        return len(self.points)

    def plot(self) -> Image.Image:
        """Return a scatter plot, generated points over real ones."""
        figure = new_figure(5, 5)
        axes = figure.add_subplot()
        if self.real is not None:
            axes.scatter(self.real[:, 0], self.real[:, 1], s=4, c="#9aa0a6", label="data")
        names = list(dict.fromkeys(self.labels or []))
        # In their classes' colours, where there are several.
        colours = (
            [f"C{names.index(label) % 10}" for label in self.labels or []] if len(names) > 1 else "#d93025"
        )
        axes.scatter(self.points[:, 0], self.points[:, 1], s=4, c=colours, alpha=0.5, label="generated")
        axes.set_aspect("equal", adjustable="datalim")
        axes.legend(loc="upper right", markerscale=3)
        return to_image(figure)

    def save(self, path: Path) -> None:
        """Write the scatter plot to ``path`` as PNG."""
        self.plot().save(path, format="PNG")

    def save_each(self, folder: Path) -> list[Path]:
        """Write ``points.csv`` into ``folder``, a line ``x,y`` for each point with its class, if it has one.

        Returns:
            The path.
        """
        path = folder / "points.csv"
        with fresh(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["x", "y"] + ["class"] * bool(self.labels))
            for number, point in enumerate(self.points.tolist()):
                label = [self.labels[number]] if self.labels else []
                rows.writerow([*(f"{value:.6g}" for value in point), *label])
        return [path]

    def save_walk(self, folder: Path) -> list[Path]:
        """Write ``walk.png``: the points in the plane."""
        path = folder / "walk.png"
        with fresh(path) as partial:
            self.save(partial)
        return [path]

    def to_tensorboard(self, writer: SummaryWriter, tag: str, step: int) -> None:
        """Show the scatter plot."""
        writer.add_image(tag, np.asarray(self.plot()), step, dataformats="HWC")
