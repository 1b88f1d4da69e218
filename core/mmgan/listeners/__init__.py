"""The built-in listeners: files of metrics, samples and checkpoints, TensorBoard, and the progress bar.

Each is a plain object with hook implementations, as a plugin's own listener would be.
"""

from __future__ import annotations

from typing import Any

from mmgan.config import Config


def default_listeners(config: Config, changed: bool = False) -> list[Any]:
    """Return the listeners of a run that keeps its results in a folder.

    Args:
        config: The run's settings.
        changed: Whether they are others than the folder has.

    Where one must come before or after the others, its hooks say so; this list's order means nothing.
    """
    from mmgan.listeners.checkpointer import Checkpointer
    from mmgan.listeners.metrics_file import MetricsFile
    from mmgan.listeners.sample_writer import SampleWriter
    from mmgan.listeners.settings_file import SettingsFile
    from mmgan.listeners.status_file import StatusFile

    listeners: list[Any] = [SampleWriter(), MetricsFile(), Checkpointer(), StatusFile()]
    listeners.append(SettingsFile(changed))
    if config.tensorboard:
        from mmgan.listeners.tensorboard import TensorBoard

        listeners.append(TensorBoard())
    return listeners
