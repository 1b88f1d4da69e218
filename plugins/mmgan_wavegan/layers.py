"""What WaveGAN's networks are made of: strided convolutions, phase shuffle, and LeakyReLU.

A convolution takes the way that was measured to be faster. For float32 and for bf16's critic on a CPU that is
minimal filtering, or one matrix product for the layer that hears the sound itself; for all else on a CPU what
the run's plan of convolutions says, and the library's. Signals are (batch, channels, length) everywhere; the
first ways leave the channels side by side in memory, and the other operations keep that.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from mmgan.convolutions.layers import Planned, number_format
from mmgan.convolutions.products import Geometry
from mmgan_wavegan import minimal_filtering

#: With so few channels minimal filtering's own work costs more than it saves.
FEW = 2


class Convolution(Planned):
    """A convolution that divides the length by its stride.

    The padding is torch's symmetric one, (kernel - stride + 1) / 2 on either side; TensorFlow's, which the
    paper's code uses, has one zero less before the signal (10 and 11 for a kernel of 25).

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: Its length, odd.
        stride: 1, 2 or 4.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.weight = nn.Parameter(glorot(kernel, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, length) to (batch, outputs, length / stride)."""
        padding = (self.kernel - self.stride + 1) // 2
        minimal = _minimal_format(self, x)
        if minimal:
            if self.weight.shape[1] > FEW:
                return minimal_filtering.convolve(x.to(minimal), self.weight, self.bias)
            windows = F.pad(x, (padding, padding)).unfold(2, self.kernel, self.stride)
            rows = windows.permute(0, 2, 3, 1).flatten(2)
            return F.linear(rows, self.weight.flatten(0, 1).T, self.bias).transpose(1, 2)
        weight = self.weight.permute(2, 1, 0)
        geometry = _geometry(x.shape[2], self.kernel, self.stride)
        found = self.by_plan("forward", x[:, :, None], weight[:, :, None], geometry)
        if found is None:
            return F.conv1d(x, weight, self.bias, self.stride, padding)
        return found[:, :, 0] + self.bias.to(found.dtype)[:, None]


class TransposedConvolution(Planned):
    """A convolution that multiplies the length by its stride: the transpose of :class:`Convolution`.

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: Its length, odd.
        stride: 2 or 4.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.weight = nn.Parameter(glorot(kernel, outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, length) to (batch, outputs, stride * length)."""
        # In bf16 its rounding, a thirtieth of the signal, would be a noise in the fakes that G can't unlearn.
        if _minimal_format(self, x) == torch.float32:
            return minimal_filtering.convolve_transposed(x, self.weight) + self.bias[:, None]
        padding = (self.kernel - self.stride + 1) // 2
        extra = self.stride - self.kernel + 2 * padding
        weight = self.weight.permute(2, 1, 0)
        geometry = _geometry(x.shape[2] * self.stride, self.kernel, self.stride)
        found = self.by_plan("input", x[:, :, None], weight[:, :, None], geometry)
        if found is None:
            return F.conv_transpose1d(x, weight, self.bias, self.stride, padding, extra)
        return found[:, :, 0] + self.bias.to(found.dtype)[:, None]


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


def phase_shuffle(x: Tensor, n: int, draws: int = 1) -> Tensor:
    """Shift signals by a random number of samples from -n to n, reflecting at the edges (section 3.3).

    So the critic can't tell a generated sound by the phase at which upsampling leaves its noise.

    Args:
        x: (batch, channels, length), length greater than n.
        n: Greatest shift; 0 shuffles nothing.
        draws: How many shifts are drawn, each for an equal part of the batch: 1 for all together, as in the
            paper's code, or one for each signal.
    """
    if n == 0:
        return x
    # On the CPU, whatever x's device: nothing has to wait for a GPU to know how far to shift.
    shifts = torch.randint(-n, n + 1, (draws,)).tolist()
    return shift(x, shifts) if any(shifts) else x


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


def leaky_relu(x: Tensor) -> Tensor:
    """Compute LeakyReLU with slope 0.2, in place (but for a view).

    Its second derivative is zero everywhere, but torch computes with these zeros: a gradient penalty's
    backward pass goes back through the whole critic once more, for nothing. Here it stops, which saves a
    sixth of the multiplications of a critic's update.

    Args:
        x: Changed; no longer needed by what made it (as a convolution's output is).
    """
    return _LeakyReLU.apply(x)  # type: ignore[no-any-return]


SLOPE = 0.2


class _LeakyReLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        if x._is_view():
            # In place, its gradient would go through copies of the base, in another order of axes.
            x = F.leaky_relu(x, SLOPE)
        else:
            F.leaky_relu_(x, SLOPE)
            ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (result,) = ctx.saved_tensors
        return _LeakyReLUGradient.apply(grad, result.detach())


class _LeakyReLUGradient(Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, result: Tensor) -> Tensor:
        ctx.save_for_backward(result)
        return torch.ops.aten.leaky_relu_backward(grad, result, SLOPE, True)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _LeakyReLUGradient.apply(grad, *ctx.saved_tensors), None


def _geometry(length: int, kernel: int, stride: int) -> Geometry:
    """Describe a convolution of signals of this length as one of pictures of height 1."""
    return Geometry((1, length), (1, kernel), (1, stride), (0, (kernel - stride + 1) // 2))


def _minimal_format(module: Convolution | TransposedConvolution, x: Tensor) -> torch.dtype | None:
    """Return the number format in which a layer filters minimally, or nothing where it does not."""
    fits = module.stride == minimal_filtering.STRIDE and module.kernel <= minimal_filtering.LONGEST
    dtype = number_format(x, module.weight)
    if not fits or dtype not in minimal_filtering.SCHEMES or x.device.type != "cpu" or x.numel() == 0:
        return None
    # A tile is one of the shorter of the two signals.
    step = minimal_filtering.SCHEMES[dtype].tile
    if isinstance(module, Convolution):
        step *= module.stride
    return dtype if x.shape[2] % step == 0 else None
