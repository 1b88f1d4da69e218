"""SeqGAN (Yu et al. 2017) as an mmgan plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgan import hookimpl

if TYPE_CHECKING:
    from mmgan.hookspecs import Register, RegisterKind


@hookimpl
def register_tasks(register: Register) -> None:
    """Register the task."""
    register("seqgan", "mmgan_seqgan.task:SeqGAN")


@hookimpl
def register_datasets(register: RegisterKind) -> None:
    """Register the paper's synthetic data, whose true distribution is known."""
    register("oracle", "mmgan_seqgan.oracle:open_oracle", kind="tokens")
