"""LeakyReLU without a second derivative.

It is zero everywhere, but torch computes with these zeros: a gradient penalty's backward pass needlessly goes
through the whole critic once more. Here it stops, which saves a sixth of the multiplications of an update of
WaveGAN's critic. Values and first derivatives are torch's, to the byte.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from mmgan_convolutions.planned import transformed


class LeakyReLU(nn.LeakyReLU):
    """torch's layer; in place where it is."""

    def forward(self, input: Tensor) -> Tensor:
        """Map any tensor to one of its shape."""
        # The derivative is computed from the result, which has the argument's sign if the slope is positive.
        if self.negative_slope <= 0 or transformed():
            return super().forward(input)
        return _LeakyReLU.apply(input, self.negative_slope, self.inplace)  # type: ignore[no-any-return]


def stop_second_derivatives(module: nn.Module) -> None:
    """Exchange a network's activations, in place. A subclass of torch's is left alone."""
    for layer in module.modules():
        if type(layer) is nn.LeakyReLU:
            layer.__class__ = LeakyReLU


class _LeakyReLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, inplace: bool) -> Tensor:
        ctx.slope = slope
        # In place on a view, the gradient would go through copies of the base, in another order of axes.
        if inplace and not x._is_view():
            F.leaky_relu_(x, slope)
            ctx.mark_dirty(x)
        else:
            x = F.leaky_relu(x, slope)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (result,) = ctx.saved_tensors
        return _Gradient.apply(grad, result.detach(), ctx.slope), None, None


class _Gradient(Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, result: Tensor, slope: float) -> Tensor:
        ctx.slope = slope
        ctx.save_for_backward(result)
        return torch.ops.aten.leaky_relu_backward(grad, result, slope, True)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _Gradient.apply(grad, *ctx.saved_tensors, ctx.slope), None, None
