"""Which form of a convolution is fastest: the table behind the rule of ``mmgan_convolutions/plan.py``.

The layers of DCGAN, of pix2pix and of CycleGAN, with their weights and pictures in both memory formats: the
least time of each of the three products in each of the four forms, which take turns. Run it on an idle
machine.

    python benchmarks/convolutions.py --precision bf16
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import torch

from mmgan_convolutions.forms import FORMS
from mmgan_convolutions.plan import KINDS
from mmgan_convolutions.products import Geometry, Kind

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


class Layer(NamedTuple):
    """A convolution, seen from its larger pictures: a transposed one makes them."""

    into: int
    out: int
    batch: int
    side: int
    kernel: int = 4
    stride: int = 2
    padding: int = 1

    @property
    def geometry(self) -> Geometry:
        """Where its filters are applied."""
        pairs = ((value, value) for value in (self.side, self.kernel, self.stride, self.padding))
        return Geometry(*pairs)


#: DCGAN's at batches of 64 and 16, the U-Net's and the PatchGAN's at a batch of 1, and CycleGAN's.
LAYERS = [
    *(
        Layer(width, 2 * width, 64, side)
        for width, side in ((64, 32), (128, 16), (256, 8), (64, 16), (128, 8))
    ),
    *(Layer(256, 512, 64, 4), Layer(512, 512, 64, 4), Layer(128, 256, 16, 16), Layer(256, 512, 16, 8)),
    *(Layer(3, 64, 64, 64), Layer(100, 512, 64, 4, 4, 1, 0), Layer(512, 1, 64, 4, 4, 1, 0)),
    *(Layer(512, 512, 1, side) for side in (2, 4, 8, 16)),
    *(Layer(512, 1024, 1, side) for side in (4, 8, 16)),
    *(Layer(256, 512, 1, 32), Layer(128, 256, 1, 64), Layer(64, 128, 1, 128), Layer(256, 512, 1, 32, 4, 1)),
    *(Layer(256, 256, 1, side, 3, 1, 0) for side in (34, 66)),
    *(Layer(128, 256, 1, 64, 3), Layer(64, 128, 1, 128, 3)),
]


def milliseconds(layer: Layer, kind: Kind, dtype: torch.dtype, how: str, rounds: int) -> dict[str, float]:
    """Return the least time of each form, the factors being in a memory format."""
    geometry = layer.geometry
    x = torch.randn(layer.batch, layer.into, *geometry.size)
    w = torch.randn(layer.out, layer.into, *geometry.kernel)
    y = torch.randn(layer.batch, layer.out, *geometry.places)
    x, w, y = (factor.to(dtype).contiguous(memory_format=FORMATS[how]) for factor in (x, w, y))
    a, b = {"forward": (x, w), "input": (y, w), "weight": (y, x)}[kind]
    least = dict.fromkeys(FORMS, float("inf"))
    for turn in range(rounds + 1):
        for name, form in FORMS.items():
            start = time.perf_counter()
            form(kind, a, b, geometry)
            if turn:  # the first one makes kernels
                least[name] = min(least[name], 1e3 * (time.perf_counter() - start))
    return least


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", default="bf16", choices=DTYPES, help="default bf16")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that are counted (default 7)")
    arguments = parser.parse_args()
    head = ["layer", "pictures", "places", "weights", "format", "product", *(f"{name}, ms" for name in FORMS)]
    head += ["fastest", "times"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for layer in LAYERS:
        for how in FORMATS:
            for kind in KINDS:
                least = milliseconds(layer, kind, DTYPES[arguments.precision], how, arguments.rounds)
                best = min(least, key=lambda name: least[name])
                row = [
                    f"{layer.into}→{layer.out}, {layer.kernel}x{layer.kernel} / {layer.stride}",
                    f"{layer.batch}x{layer.side}x{layer.side}",
                    layer.geometry.places_in(layer.batch),
                    layer.into * layer.out * layer.kernel**2,
                    how,
                    kind,
                    *(f"{value:.2f}" for value in least.values()),
                    best,
                    f"{least['library'] / least[best]:.2f}",
                ]
                print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
