"""The forms in which each of a convolution's three products can be computed.

A library's convolution is made for large pictures: it blocks over positions and reorders weights for that.
With millions of weights for a few positions, reordering takes most of the time. Then the textbook form is
faster: patches times weights, as one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

from mmgan_convolutions.products import Geometry, Kind, Pair


def library(kind: Kind, a: Tensor, b: Tensor, geometry: Geometry) -> Tensor:
    """Compute a product by torch's own convolutions, in the memory format in which the factors come."""
    _, kernel, stride, padding = geometry
    if kind == "forward":
        return F.conv2d(a, b, None, stride, padding)
    if kind == "input":
        size = (len(a), b.shape[1], *geometry.size)
        return conv2d_input(size, b, a, stride, padding)  # type: ignore[no-untyped-call,no-any-return]
    shape = (a.shape[1], b.shape[1], *kernel)
    return conv2d_weight(b, shape, a, stride, padding)  # type: ignore[no-untyped-call,no-any-return]


def library_channels_last(kind: Kind, a: Tensor, b: Tensor, geometry: Geometry) -> Tensor:
    """Compute a product by torch's own convolutions, channels-last."""
    a, b = (factor.contiguous(memory_format=torch.channels_last) for factor in (a, b))
    return library(kind, a, b, geometry)


def product(kind: Kind, a: Tensor, b: Tensor, geometry: Geometry) -> Tensor:
    """Compute a product with the patches as columns of a matrix."""
    _, kernel, stride, padding = geometry
    if kind == "input":
        # (in · kernel, out) times (out, batch · places): a patch of x for each place.
        columns = b.flatten(1).T @ a.transpose(0, 1).flatten(1)
        # Overlapping patches are added in float32: in half precision each addition would round.
        patches = columns.view(len(columns), len(a), -1).transpose(0, 1)
        patches = patches.float() if a.dtype.itemsize == 2 else patches
        return F.fold(patches, geometry.size, kernel, padding=padding, stride=stride).to(a.dtype)
    x = a if kind == "forward" else b
    # (in · kernel, batch · places): one product for the whole batch.
    columns = F.unfold(x, kernel, padding=padding, stride=stride).transpose(0, 1).flatten(1)
    if kind == "forward":
        y = b.flatten(1) @ columns
        return y.view(len(y), len(x), *geometry.places).transpose(0, 1)
    return (a.transpose(0, 1).flatten(1) @ columns.T).view(a.shape[1], x.shape[1], *kernel)


def product_channels_last(kind: Kind, a: Tensor, b: Tensor, geometry: Geometry) -> Tensor:
    """Compute a product with the patches as rows of a matrix, and channels last in them."""
    _, kernel, stride, padding = geometry
    if kind == "input":
        return _spread(a, b, geometry)
    x = a if kind == "forward" else b
    rows = _windows(x, kernel, stride, padding)
    if kind == "forward":
        y = rows @ b.permute(0, 2, 3, 1).reshape(len(b), -1).T
        return y.view(len(x), *geometry.places, -1).permute(0, 3, 1, 2)
    w = a.permute(0, 2, 3, 1).reshape(-1, a.shape[1]).T @ rows
    return w.view(a.shape[1], *kernel, x.shape[1]).permute(0, 3, 1, 2)


def _windows(x: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
    """Lay out the patch at each place of a filter, channels last: (batch · places, kernel · channels)."""
    edges = (0, 0, padding[1], padding[1], padding[0], padding[0])
    last = F.pad(x.permute(0, 2, 3, 1), edges) if any(edges) else x.permute(0, 2, 3, 1).contiguous()
    n, height, width, channels = last.shape
    places = [(size - k) // s + 1 for size, k, s in zip((height, width), kernel, stride, strict=True)]
    batch, row, column, one = last.stride()
    steps = (batch, row * stride[0], column * stride[1], row, column, one)
    seen = last.as_strided((n, *places, *kernel, channels), steps)
    return seen.reshape(-1, kernel[0] * kernel[1] * channels)


def _spread(y: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
    """Compute x from y and w by phases of the stride.

    Position a · stride + r of x gets y at places a, a - 1, … by the filter's rows r, r + stride, …: a
    convolution of stride 1 with ``taps`` rows, whose outputs are the phases r.
    """
    (height, width), kernel, stride, padding = geometry
    taps = [-(-k // s) for k, s in zip(kernel, stride, strict=True)]
    short = [t * s - k for t, s, k in zip(taps, stride, kernel, strict=True)]
    out, into = w.shape[:2]
    filled = F.pad(w, (0, short[1], 0, short[0])).view(out, into, taps[0], stride[0], taps[1], stride[1])
    # The nearest place comes last in a window: the taps in reverse. (taps · out, phases · in)
    weights = filled.flip(2, 4).permute(2, 4, 0, 3, 5, 1).reshape(-1, stride[0] * stride[1] * into)
    edges = taps[0] - 1, taps[1] - 1
    rows = _windows(y, (taps[0], taps[1]), (1, 1), edges) @ weights
    tall, wide = (places + edge for places, edge in zip(geometry.places, edges, strict=True))
    phases = rows.view(len(y), tall, wide, *stride, into)
    x = phases.transpose(2, 3).reshape(len(y), tall * stride[0], wide * stride[1], into)
    # The padding of x is cut off; positions that no place reaches are 0.
    low, left = padding
    missing = max(0, low + height - x.shape[1]), max(0, left + width - x.shape[2])
    if any(missing):
        x = F.pad(x, (0, 0, 0, missing[1], 0, missing[0]))
    return x[:, low : low + height, left : left + width].contiguous().permute(0, 3, 1, 2)


Form = Callable[[Kind, Tensor, Tensor, Geometry], Tensor]
#: All forms, by name; the first is the library's own choice.
FORMS: dict[str, Form] = {
    "library": library,
    "library, channels-last": library_channels_last,
    "product": product,
    "product, channels-last": product_channels_last,
}
