"""Convolutions on a CPU whose weights outweigh their pictures, as one matrix product.

A library's convolution is made for large pictures: it blocks over positions and reorders weights for that.
Deep in a network there are millions of weights for a few positions, and most of the time goes into the
reordering. There the textbook's form is faster: patches as the columns of a matrix (``unfold``), times the
weights. Its gradients are matrix products too, and can be differentiated any number of times.

The choice is a fixed rule on shapes, so that two runs with one seed stay equal to the byte. The rule
comes from measurements, which ``benchmarks/convolutions.py`` repeats.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

#: Up to so many positions, of all pictures of a batch together, a product pays from so many weights on.
RULE = {64: 500_000, 256: 4_000_000}


def choose(module: nn.Module) -> None:
    """Let the 2-D convolutions in a network take the faster form wherever the rule says so, in place.

    Weights, names and results stay as they are, to rounding. A subclass of torch's layers is left alone.

    Args:
        module: A network on the CPU.
    """
    for layer in module.modules():
        if type(layer) is nn.Conv2d and _plain(layer):
            layer.__class__ = Convolution
        elif type(layer) is nn.ConvTranspose2d and _plain(layer) and not any(layer.output_padding):
            layer.__class__ = TransposedConvolution


def pays(weight: Tensor, positions: int) -> bool:
    """Return whether a matrix product is faster than the library's convolution.

    Args:
        weight: The layer's weights.
        positions: Places at which the filters are applied, of all pictures of a batch together.
    """
    if weight.device.type != "cpu":
        return False
    return any(positions <= most and weight.numel() >= least for most, least in RULE.items())


def _plain(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    return (
        layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


class Convolution(nn.Conv2d):
    """torch's layer, as a matrix product where that pays."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, in_channels, height, width) to (batch, out_channels, …)."""
        padding: tuple[int, ...] = self.padding  # type: ignore[assignment]  # no text: see `_plain`
        height, width = (
            (size + 2 * edge - kernel) // stride + 1
            for size, edge, kernel, stride in zip(
                input.shape[-2:], padding, self.kernel_size, self.stride, strict=True
            )
        )
        if input.ndim != 4 or not pays(self.weight, len(input) * height * width):
            return super().forward(input)
        patches = F.unfold(input, self.kernel_size, padding=padding, stride=self.stride)
        # One product for the whole batch: (out, in · kernel) times (in · kernel, batch · positions).
        columns = patches.transpose(0, 1).flatten(1)
        product = self.weight.flatten(1) @ columns
        output = product.view(len(product), len(input), height, width).transpose(0, 1)
        return output if self.bias is None else output + self.bias.to(output.dtype).view(-1, 1, 1)


class TransposedConvolution(nn.ConvTranspose2d):
    """torch's layer, as a matrix product where that pays."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (batch, in_channels, height, width) to (batch, out_channels, …)."""
        padding: tuple[int, ...] = self.padding  # type: ignore[assignment]  # no text: see `_plain`
        positions = input.shape[-2] * input.shape[-1]
        if input.ndim != 4 or output_size is not None or not pays(self.weight, len(input) * positions):
            return super().forward(input, output_size)
        size = [
            (side - 1) * stride - 2 * edge + kernel
            for side, stride, edge, kernel in zip(
                input.shape[-2:], self.stride, padding, self.kernel_size, strict=True
            )
        ]
        # (out · kernel, in) times (in, batch · positions): a patch of the output for each position.
        columns = input.transpose(0, 1).flatten(1)
        product = self.weight.flatten(1).T @ columns
        patches = product.view(len(product), len(input), positions).transpose(0, 1)
        output = F.fold(patches, tuple(size), self.kernel_size, padding=padding, stride=self.stride)
        return output if self.bias is None else output + self.bias.to(output.dtype).view(-1, 1, 1)
