"""DCGAN (Radford et al. 2016) as an mmgan plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgan import hookimpl

if TYPE_CHECKING:
    from mmgan.hookspecs import Register


@hookimpl
def register_tasks(register: Register) -> None:
    """Register the task."""
    register("dcgan", "mmgan_dcgan.task:DCGAN")
