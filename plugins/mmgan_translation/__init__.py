"""Image-to-image translation as an mmgan plugin: pix2pix (Isola et al. 2017), CycleGAN (Zhu et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgan import hookimpl

if TYPE_CHECKING:
    import click

    from mmgan.hookspecs import Register


@hookimpl
def register_tasks(register: Register) -> None:
    """Register the two tasks."""
    register("pix2pix", "mmgan_translation.pix2pix:Pix2Pix")
    register("cyclegan", "mmgan_translation.cyclegan:CycleGAN")


@hookimpl
def register_commands(cli: click.Group) -> None:
    """Add `mmgan translate`."""
    from mmgan_translation.command import translate

    cli.add_command(translate)
