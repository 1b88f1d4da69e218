"""Convolutions of signals with a stride of 4 on a CPU, with a quarter to a third of the multiplications.

WaveGAN spends its time in convolutions with a kernel of 25 and a stride of 4. Split into the four phases of
the stride, such a convolution is one of stride 1 with 7 taps and four times the channels. Eight outputs of a
filter of 7 taps take 56 multiplications if computed directly, and 14 by minimal
filtering: evaluate signal and filter at 14 points, multiply, interpolate (Toom 1963; Cook 1966; Winograd
1980, "Arithmetic Complexity of Computations"; for networks Lavin and Gray 2016). The multiplications become
14 matrix products over the channels, which processors are good at.

Rounding grows with the number of points. In float32 the result differs from the plain sum by about 2e-5 of
its standard deviation. bf16 is too inexact for 14 points: there four outputs are computed at ten
points, with 10 multiplications instead of 28, and the result differs by about 0.03 (the plain sum in bf16 by
0.003).

A convolution, its transpose and the gradient by its weights are bilinear, and the derivatives of each are the
other two: so they can be differentiated any number of times, as gradient penalties need.
"""

from __future__ import annotations

import weakref
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from mmgan_convolutions.products import wanted

STRIDE = 4
#: The most taps of a phase for which there are enough points; it limits the kernel.
TAPS = 7
LONGEST = STRIDE * TAPS


class Scheme(NamedTuple):
    """Parameters of minimal filtering for a number format.

    Args:
        tile: Outputs that are computed together. WaveGAN's shortest layer has 16 of them.
        points: Where polynomials are evaluated, besides infinity; ``tile + TAPS - 2`` of them.
    """

    tile: int
    points: tuple[float, ...]


SCHEMES = {
    # Small fractions and their inverses keep rounding small.
    torch.float32: Scheme(8, (0, 1, -1, 1 / 2, -1 / 2, 2, -2, 3 / 4, -3 / 4, 4 / 3, -4 / 3, 1 / 4, -4)),
    # Found by a search among small fractions for the least rounding error, including that of the matrices.
    torch.bfloat16: Scheme(4, (0, 5 / 4, -4 / 3, 3 / 4, -4 / 5, 3 / 8, -1 / 2, 2, -8 / 3)),
}


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, filters: Tensor | None = None) -> Tensor:
    """Convolve with stride 4, as ``conv1d(x, weight, bias, stride=4, padding=(kernel - 3) // 2)``.

    Its gradients must be computed under the same autocast, or under none.

    Args:
        x: (batch, inputs, length), length a multiple of 32 (of 16 in bf16). Its number format, float32 or
            bfloat16, is that of the computation.
        weight: (kernel, inputs, outputs), the kernel odd and at most :data:`LONGEST`. In this order of axes,
            which is TensorFlow's, the weights of a tap are contiguous.
        bias: (outputs,).
        filters: The weights as :class:`Evaluated` gives them; by default they are evaluated here.

    Returns:
        (batch, outputs, length / 4); in memory (batch, length / 4, outputs), as is best for ``x`` too.
    """
    kernel = len(weight)
    filters = _Evaluation.apply(weight, x.dtype) if filters is None else filters
    return _Convolution.apply(x, _tiles(x, kernel), filters, bias, kernel)  # type: ignore[no-any-return]


def convolve_transposed(x: Tensor, weight: Tensor, filters: Tensor | None = None) -> Tensor:
    """Transpose :func:`convolve`: ``conv_transpose1d`` with ``stride=4, output_padding=1``.

    Args:
        x: (batch, inputs, length), length a multiple of 8 (of 4 in bf16).
        weight: (kernel, outputs, inputs).
        filters: As for :func:`convolve`.

    Returns:
        (batch, outputs, 4 * length); in memory (batch, 4 * length, outputs).
    """
    kernel = len(weight)
    filters = _Evaluation.apply(weight, x.dtype) if filters is None else filters
    return _Transpose.apply(x, _tiles_of_output(x, kernel), filters, kernel)  # type: ignore[no-any-return]


