"""WaveGAN (Donahue et al. 2019) as an mmgan plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgan import hookimpl

if TYPE_CHECKING:
    from mmgan.hookspecs import Register, RegisterKind


@hookimpl
def register_tasks(register: Register) -> None:
    """Register the task."""
    register("wavegan", "mmgan_wavegan.task:WaveGAN")


@hookimpl
def register_datasets(register: RegisterKind) -> None:
    """Register the synthesised drums."""
    register("drums", "mmgan_wavegan.drums:open_drums", kind="sounds")
