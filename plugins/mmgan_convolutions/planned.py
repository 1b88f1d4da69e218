"""The base of all layers whose convolutions follow a plan."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmgan_convolutions.plan import Plan
from mmgan_convolutions.products import Geometry, Kind, Product


class Planned(nn.Module):
    """A layer whose convolution follows a plan. A plugin's own layer may be one, including a 1-D layer."""

    #: The run's plan, set when the run is made.
    plan: Plan | None = None

    def by_plan(self, kind: Kind, input: Tensor, weight: Tensor, geometry: Geometry) -> Tensor | None:
        """Compute a convolution without bias, or return None to leave it to the library.

        Args:
            kind: ``forward``, or ``input`` for a transposed one.
            input: (batch, channels, height, width); signals have a height of 1.
            weight: (out, in, height, width), as for the convolution, even if this is its transpose.
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
    """Whether a convolution is a product: no groups, no dilation, and numeric padding with zeros."""
    return (
        layer.groups == 1
        and set(layer.dilation) == {1}
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def number_format(input: Tensor, weight: Tensor) -> torch.dtype | None:
    """Return the number format of a layer on the CPU: autocast's if that is on.

    Returns:
        None to leave the call to the library: if number formats do not match, and under torch.compile,
        torch.func, torch.jit.trace and torch.export, which can't see into an autograd function written in
        Python.
    """
    casts = torch.is_autocast_enabled("cpu")
    fits = torch.float64 not in (input.dtype, weight.dtype) if casts else input.dtype == weight.dtype
    if not fits or transformed():
        return None
    return torch.get_autocast_dtype("cpu") if casts else weight.dtype


def transformed() -> bool:
    """Whether torch is tracing, compiling or transforming this computation."""
    functorch = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
    # The compiler's public function covers torch.export too.
    return bool(torch.compiler.is_compiling() or torch._C._get_tracing_state() or functorch())
