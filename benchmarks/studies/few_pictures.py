"""A hundred pictures: what augmentation does against learning them by heart.

    python benchmarks/studies/few_pictures.py --data DATA/emoji/google/smileys-emotion --out runs/few
    python benchmarks/studies/few_pictures.py --out runs/few --table

One category of emoji at 64 pixels; ``--held-out`` pictures are only measured on, the rest (100 of 169) is
trained on, for as long in each row. The kernel distance is in efficientnet's features, to the pictures held
out; ``copied`` is the share of samples that are nearer to a training picture than training pictures are to
each other.
"""

from __future__ import annotations

from study import Row, hold, racing

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


def main(arguments: list[str] | None = None) -> None:
    parser = racing(__doc__, ROWS, "runs/few-pictures", 30)
    parser.add_argument("--held-out", type=int, default=69, help="how many are held out (%(default)s)")
    hold(parser, arguments, ROWS, lambda args: BASE | {"holdout": args.held_out}, COLUMNS, judged=JUDGED)


if __name__ == "__main__":
    main()