class Evaluated:
    """Filters that are evaluated once, though their layer is applied several times before a backward pass.

    So their gradients are propagated to the weights once, too. Filters are kept from a layer's first
    application until a backward pass reaches the weights, or the weights' version changes; torch's fused
    optimizers don't change the version, but step after a backward pass. For frozen weights nothing is kept.
    """

    def __init__(self) -> None:
        # The weight is kept too, or another one could get its id.
        self.known: dict[tuple[int, torch.dtype], tuple[Tensor, int, Tensor]] = {}

    def filters(self, weight: Tensor, dtype: torch.dtype, taps_first: bool) -> Tensor:
        """Return a layer's filters for a number format.

        Args:
            weight: The layer's parameter.
            dtype: float32 or bfloat16.
            taps_first: Whether it is (kernel, inputs, outputs), and not in torch's order.
        """
        ordered = weight if taps_first else weight.permute(2, 1, 0)
        # Weights that are not leaves, such as a parametrised layer's, are computed anew for each application.
        if not (weight.requires_grad and weight.is_leaf and torch.is_grad_enabled()):
            return _Evaluation.apply(ordered, dtype)  # type: ignore[no-any-return]
        key = id(weight), dtype
        kept, version, filters = self.known.get(key, (None, 0, weight))
        if kept is not weight or version != weight._version:
            filters = _Evaluation.apply(ordered, dtype, partial(_forget, weakref.ref(self), key))
            self.known[key] = weight, weight._version, filters
        return filters


def _forget(evaluated: weakref.ref[Evaluated], key: tuple[int, torch.dtype]) -> None:
    # Weakly, since the cached filters hold the graph, which holds this.
    keeper = evaluated()
    if keeper is not None:
        keeper.known.pop(key, None)


class _Evaluation(Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, dtype: torch.dtype, forget: Any = None) -> Tensor:
        ctx.kernel, ctx.dtype, ctx.forget = len(weight), weight.dtype, forget
        return _evaluate(weight.to(dtype))

    @staticmethod
    def backward(ctx: Any, filters: Tensor) -> Any:
        if ctx.forget is not None:
            ctx.forget()
        return _EvaluationTransposed.apply(filters, ctx.kernel, ctx.dtype), None, None


class _EvaluationTransposed(Function):
    @staticmethod
    def forward(ctx: Any, filters: Tensor, kernel: int, dtype: torch.dtype) -> Tensor:
        ctx.dtype = filters.dtype
        return _gather(filters, kernel).to(dtype)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> Any:
        return _Evaluation.apply(weight, ctx.dtype), None, None


# Each of these three takes signals twice: as they are, for autograd, and as tiles evaluated at the points,
# which are computed once for all products that use them.


