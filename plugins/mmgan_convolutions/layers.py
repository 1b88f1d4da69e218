"""torch's 2-D convolutions, in the form that a plan chooses; and the choice of a network's layers for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmgan_convolutions.plan import Plan
from mmgan_convolutions.planned import Planned, is_plain, number_format
from mmgan_convolutions.products import Geometry, Pair
from mmgan_convolutions.signals import planned_class

__all__ = ["Convolution", "Planned", "TransposedConvolution", "choose", "number_format"]


def choose(module: nn.Module, plan: Plan) -> None:
    """Make a network's convolutions, and all layers that are :class:`Planned`, follow a plan, in place.

    Weights, names and results stay as they are, up to rounding. Subclasses of torch's layers are left alone
    (but see ``signals.py``), and so are convolutions that are not products: those with groups, dilation, or
    padding other than zeros.

    Args:
        module: A network on the CPU.
        plan: Chooses the forms; all networks of a run share it.
    """
    for layer in module.modules():
        if type(layer) is nn.Conv2d and is_plain(layer):
            layer.__class__ = Convolution
        elif type(layer) is nn.ConvTranspose2d and is_plain(layer):
            layer.__class__ = TransposedConvolution
        elif ours := planned_class(layer):
            layer.__class__ = ours
        if isinstance(layer, Planned):
            layer.plan = plan


class Convolution(Planned, nn.Conv2d):
    """torch's layer by a plan."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, in_channels, height, width) to (batch, out_channels, …)."""
        if input.ndim != 4:
            return super().forward(input)
        geometry = Geometry(_pair(input.shape[-2:]), *_window(self))
        output = self.by_plan("forward", input, self.weight, geometry)
        return super().forward(input) if output is None else _biased(output, self.bias)


class TransposedConvolution(Planned, nn.ConvTranspose2d):
    """torch's layer by a plan."""

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
        output = self.by_plan("input", input, self.weight, Geometry(_pair(size), kernel, stride, padding))
        return super().forward(input) if output is None else _biased(output, self.bias)


def _window(layer: Convolution | TransposedConvolution) -> tuple[Pair, Pair, Pair]:
    """Return kernel, stride and padding."""
    assert not isinstance(layer.padding, str)  # see `is_plain`
    return _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding)


def _pair(values: torch.Size | tuple[int, ...] | list[int]) -> Pair:
    height, width = values
    return height, width


def _biased(output: Tensor, bias: Tensor | None) -> Tensor:
    return output if bias is None else output + bias.to(output.dtype).view(-1, 1, 1)
