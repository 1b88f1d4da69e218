"""The number format that a run computes in: autocast, and one gradient scaler for each player.

Weights, optimizer state and losses are always float32; ``bf16`` and ``fp16`` are what autocast computes
convolutions and matrix products in (Micikevicius et al. 2018).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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


def choose_precision(device: Device, name: str) -> Precision:
    """Return the precision called ``name``; ``auto`` chooses the fastest that the device computes natively.

    Raises:
        ConfigError: The name is not known.
    """
    if name == "auto":
        return _fastest(device)
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
    if device.type == "cpu":
        feature = native_bf16(Path("/proc/cpuinfo"))
        # Measured: with AVX512-BF16 alone a DCGAN step takes 1.4 times as long in bf16 as in fp32; its dot
        # products save less than the conversions cost. AMX has matrix products, which pay.
        if feature == "AMX":
            return Precision(device, "bf16", "the processor has AMX")
        without = f"the processor has {feature} but no AMX" if feature else "the processor has no AMX"
        return Precision(device, "fp32", f"{without}, without which bf16 may be slower")
    return Precision(device, "fp32", f"the default on {device.type}")


def native_bf16(cpuinfo: Path) -> str:
    """Return the processor's best bf16 instructions, or "" where bf16 is only emulated."""
    try:
        flags = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return ""
    features = (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16"), ("bf16", "Arm BF16"))
    return next((name for flag, name in features if flag in flags), "")


def differentiate(
    precision: Precision, function: nn.Module | Callable[[Tensor], Tensor], inputs: Tensor
) -> tuple[Tensor, Tensor]:
    """Return ``function(inputs)`` and the gradient of its sum with respect to ``inputs``, in float32.

    The gradient can be differentiated again, as penalties need. Each sample's output must depend on that
    sample alone (no batch norm), or the sum mixes samples.

    Args:
        precision: The run's.
        function: A critic.
        inputs: (batch, …), requiring gradients.
    """
    with precision.exact():
        if not torch.is_autocast_enabled(precision.device.type):
            # Converted before the gradient is taken, which could overflow in half precision.
            inputs = inputs.float()
        outputs = function(inputs)
        (gradient,) = torch.autograd.grad(outputs.float().sum(), inputs, create_graph=True)
    return outputs, gradient.float()
