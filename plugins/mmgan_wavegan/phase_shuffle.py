"""Phase shuffle (Donahue et al. 2019, section 3.3): a critic's signals, shifted at random.

The shift is a function of its own since it is one copy that way, in whatever order of axes the signals lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def phase_shuffle(x: Tensor, n: int, draws: int = 1) -> Tensor:
    """Shift signals by a random number of samples from -n to n, reflecting at the edges.

    So the critic can't tell a generated sound by the phase at which upsampling leaves its noise.

    Args:
        x: (batch, channels, length), length greater than n.
        n: Greatest shift; 0 shuffles nothing.
        draws: How many shifts are drawn, each for an equal part of the batch: 1 for all together, as in the
            paper's code, or one for each signal.
    """
    if n == 0:
        return x
    if x.device.type == "cuda":
        # Python does not read the shifts: it would wait for the GPU, and a CUDA graph would repeat them.
        return gathered(x, torch.randint(-n, n + 1, (draws,), device=x.device))
    shifts = torch.randint(-n, n + 1, (draws,)).tolist()
    return shift(x, shifts) if any(shifts) else x


def gathered(x: Tensor, shifts: Tensor) -> Tensor:
    """Do what :func:`shift` does, by shifts that stay on the device: int64 (parts,)."""
    last = x.shape[-1] - 1
    # A position that is left of 0 or right of the last one is reflected.
    places = (torch.arange(last + 1, device=x.device) - shifts[:, None]).abs()
    places = last - (last - places).abs()
    if len(shifts) == 1:
        return x.index_select(-1, places[0])
    part = torch.arange(len(x), device=x.device) // -(-len(x) // len(shifts))
    return x.gather(-1, places[part][:, None].expand_as(x))


def shift(x: Tensor, shifts: list[int]) -> Tensor:
    """Shift signals to the right (to the left where negative), reflecting at the edges.

    Args:
        x: (batch, channels, length).
        shifts: One for each equal part of the batch. [0..5] by 2 is [2, 1, 0, 1, 2, 3].
    """
    return _Shift.apply(x, shifts)  # type: ignore[no-any-return]


class _Shift(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shifts: list[int]) -> Tensor:
        ctx.shifts = shifts
        result = torch.empty_like(x)
        for part, into, by in _parts(x, result, shifts):
            if by > 0:
                into[..., by:] = part[..., :-by]
                into[..., :by] = part[..., 1 : by + 1].flip(-1)
            elif by < 0:
                into[..., :by] = part[..., -by:]
                into[..., by:] = part[..., by - 1 : -1].flip(-1)
            else:
                into.copy_(part)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _ShiftTransposed.apply(grad, ctx.shifts), None


class _ShiftTransposed(Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, shifts: list[int]) -> Tensor:
        ctx.shifts = shifts
        result = torch.empty_like(grad)
        for part, into, by in _parts(grad, result, shifts):
            if by > 0:
                into[..., :-by], into[..., -by:] = part[..., by:], 0
                into[..., 1 : by + 1] += part[..., :by].flip(-1)
            elif by < 0:
                into[..., -by:], into[..., :-by] = part[..., :by], 0
                into[..., by - 1 : -1] += part[..., by:].flip(-1)
            else:
                into.copy_(part)
        return result

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> Any:
        return _Shift.apply(x, ctx.shifts), None


def _parts(x: Tensor, result: Tensor, shifts: list[int]) -> Iterator[tuple[Tensor, Tensor, int]]:
    return zip(x.chunk(len(shifts)), result.chunk(len(shifts)), shifts, strict=True)
