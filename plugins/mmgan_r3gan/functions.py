"""Convolution and LeakyReLU, each with derivatives of any order that do no more work than they must.

Gradient penalties differentiate twice. torch's own second derivative of a convolution is a convolution with
pictures for filters, group by group, and that of LeakyReLU multiplies by zeros. Here a convolution's
derivatives are its two transposes, and theirs again; LeakyReLU's derivative is a mask, whose own is zero.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from mmgan_convolutions.products import wanted

#: By kind of product a · b: the kinds of its derivatives by a and by b, given the gradient g of the result,
#: and which two of (g, a, b) they multiply. `forward` makes y from pictures x and weights w, `input` x from y
#: and w, `weight` w from x and y.
_DERIVATIVES = {
    "forward": (("input", 0, 2), ("weight", 1, 0)),
    "input": (("forward", 0, 2), ("weight", 0, 1)),
    "weight": (("input", 2, 0), ("forward", 1, 0)),
}


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, groups: int = 1) -> Tensor:
    """Convolve pictures with filters of an odd size, so that the size stays as it is.

    Args:
        x: (batch, in, height, width).
        weight: (out, in / groups, k, k).
        bias: (out,), added to the result.
        groups: The channels are convolved in groups.

    Returns:
        (batch, out, height, width), under autocast in its number format.
    """
    if not torch.is_grad_enabled():
        # So that what is sampled or exported is made of torch's own layers.
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=groups)
    device = x.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    return _Convolution.apply(x, weight, bias, groups)  # type: ignore[no-any-return]


def leaky_relu_(x: Tensor) -> Tensor:
    """Return x where it is positive and 0.2 x elsewhere, in the memory of x."""
    if not torch.is_grad_enabled():
        return F.leaky_relu_(x, 0.2)
    return _LeakyReLU.apply(x)  # type: ignore[no-any-return]


class _Convolution(Function):
    """With its bias, which costs nothing here: the library adds it to a result that is still in registers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups = groups
        return _product("forward", x, weight, groups, weight.shape[2:], bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        rest = ctx.groups, weight.shape[2:]
        # A penalty's inner pass is after the gradient by the pictures alone, and those by weights would take
        # half of its time.
        by_x = _Product.apply("input", gradient, weight, *rest) if wanted(ctx, 0) else None
        by_weight = _Product.apply("weight", x, gradient, *rest) if wanted(ctx, 1) else None
        by_bias = gradient.sum((0, 2, 3)) if wanted(ctx, 2) else None
        return by_x, by_weight, by_bias, None


class _Product(Function):
    @staticmethod
    def forward(ctx: Any, kind: str, a: Tensor, b: Tensor, groups: int, kernel: torch.Size) -> Tensor:
        ctx.kind, ctx.rest = kind, (groups, kernel)
        ctx.save_for_backward(a, b)
        return _product(kind, a, b, groups, kernel)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        factors = (gradient, *ctx.saved_tensors)
        by_a, by_b = (
            _Product.apply(kind, factors[i], factors[j], *ctx.rest) if needed else None
            for (kind, i, j), needed in zip(_DERIVATIVES[ctx.kind], ctx.needs_input_grad[1:3], strict=True)
        )
        return None, by_a, by_b, None, None


def _product(
    kind: str, a: Tensor, b: Tensor, groups: int, kernel: torch.Size, bias: Tensor | None = None
) -> Tensor:
    """Compute one of the three products of x, y and w, in the number format of its factors."""
    padding = kernel[0] // 2
    a = _channels_last(a)
    with torch.autocast(a.device.type, enabled=False):
        if kind == "forward":
            return F.conv2d(a, b, bias, padding=padding, groups=groups)
        if kind == "input":
            return F.conv2d(a, _turned(b, groups), padding=padding, groups=groups)
        if kernel[0] == 1 and groups == 1:
            return (_rows(b).T @ _rows(a))[:, :, None, None]
        size = b.shape[1], a.shape[1] // groups, *kernel
        found: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
            a, size, _channels_last(b), padding=padding, groups=groups
        )
        return found


def _turned(weight: Tensor, groups: int) -> Tensor:
    """Return the filters of the transposed convolution: from outputs to inputs, and the other way round."""
    grouped = weight.view(groups, -1, *weight.shape[1:])
    turned = grouped.transpose(1, 2).flatten(0, 1).flip(2, 3)
    return turned.contiguous(memory_format=torch.channels_last)


def _rows(x: Tensor) -> Tensor:
    """Return pictures as (places, channels): without a copy if they are channels-last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _channels_last(x: Tensor) -> Tensor:
    """Return pictures channels-last. Those of one channel are so by any strides, and are taken for the other
    format unless their strides say so.
    """
    _, channels, height, width = x.shape
    x = x.contiguous(memory_format=torch.channels_last)
    return x.as_strided(x.shape, (height * width, 1, width, 1)) if channels == 1 else x


class _LeakyReLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        F.leaky_relu_(x, 0.2)
        ctx.mark_dirty(x)
        # The result has the argument's sign: the argument need not be kept.
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (result,) = ctx.saved_tensors
        return _Masked.apply(gradient, result.detach())


class _Masked(Function):
    """The gradient where the result is positive, and 0.2 of it elsewhere."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, result: Tensor) -> Tensor:
        ctx.save_for_backward(result)
        return torch.ops.aten.leaky_relu_backward(gradient, result, 0.2, True)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Masked.apply(gradient, *ctx.saved_tensors), None
