"""Devices: choosing one for a run, and moving tensors to it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

from mmgan.backend.batches import mapped
from mmgan.errors import ConfigError

if TYPE_CHECKING:
    from mmgan.task import Player

#: Optimizers with a fused form, none of which takes sparse gradients in any form.
_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


class Device:
    """A torch device, and the few things that a run needs of it. Subclass it for another accelerator.

    Args:
        name: A torch device string: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        reason: Why it was chosen, for people.

    Raises:
        RuntimeError: ``name`` is not a torch device string.
    """

    def __init__(self, name: str, reason: str = "asked for") -> None:
        #: The device itself, as a :class:`torch.device`.
        self.torch = torch.device(name)
        self.reason = reason
        self._copying: Any = None

    @property
    def type(self) -> str:
        """The kind of device: ``cpu``, ``cuda``, ``mps``."""
        return self.torch.type

    @property
    def asynchronous(self) -> bool:
        """Whether reading a value synchronises with the device."""
        return self.type != "cpu"

    def synchronize(self) -> None:
        """Wait until all queued work is done."""
        if self.type == "cuda":
            torch.cuda.synchronize(self.torch)
        elif self.type == "mps":
            torch.mps.synchronize()

    def move(self, batch: Any) -> Any:
        """Copy a batch's tensors to the device. From pinned memory a GPU copies while it computes.

        Args:
            batch: A tensor, or tuples, named tuples, lists and dicts of them, which keep their structure.
                Other values are returned as they are.
        """
        return mapped(batch, self._copied_aside if self.type == "cuda" else self._copied)

    def _copied(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.torch)

    def _copied_aside(self, tensor: torch.Tensor) -> torch.Tensor:
        """Copy a tensor on a stream of its own: the previous step's kernels may still be at work."""
        if tensor.device.type == "cuda" or not tensor.is_pinned():
            return tensor.to(self.torch)
        if self._copying is None:
            self._copying = torch.cuda.Stream(self.torch)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._copying):
            copy = tensor.to(self.torch, non_blocking=True)
        computing = torch.cuda.current_stream(self.torch)
        computing.wait_stream(self._copying)
        copy.record_stream(computing)
        return copy

    def use_tf32(self, wanted: bool) -> None:
        """Multiply float32 numbers in TF32 (8 bits of exponent, 10 of mantissa) on a GPU, or in full.

        Weights and sums stay float32. GPUs before Ampere (2020) have no TF32.
        """
        if self.type != "cuda":
            return
        with warnings.catch_warnings():
            # torch has a newer way too, but its compiler reads these, and raises where both were used.
            warnings.simplefilter("ignore")
            torch.backends.cuda.matmul.allow_tf32 = wanted
            torch.backends.cudnn.allow_tf32 = wanted

    def prepare(self, player: Player) -> None:
        """Move a player's module to the device, and make its optimizer fused if it can be.

        Args:
            player: The player; its module is changed in place.
        """
        player.module.to(self.torch)
        if player.channels_last and self.type != "mps":
            lay_out(player, channels_last=True)
        if isinstance(player.optimizer, _FUSED) and self.type != "mps":
            for group in player.optimizer.param_groups:
                # Only if its author left the choice open. On a CPU torch's own default is the slow form.
                if group["fused"] is None and group["foreach"] is None and not group["differentiable"]:
                    group["fused"] = True
                    if self.type == "cuda" and "capturable" in group:
                        # Its count of updates is on the GPU either way, and a CUDA graph may hold it.
                        group["capturable"] = True
                    # As a fused optimizer's constructor does: a gradient scaler then does not synchronise.
                    player.optimizer._step_supports_amp_scaling = True


def lay_out(player: Player, *, channels_last: bool) -> None:
    """Store a player's 4-D tensors, and those of its moving average, channels-last or contiguous."""
    player.channels_last = channels_last
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for module in filter(None, (player.module, player.average)):
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.ndim == 4:
                tensor.data = tensor.data.to(memory_format=layout)


def choose_device(name: str) -> Device:
    """Return the device called ``name``; ``auto`` chooses cuda, else mps, else cpu.

    Raises:
        ConfigError: torch does not know the name, or this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return Device("cuda", f"the fastest here: {torch.cuda.get_device_name()}")
        if torch.backends.mps.is_available():
            return Device("mps", "the fastest here: Apple's GPU")
        threads = torch.get_num_threads()
        return Device("cpu", f"no GPU was found; {threads} thread{'s' if threads > 1 else ''}")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(
            f"device = {name!r} is not known.", hint="Allowed: auto, cpu, cuda, cuda:N, mps, or a plugin's."
        ) from None
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, False):
        raise ConfigError(
            f"device = {name!r}: this machine has no such device.",
            hint="`mmgan doctor` lists what torch finds here; --device cpu always works.",
        )
    return Device(name)
