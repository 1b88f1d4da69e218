"""The number format that a run computes in: autocast, and one gradient scaler for each player.

Weights, optimizer state and losses are always float32; ``bf16`` and ``fp16`` are what autocast computes
convolutions and matrix products in (Micikevicius et al. 2018).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from mmgan.backend import trials
from mmgan.backend.device import Device
from mmgan.errors import ConfigError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """A number format on a device. Subclass it for another one.

    Args:
        device: Where the run computes.
        name: ``fp32``, ``bf16``, ``fp16``, or another name with its dtype.
        reason: Why it was chosen, for people.
        dtype: The dtype of autocast; by default the name's.
    """

    def __init__(
        self, device: Device, name: str, reason: str = "asked for", dtype: torch.dtype | None = None
    ) -> None:
        self.device = device
        self.name = name
        self.reason = reason
        self.dtype = dtype or DTYPES[name]
        self._scalers: dict[str, torch.amp.GradScaler] = {}

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which forward passes and losses are computed."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def exact(self) -> AbstractContextManager[Any]:
        """Return the context in which a penalty's inner gradient is computed: float32 under fp16, whose
        exponent is too small for it. bf16 has float32's exponent and stays (its gradient keeps its direction:
        see the test of ``Run.grad``).
        """
        if self.dtype == torch.float16:
            return torch.autocast(self.device.type, enabled=False)
        return contextlib.nullcontext()

    @property
    def scales(self) -> bool:
        """Whether losses are scaled, so that small gradients survive (fp16 only)."""
        return self.dtype == torch.float16

    def scaler(self, player: str) -> torch.amp.GradScaler:
        """Return a player's gradient scaler. Each has its own: D's overflow must not shrink G's scale.

        Args:
            player: The player's name.
        """
        if player not in self._scalers:
            self._scalers[player] = torch.amp.GradScaler(self.device.type, enabled=self.scales)
        return self._scalers[player]

    def reset(self) -> None:
        """Make the scalers anew, in their present state: after an error in the middle of an update."""
        state = self.state_dict()
        self._scalers.clear()
        self.load_state_dict(state)

    def state_dict(self) -> dict[str, Any]:
        """Return the scalers' state by player name; an empty dict where losses are not scaled."""
        if not self.scales:
            return {}
        # Sorted, since a resumed run may update its players in another order.
        return {player: dict(self._scalers[player].state_dict()) for player in sorted(self._scalers)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the scalers from the ``state`` that :meth:`state_dict` returned."""
        for player, values in state.items():
            if self.scales and values:
                self.scaler(player).load_state_dict(values)


def choose_precision(
    device: Device, name: str, networks: tuple[nn.Module, ...] = (), batch_size: int = 64
) -> Precision:
    """Return the precision called ``name``; ``auto`` chooses the fastest.

    Args:
        device: Where the run computes.
        name: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        networks: Those that are trained, on the device: on a CPU ``auto`` tries their heaviest layer.
        batch_size: Examples in a batch.

    Raises:
        ConfigError: The name is not known.
    """
    if name == "auto":
        return _fastest_on_cpu(device, networks, batch_size) if device.type == "cpu" else _fastest(device)
    if name not in DTYPES:
        raise ConfigError(
            f"precision = {name!r} is not known.", hint="Allowed: auto, fp32, bf16, fp16, or a plugin's."
        )
    return Precision(device, name)


def _fastest(device: Device) -> Precision:
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device.torch)
        of = f"the GPU has compute capability {capability[0]}.{capability[1]}"
        return Precision(device, "bf16" if capability >= (8, 0) else "fp16", of)
    return Precision(device, "fp32", f"the default on {device.type}")


def _fastest_on_cpu(device: Device, networks: tuple[nn.Module, ...], batch_size: int) -> Precision:
    """Choose fp32 or bf16 by a trial, once on a machine: instructions for bf16 do not say what they bring."""
    if not networks:
        return Precision(device, "fp32", "there are no networks to try yet")
    times, what = trials.product(), "matrix product"
    layer = trials.heaviest(networks)
    # Where a product alone is slower, as where bf16 is emulated, layers would take long to try.
    if layer is not None and times["bf16"] < times["fp32"]:
        times, what = trials.precisions(layer, batch_size), trials.title(layer)
    part = times["bf16"] / times["fp32"]
    told = f"bf16 takes {part:.0%} of fp32's time for a {what}"
    return Precision(device, "bf16" if part < trials.GAIN else "fp32", told)


def differentiate(
    precision: Precision,
    function: nn.Module | Callable[[Tensor], Tensor],
    inputs: Tensor,
    compiled: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return ``function(inputs)`` and the gradient of its sum with respect to ``inputs``, in float32.

    The gradient can be differentiated again, as penalties need. Each sample's output must depend on that
    sample alone (no batch norm), or the sum mixes samples.

    Args:
        precision: The run's.
        function: A critic.
        inputs: (batch, …), requiring gradients.
        compiled: Whether ``function`` may call compiled networks. They are computed as they are written here:
            torch.compile can't differentiate twice, and has lost gradients of penalties without a word
            (pytorch issues 91469 and 181581).
    """
    as_written = torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()
    with as_written, precision.exact():
        if not torch.is_autocast_enabled(precision.device.type):
            # Converted before the gradient is taken, which could overflow in half precision.
            inputs = inputs.float()
        outputs = function(inputs)
        (gradient,) = torch.autograd.grad(outputs.float().sum(), inputs, create_graph=True)
    return outputs, gradient.float()
