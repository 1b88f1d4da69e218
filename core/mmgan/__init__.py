"""mmgan trains GANs on pictures, sounds, text and image pairs; every game is a plugin.

The names below are the public interface. They are imported when first used, since a plugin's
``__init__`` says ``from mmgan import hookimpl`` and ``mmgan --help`` must not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pluggy

__version__ = "0.1.0"

#: Marks a function of a plugin as the implementation of a hook.
hookimpl = pluggy.HookimplMarker("mmgan")

_PUBLIC = {
    "AudioSamples": "mmgan.samples",
    "CheckpointError": "mmgan.errors",
    "Config": "mmgan.config",
    "ConfigError": "mmgan.errors",
    "DataError": "mmgan.errors",
    "Dataset": "mmgan.data.dataset",
    "Device": "mmgan.device",
    "DivergedError": "mmgan.errors",
    "Draw": "mmgan.data.dataset",
    "ImageSamples": "mmgan.samples",
    "MmganError": "mmgan.errors",
    "Phase": "mmgan.task",
    "Player": "mmgan.task",
    "PluginError": "mmgan.errors",
    "Plugins": "mmgan.plugins",
    "PointSamples": "mmgan.samples",
    "Precision": "mmgan.precision",
    "Report": "mmgan.engine",
    "Run": "mmgan.run",
    "Samples": "mmgan.samples",
    "Stage": "mmgan.task",
    "Task": "mmgan.task",
    "TextSamples": "mmgan.samples",
    "UsageError": "mmgan.errors",
    "load_run": "mmgan.run",
    "new_run": "mmgan.run",
    "resolve": "mmgan.config",
    "train": "mmgan.engine",
}

__all__ = sorted([*_PUBLIC, "__version__", "hookimpl"])

if TYPE_CHECKING:
    from mmgan.config import Config, resolve
    from mmgan.data.dataset import Dataset, Draw
    from mmgan.device import Device
    from mmgan.engine import Report, train
    from mmgan.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        DivergedError,
        MmganError,
        PluginError,
        UsageError,
    )
    from mmgan.plugins import Plugins
    from mmgan.precision import Precision
    from mmgan.run import Run, load_run, new_run
    from mmgan.samples import AudioSamples, ImageSamples, PointSamples, Samples, TextSamples
    from mmgan.task import Phase, Player, Stage, Task


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mmgan' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
