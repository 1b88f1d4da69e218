"""Choosing the form in which a product is computed, by a fixed rule or by measurement."""

from __future__ import annotations

import logging
import time
from math import inf
from typing import Any, get_args

import torch
from torch import Tensor

from mmgan_convolutions.forms import FORMS
from mmgan_convolutions.minimal_filtering import Evaluated
from mmgan_convolutions.products import Geometry, Kind

#: A child of mmgan's own logger, which `-v` prints.
log = logging.getLogger("mmgan.convolutions")

LIBRARY = "library"
KINDS: tuple[Kind, ...] = get_args(Kind)

#: The form that pays above a number of weights per place, by kind of product and the weights' memory format
#: ("" if they are the result); the threshold in half precision, then in wider ones. All other products are
#: left to the library. Measured by ``benchmarks/convolutions.py``.
RULE: dict[tuple[Kind, str], tuple[str, float, float]] = {
    ("forward", "contiguous"): ("product", 50_000, 50_000),
    ("input", "contiguous"): ("product", 50_000, 10_000),
    ("weight", ""): ("product, channels-last", 100, 10_000),
    ("forward", "channels-last"): ("product, channels-last", 5_000, inf),
    # 1-D, with the weights of a tap contiguous; measured by `--tune` on WaveGAN.
    ("forward", "strided"): ("product, channels-last", 5_000, inf),
    ("input", "strided"): ("library, channels-last", 0, inf),
}
#: Another form is chosen if it takes less than this fraction of the library's time.
_GAIN = 0.95
#: How often a form is tried, and for how many seconds at most; the shortest time counts.
_TRIES, _SECONDS = 5, 0.25


def by_rule(kind: Kind, dtype: torch.dtype, kept: str, weights: int, places: int) -> str:
    """Return the name of the form that is usually fastest.

    Args:
        kind: Which product.
        dtype: In which number format it is computed.
        kept: The weights' memory format: ``contiguous``, ``channels-last`` or ``strided`` (any other).
    weights: The number of weights.
    places: The number of places where they are applied, over all pictures of a batch.
    """
    form, half, wide = RULE.get((kind, "" if kind == "weight" else kept), (LIBRARY, inf, inf))
    return form if weights >= (half if dtype.itemsize == 2 else wide) * places else LIBRARY


class Plan:
    """The choices of one run, which all its layers share.

    Args:
        measures: Whether products are measured when they first occur in training; else the rule chooses.
    """

    def __init__(self, measures: bool = False) -> None:
        self.measures = measures
        #: Names of the chosen forms, by product: see :func:`describe`.
        self.choices: dict[str, str] = {}
        self._left: dict[tuple[Any, ...], bool] = {}
        #: Evaluated filters of minimal filtering, for weights that are trained.
        self.evaluated = Evaluated()

    def leaves(self, weight: Tensor, dtype: torch.dtype, places: int) -> bool:
        """Whether all of a layer is left to the library: the rule says so, and nothing is measured.

        Args:
            weight: The layer's weights.
            dtype: The layer's number format.
            places: The number of places where they are applied, over all pictures of a batch.
        """
        if weight.device.type != "cpu" or places == 0:
            return True
        if self.measures:
            return False
        met = weight.shape, _format(weight), dtype, places
        if met not in self._left:
            forms = [by_rule(kind, dtype, _format(weight), weight.numel(), places) for kind in KINDS]
            self._left[met] = set(forms) == {LIBRARY}
            named = "; ".join(f"{kind}: {form}" for kind, form in zip(KINDS, forms, strict=True))
            log.info("convolution %s, %s at %d places: %s", _shape(weight), _name(dtype), places, named)
        return self._left[met]

    def __deepcopy__(self, memo: dict[int, Any]) -> Plan:
        """Return itself: the moving average of a network follows the same plan."""
        return self

    def compute(self, kind: Kind, a: Tensor, b: Tensor, geometry: Geometry, may_measure: bool) -> Tensor:
        """Compute a product of factors in one number format, in the form that is chosen for it."""
        key = describe(kind, a, b, geometry) if self.measures else ""
        if self.measures and may_measure and key not in self.choices:
            self.choices[key] = fastest(key, kind, a, b, geometry)
        # Products not seen in training follow the rule: samples must not depend on when they are made.
        return FORMS[self.choices.get(key) or _rule_for(kind, a, b, geometry)](kind, a, b, geometry)


def _rule_for(kind: Kind, a: Tensor, b: Tensor, geometry: Geometry) -> str:
    height, width = geometry.kernel
    weights = a.shape[1] * b.shape[1] * height * width if kind == "weight" else b.numel()
    return by_rule(kind, a.dtype, _format(b), weights, geometry.places_in(len(a)))


def fastest(key: str, kind: Kind, a: Tensor, b: Tensor, geometry: Geometry) -> str:
    """Measure all forms on these factors, and return the name of the fastest."""
    least = dict.fromkeys(FORMS, inf)
    end = time.perf_counter() + _SECONDS * len(FORMS)
    for turn in range(_TRIES + 1):
        for name, form in FORMS.items():
            start = time.perf_counter()
            form(kind, a, b, geometry)
            if turn:  # the first one makes kernels
                least[name] = min(least[name], time.perf_counter() - start)
        if turn and time.perf_counter() > end:
            break
    best = min(least, key=lambda name: least[name])
    if least[best] > _GAIN * least[LIBRARY]:
        best = LIBRARY  # as fast within measurement error, and it reorders nothing
    times = ", ".join(f"{name} {1e3 * seconds:.2f} ms" for name, seconds in least.items())
    log.info("convolution %s: %s (%s)", key, best, times)
    return best


def describe(kind: Kind, a: Tensor, b: Tensor, geometry: Geometry) -> str:
    """Name a product by everything that decides its speed: kind, shapes, memory formats, number format."""
    _, kernel, stride, padding = geometry
    window = "{}x{}/{}x{}+{}x{}".format(*kernel, *stride, *padding)
    return f"{kind} {window} of {_shape(a)} and {_shape(b)}, {_name(a.dtype)}"


def _shape(factor: Tensor) -> str:
    return f"{'x'.join(map(str, factor.shape))} {_format(factor)}"


def _format(factor: Tensor) -> str:
    if factor.is_contiguous():
        return "contiguous"
    return "channels-last" if factor.is_contiguous(memory_format=torch.channels_last) else "strided"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
