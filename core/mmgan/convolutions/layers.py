"""torch's 2-D convolutions, in the form that a plan chooses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmgan.convolutions.plan import Plan
from mmgan.convolutions.products import Geometry, Kind, Pair, Product


class Planned(nn.Module):
    """A layer whose convolution goes by a plan. A plugin's own layer may be one, of one dimension too."""

    #: The run's, from when the run is made.
    plan: Plan | None = None

    def by_plan(self, kind: Kind, input: Tensor, weight: Tensor, geometry: Geometry) -> Tensor | None:
        """Compute a convolution without bias, or return None: then it is left to the library.

        Args:
            kind: ``forward``, or ``input`` for a transposed one.
            input: (batch, channels, height, width); signals have a height of 1.
            weight: (out, in, height, width), as a convolution has it whose transpose this may be.
            geometry: Where the weights are applied.
        """
        dtype = number_format(input, weight)
        if self.plan is None or dtype is None:
            return None
        if self.plan.leaves(weight, dtype, geometry.places_in(len(input))):
            return None
        factors = input.to(dtype), weight.to(dtype)
        output: Tensor = Product.apply(kind, *factors, geometry, self.plan, torch.is_grad_enabled())
        return output


def number_format(input: Tensor, weight: Tensor) -> torch.dtype | None:
    """Return what a layer on the CPU computes in: autocast's number format where that is on.

    Returns:
        None for what is the library's to take or refuse: number formats that do not fit together, and calls
        by torch.compile, torch.func, torch.jit.trace and torch.export, which can't look into an autograd
        function written in Python.
    """
    casts = torch.is_autocast_enabled("cpu")
    fits = torch.float64 not in (input.dtype, weight.dtype) if casts else input.dtype == weight.dtype
    if not fits or _transformed():
        return None
    return torch.get_autocast_dtype("cpu") if casts else weight.dtype


def _transformed() -> bool:
    """Whether torch traces, compiles or transforms what is being computed."""
    functorch = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
    # By the compiler's public function, which knows of torch.export too.
    return bool(torch.compiler.is_compiling() or torch._C._get_tracing_state() or functorch())


def choose(module: nn.Module, plan: Plan) -> None:
    """Let a network's 2-D convolutions, and all layers that are :class:`Planned`, go by a plan, in place.

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
        if isinstance(layer, Planned):
            layer.plan = plan


def _plain(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    return (
        layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


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
    assert not isinstance(layer.padding, str)  # see `_plain`
    return _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding)


def _pair(values: torch.Size | tuple[int, ...] | list[int]) -> Pair:
    height, width = values
    return height, width


def _biased(output: Tensor, bias: Tensor | None) -> Tensor:
    return output if bias is None else output + bias.to(output.dtype).view(-1, 1, 1)
