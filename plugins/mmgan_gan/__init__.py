"""The fully connected GAN (Goodfellow et al. 2014), on pictures and on points in the plane."""

from mmgan import hookimpl


@hookimpl
def register_tasks(register):
    """Register the task."""
    register("gan", "mmgan_gan.task:GAN")


@hookimpl
def register_datasets(register):
    """Register the points: `ring` and `grid`, or with another number of modes `ring:12` and `grid:7`."""
    register("ring", "mmgan_gan.points:open_ring", kind="points")
    register("grid", "mmgan_gan.points:open_grid", kind="points")
