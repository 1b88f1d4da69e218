"""The fully connected GAN (Goodfellow et al. 2014), on pictures and on points in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgan import hookimpl

if TYPE_CHECKING:
    from mmgan.hookspecs import Register, RegisterKind


@hookimpl
def register_tasks(register: Register) -> None:
    """Register the task."""
    register("gan", "mmgan_gan.task:GAN")


@hookimpl
def register_datasets(register: RegisterKind) -> None:
    """Register the points: `ring` and `grid`, or with another number of modes `ring:12` and `grid:7`."""
    register("ring", "mmgan_gan.points:open_ring", kind="points")
    register("grid", "mmgan_gan.points:open_grid", kind="points")
