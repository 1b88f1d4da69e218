"""The built-in listeners: files of metrics, samples and checkpoints, TensorBoard, and the progress bar.

Each is a plain object with hook implementations, as a plugin's own listener would be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmgan.config import Config
from mmgan.plugins import Plugins


def attach_defaults(plugins: Plugins, config: Config, folder: Path | None, changed: bool = False) -> None:
    """Replace the listeners of the run that plugins served before by the default ones of a new run.

    Args:
        plugins: The run's plugins.
        config: The run's settings.
        folder: The run's folder; without one the run has no default listeners.
        changed: Whether the settings differ from those in the folder.
    """
    plugins.detach()
    if folder is not None:
        plugins.attach(default_listeners(config, changed))


def default_listeners(config: Config, changed: bool = False) -> list[Any]:
    """Return the listeners of a run that keeps its results in a folder.

    Args:
        config: The run's settings.
        changed: Whether the settings differ from those in the folder.

    The order of this list has no meaning: hooks that must run before or after others are marked so.
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
