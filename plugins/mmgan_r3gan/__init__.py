"""R3GAN (Huang et al. 2024) as an mmgan plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgan import hookimpl

if TYPE_CHECKING:
    from mmgan.hookspecs import Register


@hookimpl
def register_tasks(register: Register) -> None:
    """Register the task."""
    register("r3gan", "mmgan_r3gan.task:R3GAN")
