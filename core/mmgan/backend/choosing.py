"""The device and the precision of a run: a plugin's, registered under the configured name, or torch's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmgan.backend.device import Device
from mmgan.backend.precision import Precision
from mmgan.config import Config

if TYPE_CHECKING:
    from mmgan.plugins import Plugins


def device_for(config: Config, plugins: Plugins, hook: Any) -> Device:
    """Return the device that ``config.device`` names."""
    if config.device in plugins.devices:
        chosen: Device = plugins.devices[config.device].load()(config.device)
    else:
        chosen = hook.select_device(config=config)
    return chosen


def precision_for(config: Config, plugins: Plugins, hook: Any, device: Device) -> Precision:
    """Return the precision that ``config.precision`` names, for a device."""
    if config.precision in plugins.precisions:
        chosen: Precision = plugins.precisions[config.precision].load()(device)
    else:
        chosen = hook.make_precision(device=device, config=config)
    return chosen
