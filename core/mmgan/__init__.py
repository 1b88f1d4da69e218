"""mmgan trains GANs on pictures, sounds, text and image pairs; every game is a plugin.

The names below are the public interface. They are imported when first used, since a plugin's
``__init__`` says ``from mmgan import hookimpl`` and ``mmgan --help`` must not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pluggy

from mmgan import moved

#: The version of this package.
__version__ = "0.1.0"

#: The version of the plugin interface: the hooks, the public names below, and what is called on a plugin's
#: classes. Within a version a plugin goes on working with every later mmgan. New in it may be hooks,
#: arguments of hooks (a plugin takes those that it names), methods and settings with defaults, and errors
#: where before something failed later and worse. The version grows when a hook, a name or an argument goes or
#: changes its meaning. A plugin that says ``mmgan_interface = 1`` gets a clear error from an mmgan that is
#: too old for it; one that says nothing is taken to be written for the version that is installed.
INTERFACE = 1

moved.install()

#: Marks a function of a plugin as the implementation of a hook.
hookimpl = pluggy.HookimplMarker("mmgan")

_PUBLIC = {
    "AudioSamples": "mmgan.samples",
    "CheckpointError": "mmgan.errors",
    "Config": "mmgan.config",
    "ConfigError": "mmgan.errors",
    "DataError": "mmgan.errors",
    "DataInfo": "mmgan.data.info",
    "Dataset": "mmgan.data.dataset",
    "Device": "mmgan.backend.device",
    "DivergedError": "mmgan.errors",
    "Draw": "mmgan.data.dataset",
    "Generator": "mmgan.generator",
    "ImageSamples": "mmgan.samples",
    "MmganError": "mmgan.errors",
    "Phase": "mmgan.task",
    "Player": "mmgan.task",
    "PluginError": "mmgan.errors",
    "Plugins": "mmgan.plugins",
    "PointSamples": "mmgan.samples",
    "Precision": "mmgan.backend.precision",
    "Report": "mmgan.engine",
    "Run": "mmgan.run",
    "Samples": "mmgan.samples",
    "Stage": "mmgan.task",
    "Task": "mmgan.task",
    "TextSamples": "mmgan.samples",
    "UsageError": "mmgan.errors",
    "load": "mmgan.generator",
    "load_run": "mmgan.opening",
    "new_run": "mmgan.opening",
    "resolve": "mmgan.config",
    "train": "mmgan.opening",
}

__all__ = sorted([*_PUBLIC, "INTERFACE", "__version__", "hookimpl"])

# Each under its own name twice: that is how a type checker knows that a stranger may import it from here.
if TYPE_CHECKING:
    from mmgan.backend.device import Device as Device
    from mmgan.backend.precision import Precision as Precision
    from mmgan.config import Config as Config
    from mmgan.config import resolve as resolve
    from mmgan.data.dataset import Dataset as Dataset
    from mmgan.data.dataset import Draw as Draw
    from mmgan.data.info import DataInfo as DataInfo
    from mmgan.engine import Report as Report
    from mmgan.errors import CheckpointError as CheckpointError
    from mmgan.errors import ConfigError as ConfigError
    from mmgan.errors import DataError as DataError
    from mmgan.errors import DivergedError as DivergedError
    from mmgan.errors import MmganError as MmganError
    from mmgan.errors import PluginError as PluginError
    from mmgan.errors import UsageError as UsageError
    from mmgan.generator import Generator as Generator
    from mmgan.generator import load as load
    from mmgan.opening import load_run as load_run
    from mmgan.opening import new_run as new_run
    from mmgan.opening import train as train
    from mmgan.plugins import Plugins as Plugins
    from mmgan.run import Run as Run
    from mmgan.samples import AudioSamples as AudioSamples
    from mmgan.samples import ImageSamples as ImageSamples
    from mmgan.samples import PointSamples as PointSamples
    from mmgan.samples import Samples as Samples
    from mmgan.samples import TextSamples as TextSamples
    from mmgan.task import Phase as Phase
    from mmgan.task import Player as Player
    from mmgan.task import Stage as Stage
    from mmgan.task import Task as Task


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mmgan' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
