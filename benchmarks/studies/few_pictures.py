"""A hundred pictures: what augmentation does against learning them by heart.

    python benchmarks/studies/few_pictures.py --data DATA/emoji/google/smileys-emotion --out runs/few
    python benchmarks/studies/few_pictures.py --out runs/few --table

One category of emoji at 64 pixels; ``--held-out`` pictures are only measured on, the rest (100 of 169) is
trained on, for as long in each row. The kernel distance is in efficientnet's features, to the pictures held
out; ``copied`` is the share of samples that are nearer to a training picture than training pictures are to
each other.
"""

from __future__ import annotations

from pathlib import Path

from study import Row, Study, arguments_of, chosen, play, race, raced

BASE = {
    "plugin": "dcgan",
    "preset": "r1r2",
    "size": 64,
    "channels": 3,
    "width": 32,
    "batch_size": 32,
    "features": "efficientnet",
}
ROWS = [
    Row("DCGAN", {"preset": "paper", "augment": "none"}),
    Row("none", {"augment": "none"}),
    Row("DiffAugment", {"augment": "diffaugment"}),
    Row("ADA", {"augment": "ada"}),
    Row("APA", {"augment": "apa"}),
]
#: Samples that are judged, many more than there are pictures, so that a distance has little noise.
JUDGED = 1_000
COLUMNS = {
    "kernel distance": ("kernel_efficientnet", 3),
    "copied": ("copied_efficientnet", 2),
    "recall": ("recall_efficientnet", 2),
    "coverage": ("coverage_efficientnet", 2),
}


def table(study: Study) -> str:
    """Return the table."""
    return raced(study, ROWS, COLUMNS)


def main(arguments: list[str] | None = None) -> None:
    parser = arguments_of(__doc__, ROWS, seeds=1, out="runs/few-pictures")
    add = parser.add_argument
    add("--data", type=Path, help="a folder of pictures: one category of emoji")
    add("--held-out", type=int, default=69, help="how many of them are held out (%(default)s)")
    add("--minutes-each", type=float, default=30, help="minutes of training a row (%(default)s)")
    args = parser.parse_args(arguments)
    if args.data is None and not args.table:
        parser.error("--data is needed to train")
    base = BASE | {"data": str(args.data), "holdout": args.held_out}

    def work(study: Study) -> None:
        race(study, chosen(ROWS, args), args.seeds, base, args.minutes_each, judged=JUDGED)

    play(args, work, table)


if __name__ == "__main__":
    main()
