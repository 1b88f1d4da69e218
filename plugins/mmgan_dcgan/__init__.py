"""DCGAN (Radford et al. 2016) as an mmgan plugin."""

from mmgan import hookimpl


@hookimpl
def register_tasks(register):
    """Register the task."""
    register("dcgan", "mmgan_dcgan.task:DCGAN")
