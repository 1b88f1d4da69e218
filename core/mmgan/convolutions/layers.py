"""torch's 2-D convolutions, in the form that a plan chooses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmgan.convolutions.plan import Plan
from mmgan.convolutions.products import Geometry, Kind, Pair, Product


def choose(module: nn.Module, plan: Plan) -> None:
    """Let the 2-D convolutions in a network go by a plan, in place.

    Weights, names and results stay as they are, to rounding. A subclass of torch's layers is left alone, and
    so is what no product can be: groups, dilation, other padding than zeros.

    Args:
        module: A network on the CPU.
        plan: Chooses the forms; all networks of a run have the same one.
    """
    for layer in module.modules():
        if type(layer) is nn.Conv2d and _plain(layer):
            layer.__class__ = Convolution
        elif type(layer) is nn.ConvTranspose2d and _plain(layer):
            layer.__class__ = TransposedConvolution
        if isinstance(layer, Convolution | TransposedConvolution):
            layer.plan = plan


def _plain(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    return (
        layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


class Convolution(nn.Conv2d):
    """torch's layer by a plan."""

    plan: Plan

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, in_channels, height, width) to (batch, out_channels, …)."""
        if input.ndim != 4:
            return super().forward(input)
        geometry = Geometry(_pair(input.shape[-2:]), *_window(self))
        if self.plan.leaves(self.weight, _dtype(self.weight), geometry.places_in(len(input))):
            return super().forward(input)
        return _computed(self, "forward", input, geometry)


class TransposedConvolution(nn.ConvTranspose2d):
    """torch's layer by a plan."""

    plan: Plan

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (batch, in_channels, height, width) to (batch, out_channels, …)."""
        if input.ndim != 4 or output_size is not None:
            return super().forward(input, output_size)
        kernel, stride, padding = _window(self)
        size = [
            (side - 1) * step - 2 * edge + length + more
            for side, step, edge, length, more in zip(
                input.shape[-2:], stride, padding, kernel, self.output_padding, strict=True
            )
        ]
        geometry = Geometry(_pair(size), kernel, stride, padding)
        if self.plan.leaves(self.weight, _dtype(self.weight), geometry.places_in(len(input))):
            return super().forward(input)
        return _computed(self, "input", input, geometry)


Layer = Convolution | TransposedConvolution


def _window(layer: Layer) -> tuple[Pair, Pair, Pair]:
    """Return kernel, stride and padding."""
    assert not isinstance(layer.padding, str)  # see `_plain`
    return _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding)


def _pair(values: torch.Size | tuple[int, ...] | list[int]) -> Pair:
    height, width = values
    return height, width


def _dtype(weight: Tensor) -> torch.dtype:
    """Return the number format in which a layer computes: autocast's, where that is on."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype


def _computed(layer: Layer, kind: Kind, input: Tensor, geometry: Geometry) -> Tensor:
    dtype = _dtype(layer.weight)
    factors = input.to(dtype), layer.weight.to(dtype)
    output: Tensor = Product.apply(kind, *factors, geometry, layer.plan, torch.is_grad_enabled())
    return output if layer.bias is None else output + layer.bias.to(dtype).view(-1, 1, 1)
