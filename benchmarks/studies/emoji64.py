"""Emoji at 64 pixels: what today's games and DCGAN make of 1,636 pictures in an hour.

    python benchmarks/studies/emoji64.py --data DATA/emoji/google --out runs/emoji64
    python benchmarks/studies/emoji64.py --out runs/emoji64 --table

A sheet of samples lies beside each run's folder: look at them, since no score says what a person sees.
"""

from __future__ import annotations

from study import Row, hold, racing

BASE = {"size": 64, "channels": 3, "features": "efficientnet", "evaluate_every": 0}
ROWS = [
    Row("DCGAN", {"plugin": "dcgan", "width": 32, "preset": "paper"}),
    Row("dcgan, rpgan + r1r2", {"plugin": "dcgan", "width": 32, "preset": "r1r2"}),
    Row("r3gan, small-cpu", {"plugin": "r3gan", "preset": "small-cpu"}),
]
COLUMNS = {
    "Fréchet distance": ("frechet_efficientnet", 1),
    "kernel distance": ("kernel_efficientnet", 3),
    "recall": ("recall_efficientnet", 2),
    "coverage": ("coverage_efficientnet", 2),
}


def main(arguments: list[str] | None = None) -> None:
    hold(racing(__doc__, ROWS, "runs/emoji64", 60), arguments, ROWS, lambda _: BASE, COLUMNS)


if __name__ == "__main__":
    main()
