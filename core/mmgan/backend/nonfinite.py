"""Detection of NaN and infinity at the step where they occur, without synchronising with the GPU."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mmgan.backend.device import Device
from mmgan.errors import DivergedError

_KINDS = ("loss", "gradient")
_MOST_PHASES = 1000
#: How far the numbers of two steps are apart.
_EACH_STEP = _MOST_PHASES * len(_KINDS)


class FiniteWatch:
    """Records, on the device, the first non-finite loss or gradient, and where it came from.

    Args:
        device: The run's.
        scaled: Whether gradients are scaled (fp16): an infinite one is then ordinary, and the scaler skips
            its update.
    """

    def __init__(self, device: Device, scaled: bool = False) -> None:
        self.scaled = scaled
        self.asynchronous = device.asynchronous
        #: 0, or the first non-finite value as a number: its step, phase and kind. On a GPU it and the step
        #: are tensors that are changed in place, so that a CUDA graph can be replayed at another step.
        self.first: int | Tensor = 0
        if self.asynchronous:
            self.first, self._step = torch.zeros(2, dtype=torch.int64, device=device.torch).unbind()
        self._known_step = 0
        self.phases: list[str] = []

    def at(self, step: int) -> None:
        """Let the values that are noted from here on be those of ``step``."""
        if self.asynchronous and step != self._known_step:
            self._step.fill_(step)
        self._known_step = step

    def note(self, step: int, phase: str, loss: Tensor, gradient: Tensor | None) -> None:
        """Check one update's loss and one of its gradients, without waiting for a GPU.

        The gradient is that of the player's first weights, which a backward pass reaches last, so a NaN in
        any layer reaches it. Checking all gradients at every step would cost a small network a twentieth of
        its time. A NaN that is missed makes the weights NaN, and so the next loss, which is recorded; and
        weights are checked before they are saved.
        """
        if phase not in self.phases:
            self.phases.append(phase)
        self.at(step)
        # A sum is finite only if all that is summed is.
        total = None if gradient is None or self.scaled else _values(gradient).sum()
        place = self.phases.index(phase) * len(_KINDS) + 1
        if not isinstance(self.first, Tensor):
            # On a CPU it is read at once, which takes a fifth of the time of computing with scalars.
            if not self.first and not math.isfinite(loss.item()):
                self.first = step * _EACH_STEP + place
            elif not self.first and total is not None and not math.isfinite(total.item()):
                self.first = step * _EACH_STEP + place + 1
            return
        code = self._step * _EACH_STEP + place
        bad = torch.where(torch.isfinite(loss.detach()), 0, code)
        if total is not None:
            bad = torch.where((bad == 0) & ~torch.isfinite(total), code + 1, bad)
        self.first.copy_(torch.where(self.first == 0, bad, self.first))

    def check(self) -> None:
        """Synchronise with the device, and raise if anything recorded so far was non-finite.

        Raises:
            DivergedError: Something was; the message names the first step and phase.
        """
        code = int(self.first) - 1
        if code < 0:
            return
        place, kind = divmod(code, len(_KINDS))
        step, phase = divmod(place, _MOST_PHASES)
        raise DivergedError(
            f"The {_KINDS[kind]} of phase {self.phases[phase]!r} became NaN or infinite at step {step}.",
            hint="A lower learning rate, another --set loss=…, a penalty, or --precision fp32 may help. "
            "`mmgan sample` and `mmgan resume` use the last checkpoint, from before it.",
        )


def _values(gradient: Tensor) -> Tensor:
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def check_scale(player: str, scale: float) -> None:
    """Raise if a gradient is non-finite at any loss scale (fp16): the scaler then halves its scale in vain.

    Raises:
        DivergedError: The scale has fallen below 1.
    """
    if scale < 1:
        raise DivergedError(
            f"The gradient of player {player!r} is NaN or infinite even at a loss scale of {scale:g}.",
            hint="A lower learning rate, another --set loss=…, or --precision bf16 or fp32 may help.",
        )


def check_weights(name: str, module: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Refuse to store a network or an optimizer's state that is not finite.

    Raises:
        DivergedError: A weight, or a tensor of the optimizer's state, is NaN or infinite.
    """
    tensors = list(module.state_dict().items())
    if optimizer is not None:
        tensors += [(f"the optimizer's {key}", state[key]) for _, state, key in moments(optimizer)]
    for key, value in tensors:
        if isinstance(value, Tensor) and not is_finite(value):
            raise DivergedError(
                f"{key!r} of player {name!r} is NaN or infinite; no checkpoint was written.",
                hint="A lower learning rate, another --set loss=…, or --precision fp32 may help.",
            )


def moments(optimizer: torch.optim.Optimizer) -> list[tuple[Tensor, dict[str, Any], str]]:
    """List the tensors in an optimizer's state with their weight's shape: the weight, its state, the key.

    A plugin's own optimizer may keep other things too, which are not checked.
    """
    return [
        (parameter, state, key)
        for parameter, state in optimizer.state.items()
        if isinstance(parameter, Tensor) and isinstance(state, dict)
        for key, value in state.items()
        if isinstance(value, Tensor) and value.shape == parameter.shape
    ]


def is_finite(value: Tensor) -> bool:
    """Whether no element is NaN or infinite; integers always are finite."""
    return not (value.is_floating_point() or value.is_complex()) or bool(torch.isfinite(value).all())
