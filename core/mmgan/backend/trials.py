"""Trials: how long a network's heaviest layer takes here, forward and backward, in several ways.

Which number format is faster depends on the processor and on the layer: bf16 needs instructions for its
products (AVX512-BF16, AMX), conversions cost, and a small layer gains nothing. So it is measured.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmgan.backend.remembered import Figures, remembered

#: Another way than the plain one is taken where it needs less than this part of its time: the difference
#: must be greater than the error of a trial.
GAIN = 0.9
#: Seconds of a trial, beside the first call of each way, which makes its kernels.
SECONDS = 0.4
#: Side of the matrices whose product is tried.
SIDE = 768
#: Multiplications of a layer's forward pass at most: fewer examples are taken for a large layer.
_MOST = 2e9
#: The length of a layer's input by its number of axes, since it is not known before there is data.
_LENGTHS = {1: 256, 2: 16, 3: 8}

Transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
Convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *Transposed)
Recurrent = (nn.LSTM, nn.GRU, nn.RNN)


def heaviest(networks: Iterable[nn.Module]) -> nn.Module | None:
    """Return the layer whose time says most of a network's: its largest convolution, else its largest layer.

    Args:
        networks: Those that are trained.

    Returns:
        A convolution, a linear or a recurrent layer; None where there is none.
    """
    layers = [layer for network in networks for layer in network.modules()]
    for kinds in (Convolution, (nn.Linear, *Recurrent)):
        found = [layer for layer in layers if isinstance(layer, kinds)]
        if found:
            return max(found, key=_weights)
    return None


def typical() -> nn.Module:
    """Return the layer that stands for a network where there is none: a middle one of DCGAN's D."""
    return nn.Conv2d(128, 256, 4, stride=2, padding=1, bias=False)


def product() -> Figures:
    """Return the seconds of a product of two square matrices in fp32 and bf16, measured once on a machine."""

    def measure() -> Figures:
        a, b = (torch.ones(SIDE, SIDE) for _ in range(2))
        halves = a.bfloat16(), b.bfloat16()
        return fastest({"fp32": lambda: a @ b, "bf16": lambda: halves[0] @ halves[1]}, SECONDS / 2)

    return remembered(f"product of {SIDE}x{SIDE} matrices", measure)


def precisions(layer: nn.Module, batch_size: int) -> Figures:
    """Return the seconds of a layer, forward and backward, in fp32 and bf16, measured once on a machine.

    Args:
        layer: From :func:`heaviest`, on the CPU; its weights and their gradients stay as they are.
        batch_size: Examples in a batch; a large layer is tried with fewer.
    """
    inputs = inputs_of(layer, batch_size)

    def measure() -> Figures:
        ways = {"fp32": None, "bf16": torch.bfloat16}
        return fastest({name: partial(both_ways, layer, inputs, dtype) for name, dtype in ways.items()})

    return remembered(_named(layer, inputs), measure)


def memory_formats(layer: nn.Module, batch_size: int, dtype: torch.dtype) -> Figures:
    """Return the seconds of a 2-D convolution with everything contiguous, and with everything channels-last.

    Args:
        layer, batch_size: As for :func:`precisions`.
        dtype: The number format of autocast.
    """
    formats = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

    def measure() -> Figures:
        ways = {}
        for name, format in formats.items():
            tried = copy.deepcopy(layer).to(memory_format=format)
            inputs = inputs_of(tried, batch_size)
            ways[name] = partial(both_ways, tried, inputs, dtype)
        return fastest(ways)

    return remembered(f"memory formats of {_named(layer, inputs_of(layer, batch_size))}, {dtype}", measure)


