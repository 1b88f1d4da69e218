"""A step of pix2pix or of CycleGAN through mmgan, beside the plain float32 loop.

The plain loop is ``bare_translation.py``: float32, contiguous, torch's default Adam, batch 1. mmgan runs
with its defaults (metrics, the watch for NaN, TensorBoard) in the precision that is asked for. The two
alternate in one process; the figure is the median over the rounds of plain time / mmgan's time. Run it on an
idle machine.

    python benchmarks/translation_step.py pix2pix-256 --rounds 5 > pix2pix.json
"""

from __future__ import annotations

import argparse
import json
import sys

import torch
from bare_translation import GAMES, bare_step
from engine_tax import measure
from torch import Tensor

import mmgan


class Pairs(mmgan.Dataset):
    """Random pairs in memory: a real data set would say more of the disk than of the step."""

    description = "random pairs"

    def __init__(self, size: int) -> None:
        self.a, self.b = (torch.rand(64, 3, size, size) * 2 - 1 for _ in range(2))

    def __len__(self) -> int:
        return len(self.a)

    def batch(self, indices: Tensor, draw: mmgan.Draw) -> tuple[Tensor, Tensor]:
        """Return pictures of both sides: two of (batch, 3, size, size)."""
        return self.a[indices], self.b[indices]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("game", choices=GAMES, help="what is trained")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that are counted (default 5)")
    parser.add_argument("--stretch", type=int, default=2, help="steps of each loop in a round (default 2)")
    parser.add_argument("--precision", default="auto", help="mmgan's: auto, fp32 or bf16 (default auto)")
    arguments = parser.parse_args()
    settings = dict(GAMES[arguments.game])
    plugin = settings.pop("plugin")
    data = Pairs(settings["size"])
    bare = bare_step(arguments.game, lambda: data.batch(torch.randint(len(data), (1,)), None))
    options = settings | {"data": "random", "precision": arguments.precision}
    result = measure(plugin, bare, arguments.stretch, arguments.rounds, data, **options)
    figures = {
        "torch": str(torch.__version__), "threads": torch.get_num_threads(), "game": arguments.game,
        "precision": arguments.precision, "mmgan_ms": result["engine_ms"], "bare_ms": result["bare_ms"],
        "times_faster": round(1 / result["ratio"], 3),
    }  # fmt: skip
    print(figures, file=sys.stderr)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
