"""Emoji at 64 pixels: what today's games and DCGAN make of 1,636 pictures in an hour.

    python benchmarks/studies/emoji64.py --data DATA/emoji/google --out runs/emoji64
    python benchmarks/studies/emoji64.py --out runs/emoji64 --table

A sheet of samples lies beside each run's folder: look at them, since no score says what a person sees.
"""

from __future__ import annotations

from pathlib import Path

from study import Row, Study, arguments_of, chosen, play, race, raced

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


def table(study: Study) -> str:
    """Return the table."""
    return raced(study, ROWS, COLUMNS)


def main(arguments: list[str] | None = None) -> None:
    parser = arguments_of(__doc__, ROWS, seeds=1, out="runs/emoji64")
    parser.add_argument("--data", type=Path, help="a folder of pictures")
    parser.add_argument("--minutes-each", type=float, default=60, help="minutes of a row (%(default)s)")
    args = parser.parse_args(arguments)
    if args.data is None and not args.table:
        parser.error("--data is needed to train")
    base = BASE | {"data": str(args.data)}
    play(args, lambda study: race(study, chosen(ROWS, args), args.seeds, base, args.minutes_each), table)


if __name__ == "__main__":
    main()
