"""Convolutions of stride 4 on a CPU, with a quarter of the multiplications.

WaveGAN spends its time in convolutions with a kernel of 25 and a stride of 4. Taken apart into the four
phases of the stride, such a convolution is one of stride 1 with 7 taps and four times the channels. Eight
outputs of a filter of 7 taps take 56 multiplications as they are usually computed, and 14 by minimal
filtering: evaluate signal and filter at 14 points, multiply, interpolate (Toom 1963; Cook 1966; Winograd
1980, "Arithmetic Complexity of Computations"; for networks Lavin and Gray 2016). The multiplications become
14 matrix products over the channels, which is what a processor does best.

In float32 the result differs from the plain sum by about 2e-5 of its standard deviation, where bf16 rounds to
3e-3.

A convolution, its transpose and the gradient of its weights are bilinear, and the derivatives of each are the
other two: so they can be differentiated any number of times, as gradient penalties need.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

STRIDE = 4
#: Outputs that are computed together. WaveGAN's shortest layer has 16.
TILE = 8
#: Where polynomials are evaluated, beside infinity: small fractions and their inverses keep rounding small.
POINTS = (0, 1, -1, 1 / 2, -1 / 2, 2, -2, 3 / 4, -3 / 4, 4 / 3, -4 / 3, 1 / 4, -4)
#: The longest kernel that there are enough points for.
LONGEST = STRIDE * (len(POINTS) + 2 - TILE)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve with stride 4, as ``conv1d(x, weight, bias, stride=4, padding=(kernel - 3) // 2)``.

    Args:
        x: (batch, inputs, length), length a multiple of 32.
        weight: (kernel, inputs, outputs), the kernel odd and at most :data:`LONGEST`. In this order of axes,
            which is TensorFlow's, the weights of a tap lie together.
        bias: (outputs,).

    Returns:
        (batch, outputs, length / 4); in memory (batch, length / 4, outputs), as is best for ``x`` too.
    """
    kernel = len(weight)
    return _Convolution.apply(x, _tiles(x, kernel), weight, _evaluate(weight), bias)  # type: ignore[no-any-return]


def convolve_transposed(x: Tensor, weight: Tensor) -> Tensor:
    """Transpose :func:`convolve`: ``conv_transpose1d`` with ``stride=4, output_padding=1``.

    Args:
        x: (batch, inputs, length), length a multiple of 8.
        weight: (kernel, outputs, inputs).

    Returns:
        (batch, outputs, 4 * length); in memory (batch, 4 * length, outputs).
    """
    kernel = len(weight)
    return _Transpose.apply(x, _tiles_of_output(x, kernel), weight, _evaluate(weight))  # type: ignore[no-any-return]


# Each of the three takes its operands twice: as they are, for autograd, and evaluated at the points, which is
# done once however many products an operand is part of.


