"""What all layers have in common whose convolutions go by a plan."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmgan_convolutions.plan import Plan
from mmgan_convolutions.products import Geometry, Kind, Product


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


def is_plain(layer: nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d) -> bool:
    """Whether a convolution can be a product: no groups, no dilation, and padded with zeros, in numbers."""
    return (
        layer.groups == 1
        and set(layer.dilation) == {1}
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def number_format(input: Tensor, weight: Tensor) -> torch.dtype | None:
    """Return what a layer on the CPU computes in: autocast's number format where that is on.

    Returns:
        None for what is the library's to take or refuse: number formats that do not fit together, and calls
        by torch.compile, torch.func, torch.jit.trace and torch.export, which can't look into an autograd
        function written in Python.
    """
    casts = torch.is_autocast_enabled("cpu")
    fits = torch.float64 not in (input.dtype, weight.dtype) if casts else input.dtype == weight.dtype
    if not fits or transformed():
        return None
    return torch.get_autocast_dtype("cpu") if casts else weight.dtype


def transformed() -> bool:
    """Whether torch traces, compiles or transforms what is being computed."""
    functorch = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
    # By the compiler's public function, which knows of torch.export too.
    return bool(torch.compiler.is_compiling() or torch._C._get_tracing_state() or functorch())