class _Convolution(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, tiles: Tensor, filters: Tensor, bias: Tensor | None, kernel: int
    ) -> Tensor:
        ctx.save_for_backward(x, tiles, filters)
        ctx.kernel = kernel
        return _interpolate(torch.bmm(tiles, filters), len(x), kernel, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, tiles, filters = ctx.saved_tensors
        grads = _tiles_of_output(grad, ctx.kernel)
        by_x = _Transpose.apply(grad, grads, filters, ctx.kernel) if wanted(ctx, 0) else None
        by_filters = _Correlation.apply(x, tiles, grad, grads, ctx.kernel) if wanted(ctx, 2) else None
        by_bias = grad.sum((0, 2)) if wanted(ctx, 3) else None
        return by_x, None, by_filters, by_bias, None


class _Transpose(Function):
    """The transpose of a convolution, which is its gradient by the input."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, grads: Tensor, filters: Tensor, kernel: int) -> Tensor:
        ctx.save_for_backward(grad, grads, filters)
        ctx.kernel = kernel
        return _overlap(torch.bmm(grads, filters.transpose(1, 2)), len(grad), kernel)

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> Any:
        grad, grads, filters = ctx.saved_tensors
        tiles = _tiles(x, ctx.kernel)
        by_grad = _Convolution.apply(x, tiles, filters, None, ctx.kernel) if wanted(ctx, 0) else None
        by_filters = _Correlation.apply(x, tiles, grad, grads, ctx.kernel) if wanted(ctx, 2) else None
        return by_grad, None, by_filters, None


class _Correlation(Function):
    """A convolution's gradient by its evaluated filters."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tiles: Tensor, grad: Tensor, grads: Tensor, kernel: int) -> Tensor:
        ctx.save_for_backward(x, tiles, grad, grads)
        ctx.kernel = kernel
        return torch.bmm(tiles.transpose(1, 2), grads)

    @staticmethod
    def backward(ctx: Any, filters: Tensor) -> Any:
        x, tiles, grad, grads = ctx.saved_tensors
        by_x = _Transpose.apply(grad, grads, filters, ctx.kernel) if wanted(ctx, 0) else None
        by_grad = _Convolution.apply(x, tiles, filters, None, ctx.kernel) if wanted(ctx, 2) else None
        return by_x, None, by_grad, None, None


# The linear maps. Signals are transposed to (batch, length, channels) first, where the phases of a stride
# are adjacent; tiles are (points, batch * tiles, channels), ready for a matrix product at each point.


@torch.no_grad()
def _evaluate(weight: Tensor) -> Tensor:
    """Evaluate filters at the points: (points, 4 * inputs, outputs)."""
    kernel, inputs, outputs = weight.shape
    at = _matrices(kernel, weight.dtype).filters
    whole = kernel // STRIDE
    filters = at[:, :whole] @ weight[: whole * STRIDE].reshape(whole, -1)
    filters = filters.view(-1, STRIDE * inputs, outputs)
    # The first phases have one tap more.
    rest = at[:, whole:] @ weight[whole * STRIDE :].reshape(1, -1)
    rest = rest.view(len(at), -1, outputs)
    filters[:, : rest.shape[1]].add_(rest)
    return filters


@torch.no_grad()
def _gather(filters: Tensor, kernel: int) -> Tensor:
    """Transpose :func:`_evaluate`: (kernel, inputs, outputs)."""
    points, phases, outputs = filters.shape
    weight = _matrices(kernel, filters.dtype).filters.T @ filters.reshape(points, -1)
    # A phase may have fewer taps than the longest one: those at the end are not part of the kernel.
    return weight.view(-1, phases // STRIDE, outputs)[:kernel]


@torch.no_grad()
def _tiles(x: Tensor, kernel: int) -> Tensor:
    """Cut a signal into overlapping tiles and evaluate them: (points, batch * tiles, 4 * inputs)."""
    batch, inputs, length = x.shape
    at = _matrices(kernel, x.dtype)
    points, tile, phases = len(at.signal), len(at.output), STRIDE * inputs
    tiles = length // (STRIDE * tile)
    start, stop = _padding(kernel), _padding(kernel) + length
    rows = x.new_empty(batch, length + STRIDE * (_taps(kernel) - 1), inputs)
    rows[:, :start], rows[:, start:stop], rows[:, stop:] = 0, x.transpose(1, 2), 0
    cut = rows.as_strided((points, batch, tiles, phases), (phases, rows.stride(0), tile * phases, 1))
    return (at.signal @ cut.reshape(points, -1)).view(points, -1, phases)


def _overlap(products: Tensor, batch: int, kernel: int) -> Tensor:
    """Transpose :func:`_tiles`, adding where tiles overlap: (batch, inputs, length)."""
    points, count, phases = products.shape
    at = _matrices(kernel, products.dtype)
    tile, tiles = len(at.output), count // batch
    cut = (at.signal.T @ products.view(points, -1)).view(points, batch, tiles, phases)
    rows = cut.new_empty(batch, tile * tiles + points - tile, phases)
    rows[:, : tile * tiles].view(batch, tiles, tile, phases).copy_(cut[:tile].permute(1, 2, 0, 3))
    rows[:, tile * tiles :] = 0
    strides = (phases, rows.stride(0), tile * phases, 1)
    # A tile may reach beyond the next one; tiles that are added at once must not overlap.
    for first in range(tile, points, tile):
        more = cut[first : first + tile]
        rows.as_strided(more.shape, strides, first * phases).add_(more)
    start, length = _padding(kernel), STRIDE * tile * tiles
    return rows.view(batch, -1, phases // STRIDE)[:, start : start + length].transpose(1, 2)


def _interpolate(products: Tensor, batch: int, kernel: int, bias: Tensor | None) -> Tensor:
    """Turn products into outputs: (batch, outputs, length / 4)."""
    points, count, outputs = products.shape
    output = _matrices(kernel, products.dtype).output
    length = len(output) * count // batch
    found = (output @ products.view(points, -1)).view(len(output), batch, -1, outputs)
    found = found.permute(1, 2, 0, 3)
    # Not a view, so that an activation may be computed in place.
    result = found.new_empty_strided((batch, outputs, length), (length * outputs, 1, outputs))
    rows = result.transpose(1, 2).view(found.shape)
    if bias is None:
        rows.copy_(found)
    else:
        torch.add(found, bias.to(found.dtype), out=rows)
    return result


@torch.no_grad()
def _tiles_of_output(grad: Tensor, kernel: int) -> Tensor:
    """Transpose :func:`_interpolate`: (points, batch * tiles, outputs)."""
    batch, outputs, length = grad.shape
    back = _matrices(kernel, grad.dtype).output.T
    tile = back.shape[1]
    cut = grad.transpose(1, 2).reshape(batch, length // tile, tile, outputs).permute(2, 0, 1, 3)
    return (back @ cut.reshape(tile, -1)).view(len(back), -1, outputs)


def _taps(kernel: int) -> int:
    """Return the taps of the first phase, which has the most."""
    return -(-kernel // STRIDE)


def _padding(kernel: int) -> int:
    return (kernel - STRIDE + 1) // 2


class _Matrices(NamedTuple):
    """The matrices that evaluate a tile of the signal, evaluate a filter, and interpolate.

    Args:
        signal: (points, points).
        filters: (points, taps).
        output: (tile, points).
    """

    signal: Tensor
    filters: Tensor
    output: Tensor


@cache
def _matrices(kernel: int, dtype: torch.dtype) -> _Matrices:
    """Return the matrices for a kernel in a number format.

    The product of two polynomials, of degrees ``tile - 1`` and ``taps - 1``, is determined by its values at
    ``points`` places: that is a full convolution. Its transpose is what networks call a convolution.
    """
    taps, tile = _taps(kernel), SCHEMES[dtype].tile
    points = tile + taps - 1
    at = torch.tensor(SCHEMES[dtype].points[: points - 1], dtype=torch.float64)

    def values(coefficients: int) -> Tensor:
        infinity = torch.zeros(1, coefficients, dtype=torch.float64)
        infinity[0, -1] = 1
        return torch.cat([at[:, None] ** torch.arange(coefficients), infinity])

    signal, filters, output = torch.linalg.inv(values(points)).T, values(taps), values(tile).T
    # The scale of each point is free: it is spread evenly over the three, so that no factor is large.
    scales = signal.norm(dim=1), filters.norm(dim=1), output.norm(dim=0)
    even = (scales[0] * scales[1] * scales[2]) ** (1 / 3)
    signal *= (even / scales[0])[:, None]
    filters *= (even / scales[1])[:, None]
    output *= even / scales[2]
    if dtype == torch.bfloat16:
        _scale_for_rounding(signal, filters, output)
    return _Matrices(signal.to(dtype), filters.to(dtype), output.to(dtype))


def _scale_for_rounding(signal: Tensor, filters: Tensor, output: Tensor) -> None:
    """Change the scales of the points, in place, so that bf16 rounds the matrices least.

    The entries are small fractions, which the right scale turns into integers.
    """

    def lost(values: Tensor) -> Tensor:
        difference = values.bfloat16().double() - values
        return difference.square().sum(-1) / values.square().sum(-1)

    # From 1 to 2, since powers of two change nothing, with thirds and fifths among them.
    scales = 1 + torch.arange(60, dtype=torch.float64)[:, None, None] / 60
    signal_s, output_s = scales[:, None], scales
    # (scale of the signal, scale of the output, point)
    total = lost(signal * signal_s) + lost(output.T * output_s) + lost(filters / (signal_s * output_s))
    best = total.flatten(0, 1).argmin(0)
    by_signal, by_output = scales[best // len(scales), 0], scales[best % len(scales), 0]
    signal *= by_signal
    output *= by_output.T
    filters /= by_signal * by_output
