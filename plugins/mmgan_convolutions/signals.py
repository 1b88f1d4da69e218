"""torch's 1-D convolutions, in the form that is fastest on a CPU.

Minimal filtering if a stride of 4 allows it (``minimal_filtering.py``), one matrix product for such a layer
  of one or two channels, and the form that the run's plan chooses for everything else.

  A subclass of ``nn.Conv1d`` or ``nn.ConvTranspose1d`` may have class attributes that allow more:

  - ``taps_first = True``: its weights are (kernel, inputs, outputs), so that those of a tap are contiguous,
    which is faster, and its results need not be contiguous. Its ``forward`` computes the same.
  - ``coarse = True``: under bf16 it may round to a thirtieth, as a critic may, but not a generator. Then it
    uses minimal filtering there, too.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgan_convolutions import minimal_filtering
from mmgan_convolutions.planned import Planned, is_plain, number_format
from mmgan_convolutions.products import Geometry

#: With this few channels, minimal filtering costs more than it saves.
FEW = 2


class SignalConvolution(Planned, nn.Conv1d):
    """torch's layer by a plan."""

    taps_first, coarse = False, False

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, in_channels, length) to (batch, out_channels, …)."""
        if input.ndim != 3 or self.plan is None:
            return super().forward(input)
        kernel, stride, padding = _window(self)
        dtype = _minimal_format(self, input, stride)
        if dtype is not None:
            # (kernel, inputs, outputs)
            weight = self.weight if self.taps_first else self.weight.permute(2, 1, 0)
            if self.in_channels > FEW:
                filters = self.plan.evaluated.filters(self.weight, dtype, self.taps_first)
                return _laid_out(
                    self, minimal_filtering.convolve(input.to(dtype), weight, self.bias, filters)
                )
            windows = F.pad(input, (padding, padding)).unfold(2, kernel, stride)
            rows = windows.permute(0, 2, 3, 1).flatten(2)
            return _laid_out(self, F.linear(rows, weight.flatten(0, 1).T, self.bias).transpose(1, 2))
        geometry = Geometry((1, input.shape[2]), (1, kernel), (1, stride), (0, padding))
        found = self.by_plan("forward", input[:, :, None], _as_picture(self), geometry)
        return super().forward(input) if found is None else _laid_out(self, _biased(found, self.bias))


class TransposedSignalConvolution(Planned, nn.ConvTranspose1d):
    """torch's layer by a plan."""

    taps_first, coarse = False, False

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (batch, in_channels, length) to (batch, out_channels, …)."""
        if input.ndim != 3 or output_size is not None or self.plan is None:
            return super().forward(input, output_size)
        kernel, stride, padding = _window(self)
        (more,) = self.output_padding
        dtype = _minimal_format(self, input, 1)
        if dtype is not None and more == 1:
            # (kernel, outputs, inputs)
            weight = self.weight if self.taps_first else self.weight.permute(2, 1, 0)
            filters = self.plan.evaluated.filters(self.weight, dtype, self.taps_first)
            longer = minimal_filtering.convolve_transposed(input.to(dtype), weight, filters)
            return _laid_out(self, longer if self.bias is None else longer + self.bias[:, None])
        length = (input.shape[2] - 1) * stride - 2 * padding + kernel + more
        geometry = Geometry((1, length), (1, kernel), (1, stride), (0, padding))
        found = self.by_plan("input", input[:, :, None], _as_picture(self), geometry)
        return super().forward(input) if found is None else _laid_out(self, _biased(found, self.bias))


def planned_class(layer: nn.Module) -> type[Planned] | None:
    """Return the class that a layer gets to follow a plan; None leaves it alone.

    A subclass of torch's layers may have a ``forward`` of its own: it is changed only if it declares, by
    ``taps_first``, that it is a convolution.
    """
    for torch_s, ours in ((nn.Conv1d, SignalConvolution), (nn.ConvTranspose1d, TransposedSignalConvolution)):
        known = type(layer) is torch_s or getattr(layer, "taps_first", False)
        if isinstance(layer, torch_s) and known and not isinstance(layer, Planned) and is_plain(layer):
            return ours if type(layer) is torch_s else _subclass(ours, type(layer))  # type: ignore[arg-type]
    return None


@functools.cache
def _subclass(ours: type[Planned], theirs: type[nn.Module]) -> type[Planned]:
    # Calls that ours leaves to the library go to the layer's own forward.
    attributes = {name: getattr(theirs, name) for name in ("taps_first", "coarse") if hasattr(theirs, name)}
    return type(f"Planned{theirs.__name__}", (ours, theirs), attributes)


def _window(layer: SignalConvolution | TransposedSignalConvolution) -> tuple[int, int, int]:
    """Return kernel, stride and padding."""
    assert not isinstance(layer.padding, str)  # see `is_plain`
    return layer.kernel_size[0], layer.stride[0], layer.padding[0]


def _minimal_format(
    layer: SignalConvolution | TransposedSignalConvolution, x: Tensor, step: int
) -> torch.dtype | None:
    """Return the number format in which a layer uses minimal filtering, or None if it does not.

    Args:
        layer: A layer.
        x: Its input.
        step: Positions of ``x`` for each position of the shorter signal, which tiles are made of.
    """
    kernel, stride, padding = _window(layer)
    fits = stride == minimal_filtering.STRIDE and kernel % 2 and kernel <= minimal_filtering.LONGEST
    if not fits or padding != (kernel - stride + 1) // 2:
        return None
    dtype = number_format(x, layer.weight)
    if dtype not in minimal_filtering.SCHEMES or x.device.type != "cpu" or x.numel() == 0:
        return None
    if dtype != torch.float32 and not layer.coarse:
        return None
    return dtype if x.shape[2] % (step * minimal_filtering.SCHEMES[dtype].tile) == 0 else None


def _as_picture(layer: SignalConvolution | TransposedSignalConvolution) -> Tensor:
    """Return the weights of a convolution of pictures of height 1."""
    weight = layer.weight.permute(2, 1, 0) if layer.taps_first else layer.weight
    return weight[:, :, None]


def _laid_out(layer: SignalConvolution | TransposedSignalConvolution, output: Tensor) -> Tensor:
    """Return an output as torch's layer lays it out in memory, so that ``view`` works."""
    return output if layer.taps_first else output.contiguous()


def _biased(found: Tensor, bias: Tensor | None) -> Tensor:
    signal = found[:, :, 0]
    return signal if bias is None else signal + bias.to(signal.dtype)[:, None]
