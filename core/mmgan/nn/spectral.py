"""Spectral normalisation of a discriminator: each layer is divided by its greatest singular value."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

M = TypeVar("M", bound=nn.Module)

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)


def spectral(module: M) -> M:
    """Normalise every convolution, linear layer and embedding in a module, in place, and return it.

    Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks": one step of the power
    iteration in each forward pass while training. The matrix is outputs x everything else. A layer that keeps
    its weights as (kernel, inputs, outputs) says so by an attribute ``taps_first``.
    """
    # A list, since normalising adds modules.
    for layer in list(module.modules()):
        if isinstance(layer, _LAYERS):
            outputs_at = layer.weight.ndim - 1 if getattr(layer, "taps_first", False) else 0
            spectral_norm(layer, dim=outputs_at)
    return module