def compiling(layer: nn.Module, batch_size: int, dtype: torch.dtype) -> Figures:
    """Return the seconds of a layer with batch norm and LeakyReLU, as it is and by ``torch.compile``.

    To compile takes a quarter of a minute or more, once on a machine.

    Args:
        layer, batch_size: As for :func:`precisions`.
        dtype: The number format of autocast.
    """
    inputs = inputs_of(layer, batch_size)

    def measure() -> Figures:
        with torch.no_grad():
            outputs = layer(inputs)
        norms = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
        block = nn.Sequential(layer, norms[outputs.ndim](outputs.shape[1]), nn.LeakyReLU(0.2))
        compiled = torch.compile(block)
        ways: dict[str, Callable[[Tensor], Any]] = {"plain": block, "compiled": compiled}
        return fastest({name: partial(both_ways, way, inputs, dtype) for name, way in ways.items()})

    return remembered(f"compiling {_named(layer, inputs)}, {dtype}", measure)


def both_ways(
    layer: Callable[[Tensor], Any], inputs: Tensor, dtype: torch.dtype | None = None
) -> tuple[Tensor, ...]:
    """Compute a layer's outputs and all its gradients once, under autocast to ``dtype`` if it is a half."""
    half = dtype if dtype and dtype.itemsize == 2 else None
    with torch.enable_grad(), torch.autocast("cpu", half) if half else nullcontext():
        outputs = layer(inputs)
    outputs = outputs[0] if isinstance(outputs, tuple) else outputs
    weights = [weight for weight in layer.parameters() if weight.requires_grad]  # type: ignore[attr-defined]
    return torch.autograd.grad(outputs, [inputs, *weights], torch.ones_like(outputs))


def fastest(ways: Mapping[str, Callable[[], object]], seconds: float = SECONDS) -> Figures:
    """Return the shortest time of each way, in seconds: other load on the machine only makes it longer.

    The ways take turns, so that load affects all alike.
    """
    for way in ways.values():
        way()
    least = dict.fromkeys(ways, math.inf)
    end = time.perf_counter() + seconds
    while True:
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            least[name] = min(least[name], time.perf_counter() - start)
        if time.perf_counter() > end:
            return least


def inputs_of(layer: nn.Module, batch_size: int) -> Tensor:
    """Return random inputs for a layer, in its weights' memory format, requiring gradients."""
    shape: tuple[int, ...]
    if isinstance(layer, Convolution):
        kernel = layer.kernel_size
        sides = [max(_LENGTHS[len(kernel)], side) for side in kernel]
        places = float(math.prod(sides))
        shape = (layer.in_channels, *sides)
        if not isinstance(layer, Transposed):
            places /= math.prod(layer.stride)
    elif isinstance(layer, Recurrent):
        shape, places = (16, layer.input_size), 16.0
    else:
        assert isinstance(layer, nn.Linear)
        shape, places = (layer.in_features,), 1.0
    examples = max(1, min(batch_size, int(_MOST / (_weights(layer) * places))))
    inputs = torch.randn(examples, *shape, generator=torch.Generator().manual_seed(0))
    if _is_channels_last(layer):
        inputs = inputs.to(memory_format=torch.channels_last)
    return inputs.requires_grad_()


def title(layer: nn.Module) -> str:
    """Name a layer for people: ``Conv2d of 256x512x4x4 weights``."""
    weight = max(layer.parameters(), key=Tensor.numel)
    return f"{_kind(layer).__name__} of {'x'.join(map(str, weight.shape))} weights"


def _kind(layer: nn.Module) -> type[nn.Module]:
    """Return torch's class of a layer, which may be a subclass."""
    return next(kind for kind in (*Convolution, nn.Linear, *Recurrent) if isinstance(layer, kind))


def _named(layer: nn.Module, inputs: Tensor) -> str:
    """Name a layer by what decides its speed."""
    last = " channels-last" if _is_channels_last(layer) else ""
    return f"{type(layer).__name__}({layer.extra_repr()}){last}, inputs {tuple(inputs.shape)}"


def _is_channels_last(layer: nn.Module) -> bool:
    return any(weight.ndim == 4 and not weight.is_contiguous() for weight in layer.parameters())


def _weights(layer: nn.Module) -> int:
    return sum(weight.numel() for weight in layer.parameters())