class _Convolution(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, tiles: Tensor, weight: Tensor, filters: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, tiles, weight, filters)
        return _interpolate(torch.bmm(tiles, filters), len(x), len(weight), bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, tiles, weight, filters = ctx.saved_tensors
        grads = _tiles_of_output(grad, len(weight))
        by_x = _Transpose.apply(grad, grads, weight, filters) if _wanted(ctx, 0) else None
        by_weight = _WeightGradient.apply(x, tiles, grad, grads, len(weight)) if _wanted(ctx, 2) else None
        by_bias = grad.sum((0, 2)) if _wanted(ctx, 4) else None
        return by_x, None, by_weight, None, by_bias


class _Transpose(Function):
    """The transpose of a convolution, which is its gradient by the input."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, grads: Tensor, weight: Tensor, filters: Tensor) -> Tensor:
        ctx.save_for_backward(grad, grads, weight, filters)
        return _overlap(torch.bmm(grads, filters.transpose(1, 2)), len(grad), len(weight))

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> Any:
        grad, grads, weight, filters = ctx.saved_tensors
        tiles = _tiles(x, len(weight))
        by_grad = _Convolution.apply(x, tiles, weight, filters, None) if _wanted(ctx, 0) else None
        by_weight = _WeightGradient.apply(x, tiles, grad, grads, len(weight)) if _wanted(ctx, 2) else None
        return by_grad, None, by_weight, None


class _WeightGradient(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tiles: Tensor, grad: Tensor, grads: Tensor, kernel: int) -> Tensor:
        ctx.save_for_backward(x, tiles, grad, grads)
        products = torch.bmm(tiles.transpose(1, 2), grads)
        weight = _matrices(kernel)[1].T @ products.view(len(products), -1)
        # A phase may have fewer taps than the longest one: those at the end are no part of the kernel.
        return weight.view(-1, x.shape[1], grad.shape[1])[:kernel]

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> Any:
        x, tiles, grad, grads = ctx.saved_tensors
        filters = _evaluate(weight)
        by_x = _Transpose.apply(grad, grads, weight, filters) if _wanted(ctx, 0) else None
        by_grad = _Convolution.apply(x, tiles, weight, filters, None) if _wanted(ctx, 2) else None
        return by_x, None, by_grad, None, None


def _wanted(ctx: Any, index: int) -> bool:
    """Whether the present backward pass needs a gradient: the inner one of a penalty needs no weights'.

    torch's own functions know that; one written in Python is told by a private function alone. Should it go
    away one day, gradients that nobody needs cost a tenth of the time again, and nothing else changes.
    """
    if not ctx.needs_input_grad[index]:
        return False
    will_run = getattr(torch._C, "_will_engine_execute_node", None)
    try:
        return will_run is None or will_run(ctx.next_functions[index][0])
    except RuntimeError:
        # It refuses to speak of a leaf whose gradient is what is asked for.
        return True


# The four linear maps. Signals are turned to (batch, length, channels) first, in which the phases of a stride
# lie side by side; tiles are (points, batch * tiles, channels), ready for a matrix product at each point.


@torch.no_grad()
def _evaluate(weight: Tensor) -> Tensor:
    """Evaluate filters at the points: (points, 4 * inputs, outputs)."""
    kernel, inputs, outputs = weight.shape
    at = _matrices(kernel)[1]
    whole = kernel // STRIDE
    filters = at[:, :whole] @ weight[: whole * STRIDE].reshape(whole, -1)
    filters = filters.view(-1, STRIDE * inputs, outputs)
    # The first phases have one tap more.
    rest = at[:, whole:] @ weight[whole * STRIDE :].reshape(1, -1)
    rest = rest.view(len(at), -1, outputs)
    filters[:, : rest.shape[1]].add_(rest)
    return filters


@torch.no_grad()
def _tiles(x: Tensor, kernel: int) -> Tensor:
    """Cut a signal into overlapping tiles and evaluate them: (points, batch * tiles, 4 * inputs)."""
    batch, inputs, length = x.shape
    points, tiles, phases = TILE + _taps(kernel) - 1, length // (STRIDE * TILE), STRIDE * inputs
    start, stop = _padding(kernel), _padding(kernel) + length
    rows = x.new_empty(batch, length + STRIDE * (_taps(kernel) - 1), inputs)
    rows[:, :start], rows[:, start:stop], rows[:, stop:] = 0, x.transpose(1, 2), 0
    cut = rows.as_strided((points, batch, tiles, phases), (phases, rows.stride(0), TILE * phases, 1))
    return (_matrices(kernel)[0] @ cut.reshape(points, -1)).view(points, -1, phases)


def _overlap(products: Tensor, batch: int, kernel: int) -> Tensor:
    """Transpose :func:`_tiles`, adding where tiles overlap: (batch, inputs, length)."""
    points, count, phases = products.shape
    tiles = count // batch
    cut = (_matrices(kernel)[0].T @ products.view(points, -1)).view(points, batch, tiles, phases)
    rows = cut.new_empty(batch, TILE * tiles + points - TILE, phases)
    rows[:, : TILE * tiles].view(batch, tiles, TILE, phases).copy_(cut[:TILE].permute(1, 2, 0, 3))
    rows[:, TILE * tiles :] = 0
    strides = (phases, rows.stride(0), TILE * phases, 1)
    rows.as_strided((points - TILE, batch, tiles, phases), strides, TILE * phases).add_(cut[TILE:])
    start, length = _padding(kernel), STRIDE * TILE * tiles
    return rows.view(batch, -1, phases // STRIDE)[:, start : start + length].transpose(1, 2)


def _interpolate(products: Tensor, batch: int, kernel: int, bias: Tensor | None) -> Tensor:
    """Turn products into outputs: (batch, outputs, length / 4)."""
    points, count, outputs = products.shape
    length = TILE * count // batch
    found = (_matrices(kernel)[2] @ products.view(points, -1)).view(TILE, batch, -1, outputs)
    found = found.permute(1, 2, 0, 3)
    # Not a view, so that an activation may be computed in place.
    result = found.new_empty_strided((batch, outputs, length), (length * outputs, 1, outputs))
    rows = result.transpose(1, 2).view(found.shape)
    if bias is None:
        rows.copy_(found)
    else:
        torch.add(found, bias, out=rows)
    return result


@torch.no_grad()
def _tiles_of_output(grad: Tensor, kernel: int) -> Tensor:
    """Transpose :func:`_interpolate`: (points, batch * tiles, outputs)."""
    batch, outputs, length = grad.shape
    cut = grad.transpose(1, 2).reshape(batch, length // TILE, TILE, outputs).permute(2, 0, 1, 3)
    back = _matrices(kernel)[2].T
    return (back @ cut.reshape(TILE, -1)).view(len(back), -1, outputs)


def _taps(kernel: int) -> int:
    """Return the taps of the first phase, which has the most."""
    return -(-kernel // STRIDE)


def _padding(kernel: int) -> int:
    return (kernel - STRIDE + 1) // 2


@cache
def _matrices(kernel: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return what evaluates a tile of the signal, what evaluates a filter, and what interpolates.

    The product of two polynomials, of degrees ``TILE - 1`` and ``taps - 1``, is known by its values at
    ``points`` places: that is a full convolution. Transposed, it is what networks call a convolution.

    Returns:
        (points, points), (points, taps) and (TILE, points).
    """
    taps = _taps(kernel)
    points = TILE + taps - 1
    at = torch.tensor(POINTS[: points - 1], dtype=torch.float64)

    def values(coefficients: int) -> Tensor:
        infinity = torch.zeros(1, coefficients, dtype=torch.float64)
        infinity[0, -1] = 1
        return torch.cat([at[:, None] ** torch.arange(coefficients), infinity])

    signal, filters, output = torch.linalg.inv(values(points)).T, values(taps), values(TILE).T
    # The scale of each point is free: spread evenly over the three, no factor is large.
    scales = signal.norm(dim=1), filters.norm(dim=1), output.norm(dim=0)
    even = (scales[0] * scales[1] * scales[2]) ** (1 / 3)
    signal *= (even / scales[0])[:, None]
    filters *= (even / scales[1])[:, None]
    output *= even / scales[2]
    return signal.float(), filters.float(), output.float()
