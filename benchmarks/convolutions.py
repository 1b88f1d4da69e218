"""Where a convolution is faster as a matrix product than by the library: the table behind a rule.

Layers of 4x4 with stride 2, as DCGAN's and the U-Net's, forward and backward, for pictures of several sizes
and numbers; the two forms alternate. ``core/mmgan/convolutions.py`` has the rule. Run it on an idle machine.

    python benchmarks/convolutions.py --precision bf16
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor, nn

from mmgan import convolutions


def seconds(layer: nn.Module, pictures: Tensor, bf16: bool) -> tuple[float, float]:
    """Return the times of one forward and one backward pass."""
    layer.weight.grad = pictures.grad = None
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        output = layer(pictures)
    middle = time.perf_counter()
    output.backward(torch.ones_like(output))
    return middle - start, time.perf_counter() - middle


def compare(layer: nn.Module, pictures: Tensor, bf16: bool, rounds: int) -> list[float]:
    """Return the medians, in milliseconds: library forward, backward; product forward, backward."""
    times: list[tuple[float, ...]] = []
    for _ in range(rounds + 1):
        row: tuple[float, ...] = ()
        for rule in ({}, {10**9: 0}):
            convolutions.RULE = rule
            row += seconds(layer, pictures, bf16)
        times.append(row)
    return [1e3 * statistics.median(column) for column in zip(*times[1:], strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16"), help="default bf16")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that are counted (default 7)")
    arguments = parser.parse_args()
    print("| layer | input | positions | library forward + backward, ms | product | times |")
    print("|---|---|---|---|---|---|")
    for kind in (nn.Conv2d, nn.ConvTranspose2d):
        for into, out in ((128, 256), (256, 512), (512, 512), (1024, 512)):
            for batch, side in ((1, 2), (1, 8), (1, 16), (1, 32), (64, 2), (64, 4), (64, 8)):
                if kind is nn.ConvTranspose2d and side > 16:
                    continue
                layer = kind(into, out, 4, 2, 1)
                convolutions.choose(layer)
                pictures = torch.randn(batch, into, side, side, requires_grad=True)
                positions = batch * side**2 // (4 if kind is nn.Conv2d else 1)
                figures = compare(layer, pictures, arguments.precision == "bf16", arguments.rounds)
                library, product = sum(figures[:2]), sum(figures[2:])
                print(
                    f"| {kind.__name__} {into}→{out} | {batch}x{side}x{side} | {positions} "
                    f"| {figures[0]:.1f} + {figures[1]:.1f} | {figures[2]:.1f} + {figures[3]:.1f} "
                    f"| {library / product:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
