"""WaveGAN (Donahue et al. 2019) as an mmgan plugin."""

from mmgan import hookimpl


@hookimpl
def register_tasks(register):
    """Register the task."""
    register("wavegan", "mmgan_wavegan.task:WaveGAN")


@hookimpl
def register_datasets(register):
    """Register the synthesised drums."""
    register("drums", "mmgan_wavegan.drums:open_drums", kind="sounds")
