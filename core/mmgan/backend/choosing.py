"""What a run computes on and in: a plugin's device or precision, registered under the configured name, or
torch's; and whatever is left to measurement by ``auto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mmgan.backend import trials
from mmgan.backend.compiling import compile_network
from mmgan.backend.device import Device, lay_out
from mmgan.backend.precision import DTYPES, Precision
from mmgan.config import Config

if TYPE_CHECKING:
    from mmgan.plugins import Plugins
    from mmgan.run import Run


def device_for(config: Config, plugins: Plugins, hook: Any) -> Device:
    """Return the device that ``config.device`` names."""
    if config.device in plugins.devices:
        chosen: Device = plugins.devices[config.device].load()(config.device)
    else:
        chosen = hook.select_device(config=config)
    return chosen


def precision_for(
    config: Config, plugins: Plugins, hook: Any, device: Device, networks: tuple[nn.Module, ...] = ()
) -> Precision:
    """Return the precision that ``config.precision`` names, for networks on a device."""
    if config.precision in plugins.precisions:
        chosen: Precision = plugins.precisions[config.precision].load()(device)
    else:
        chosen = hook.make_precision(device=device, config=config, networks=networks)
    return chosen


def settle(run: Run, config: Config) -> Config:
    """Choose what ``auto`` leaves to measurement, for a run's networks; return the settings with the choices.

    They are kept with the run, so that a resume elsewhere does not compute in another way unasked. Of several
    processes rank 0 measures.
    """
    if "auto" not in (config.precision, config.memory_format, config.compile):
        return config
    networks = tuple(player.module for player in run.players.values())
    if config.precision == "auto":
        name, reason = run.ranks.broadcast_object(lambda: _precision(run, config, networks))
        if name in DTYPES:
            config = config.model_copy(update={"precision": name})
        run.precision = precision_for(config, run.plugins, run.hook, run.device, networks)
        run.precision.reason = reason
    layer, dtype, on_cpu = trials.heaviest(networks), run.precision.dtype, run.device.type == "cpu"
    if config.memory_format == "auto":
        # A GPU's tensor cores want halves so.
        last = not on_cpu and dtype.itemsize == 2
        if on_cpu and layer is not None:
            last = run.ranks.broadcast_object(
                lambda: channels_last_is_faster(layer, config.batch_size, dtype)
            )
        config = config.model_copy(update={"memory_format": "channels_last" if last else "contiguous"})
        for player in run.players.values():
            lay_out(player, channels_last=last)
    if config.compile == "auto":
        # On a GPU, where it fuses what is bound by memory, it is taken to be faster.
        faster = not on_cpu
        if on_cpu and layer is not None:
            faster = run.ranks.broadcast_object(lambda: compiling_is_faster(layer, config.batch_size, dtype))
        config = config.model_copy(update={"compile": faster})
        for name, player in run.players.items():
            if faster and player.compile:
                compile_network(name, player.module)
    return config


def _precision(run: Run, config: Config, networks: tuple[nn.Module, ...]) -> tuple[str, str]:
    """Return the name of the precision that is chosen for a run's networks, and why."""
    found = precision_for(config, run.plugins, run.hook, run.device, networks)
    return found.name, found.reason


def channels_last_is_faster(layer: nn.Module, batch_size: int, dtype: torch.dtype) -> bool:
    """Whether a network's heaviest layer is a 2-D convolution that is faster channels-last, by a trial.

    Args:
        layer: From :func:`trials.heaviest`.
        batch_size: Examples in a batch.
        dtype: The number format of autocast.
    """
    if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        return False
    times = trials.memory_formats(layer, batch_size, dtype)
    return times["channels_last"] < trials.GAIN * times["contiguous"]


def compiling_is_faster(layer: nn.Module, batch_size: int, dtype: torch.dtype) -> bool:
    """Whether a convolution with its norm and activation is faster by ``torch.compile``, by a trial."""
    if not isinstance(layer, trials.Convolution):
        return False
    times = trials.compiling(layer, batch_size, dtype)
    return times["compiled"] < trials.GAIN * times["plain"]
