"""Noticing NaN and infinity at once, without making a GPU wait."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmgan.errors import DivergedError

_KINDS = ("loss", "gradient")
_MOST_PHASES = 1000


class FiniteWatch:
    """Notes on the device itself the first loss or gradient that is not finite, and where it came from.

    Args:
        device: Where losses live.
        scaled: Whether gradients are scaled (fp16): an infinite one is then ordinary, and the scaler skips
            its update.
    """

    def __init__(self, device: torch.device, scaled: bool = False) -> None:
        self.scaled = scaled
        self.one = torch.ones((), device=device)
        #: 0, or a number that holds the step, the phase and the kind of what was first not finite.
        self.first = torch.zeros((), dtype=torch.int64, device=device)
        self.phases: list[str] = []

    def note(self, step: int, phase: str, loss: Tensor, gradients: list[Tensor]) -> None:
        """Look at one update's loss and gradients. Nothing is read back here."""
        if phase not in self.phases:
            self.phases.append(phase)
        code = (step * _MOST_PHASES + self.phases.index(phase)) * len(_KINDS) + 1
        bad_loss = ~torch.isfinite(loss.detach())
        bad_gradient = torch.zeros_like(self.one)
        if not self.scaled:
            # What a gradient scaler calls: one pass over all gradients, here with a scale of 1. It reads each
            # once, where a norm of each takes three times as long.
            for alike in _by_dtype(gradients).values():
                torch._amp_foreach_non_finite_check_and_unscale_(alike, bad_gradient, self.one)
        found = torch.where(bad_loss, code, (code + 1) * bad_gradient.long())
        self.first = torch.where(self.first == 0, found, self.first)

    def check(self) -> None:
        """Wait for the device and raise if anything noted so far was not finite.

        Raises:
            DivergedError: It was; the message names the first step and phase.
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


def _by_dtype(gradients: list[Tensor]) -> dict[torch.dtype, list[Tensor]]:
    """Group gradients for the pass over them, which takes neither sparse nor complex ones as they are."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for gradient in gradients:
        dense = gradient.coalesce().values() if gradient.is_sparse else gradient
        real = torch.view_as_real(dense) if dense.is_complex() else dense
        groups.setdefault(real.dtype, []).append(real)
    return groups


def check_scale(player: str, scale: float) -> None:
    """Notice a gradient that is not finite at any loss scale (fp16): the scaler halves its scale for nothing.

    Raises:
        DivergedError: The scale has fallen below 1.
    """
    if scale < 1:
        raise DivergedError(
            f"The gradient of player {player!r} is NaN or infinite even at a loss scale of {scale:g}.",
            hint="A lower learning rate, another --set loss=…, or --precision bf16 or fp32 may help.",
        )


def check_weights(name: str, module: nn.Module) -> None:
    """Refuse to store weights that are not finite.

    Raises:
        DivergedError: A weight is NaN or infinite.
    """
    for key, value in module.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise DivergedError(
                f"{key!r} of player {name!r} is NaN or infinite; no checkpoint was written.",
                hint="A lower learning rate, another --set loss=…, or --precision fp32 may help.",
            )
