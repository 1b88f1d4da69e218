"""What WaveGAN's networks are made of: strided convolutions with long filters.

Signals are (batch, channels, length). Weights are kept as (kernel, inputs, outputs), as TensorFlow and so the
paper's code do.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Convolution(nn.Conv1d):
    """A convolution that divides the length by its stride.

    The padding is torch's symmetric one, (kernel - stride + 1) / 2 on either side; TensorFlow's, which the
    paper's code uses, has one zero less before the signal (10 and 11 for a kernel of 25).

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: Its length, odd.
        stride: 1, 2 or 4.
    """

    #: For mmgan_convolutions: how the weights are kept, and that a critic bears bf16's rounding.
    taps_first, coarse = True, True

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=(kernel - stride + 1) // 2)

    def reset_parameters(self) -> None:
        """Draw the weights as the paper does; no bias yet."""
        self.weight = nn.Parameter(glorot(self.kernel_size[0], self.in_channels, self.out_channels))
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, length) to (batch, outputs, length / stride)."""
        return F.conv1d(x, self.weight.permute(2, 1, 0), self.bias, self.stride, self.padding)


class TransposedConvolution(nn.ConvTranspose1d):
    """A convolution that multiplies the length by its stride: the transpose of :class:`Convolution`.

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: Its length, odd.
        stride: 2 or 4.
    """

    #: For mmgan_convolutions. Not coarse: such rounding would be a noise in the fakes that G can't unlearn.
    taps_first = True

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        padding = (kernel - stride + 1) // 2
        super().__init__(inputs, outputs, kernel, stride, padding, stride - kernel + 2 * padding)

    def reset_parameters(self) -> None:
        """Draw the weights as the paper does; no bias yet."""
        self.weight = nn.Parameter(glorot(self.kernel_size[0], self.out_channels, self.in_channels))
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (batch, inputs, length) to (batch, outputs, stride * length)."""
        weight = self.weight.permute(2, 1, 0)
        assert not isinstance(self.padding, str)
        return F.conv_transpose1d(x, weight, self.bias, self.stride, self.padding, self.output_padding)


class ResizeConvolution(nn.Module):
    """A signal stretched by interpolation, then a convolution of stride 1 (Odena et al. 2016).

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: Its length, odd.
        stretch: 2 or 4.
        mode: ``nearest`` or ``linear``.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stretch: int, mode: str) -> None:
        super().__init__()
        self.stretch, self.mode = stretch, mode
        self.convolution = Convolution(inputs, outputs, kernel, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, length) to (batch, outputs, stretch * length)."""
        stretched: Tensor = F.interpolate(x, scale_factor=self.stretch, mode=self.mode)
        return self.convolution(stretched)  # type: ignore[no-any-return]


class PostFilter(nn.Module):
    """A learned filter over a generator's whole output (Donahue et al. 2019, appendix B).

    It lets the generator suppress the noise at fixed phases that upsampling leaves.

    Args:
        channels: Of the sound.
        length: Of the filter, 512 in the paper.
    """

    def __init__(self, channels: int, length: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(glorot(length, channels, channels).permute(2, 1, 0).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Filter (batch, channels, length), keeping the shape."""
        length = self.weight.shape[2]
        return F.conv1d(F.pad(x, ((length - 1) // 2, length // 2)), self.weight)


def glorot(kernel: int, inputs: int, outputs: int) -> Tensor:
    """Draw weights from U(-a, a), a = sqrt(6 / (kernel * (inputs + outputs))) (Glorot and Bengio 2010)."""
    bound = sqrt(6 / (kernel * (inputs + outputs)))
    return torch.empty(kernel, inputs, outputs).uniform_(-bound, bound)
