"""SeqGAN (Yu et al. 2017) as an mmgan plugin."""

from mmgan import hookimpl


@hookimpl
def register_tasks(register):
    """Register the task."""
    register("seqgan", "mmgan_seqgan.task:SeqGAN")


@hookimpl
def register_datasets(register):
    """Register the paper's synthetic data, whose true distribution is known."""
    register("oracle", "mmgan_seqgan.oracle:open_oracle", kind="tokens")
