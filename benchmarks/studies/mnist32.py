"""MNIST at 32 pixels: how near each game comes to the data in 2, 5 and 10 minutes.

    python benchmarks/studies/mnist32.py --mnist DATA --out runs/mnist32
    python benchmarks/studies/mnist32.py --out runs/mnist32 --table --plot docs/pictures/mnist32.png
    python benchmarks/studies/mnist32.py --mnist DATA --conditional --marks 600 --out runs/mnist32-classes

At each mark of time spent in steps 10,000 samples are judged by ``judge.py``: their Fréchet distance to the
test pictures in its features, and the share that it reads with more than 0.9 ("clear"). With
``--conditional`` the digits are learned as classes, and a second table says how many samples are read as they
were asked for, and what samples are worth as training data (see ``conditional_mnist.py``). Use an idle
machine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from study import ENDLESS, Row, Study, arguments_of, chosen, markdown, mean, play

from mmgan.samples.drawing import new_figure

sys.path.insert(0, str(Path(__file__).parents[1]))

from conditional_mnist import JUDGED, judged, pictures
from judge import mnist, open_judge

BASE: dict[str, Any] = {
    "data": "torchvision:MNIST", "size": 32, "channels": 1, "steps": ENDLESS, "sample_every": 0,
    "evaluate_every": 0, "checkpoint_every": 2000,
}  # fmt: skip
ROWS = [
    Row("dcgan, the paper's", {"plugin": "dcgan", "width": 32, "preset": "paper"}),
    Row("dcgan, rpgan + r1r2", {"plugin": "dcgan", "width": 32, "preset": "r1r2"}),
    Row("r3gan, small-cpu", {"plugin": "r3gan", "preset": "small-cpu"}),
    Row("gan", {"plugin": "gan"}),
]
REAL = "real pictures"


def table(study: Study) -> str:
    """Return the table: distance and clear share at each mark, and a step's cost; and that of classes."""
    return "\n\n".join(filter(None, (distances(study), classes(study))))


def classes(study: Study) -> str:
    """Return the table of the rows that have learned classes, if there are any."""
    rows = []
    for row in ROWS:
        for mark in sorted({line["mark"] for line in study.of(row=row.name) if "agreement" in line}):
            at = study.of(row=row.name, mark=mark)
            scores = ("agreement", "least", "accuracy_score")
            percent = [mean([100 * line[name] for line in at], 1) for name in scores]
            rows.append([row.name, f"{mark / 60:g}", *percent, str(len(at))])
    header = ["", "minutes", "read as asked, %", "the worst digit, %", "accuracy score, %", "seeds"]
    return markdown(header, rows) if rows else ""


def distances(study: Study) -> str:
    """Return the table of distances."""
    marks = sorted({line["mark"] for line in study.lines if line["mark"]})
    header = ["", *(f"{mark / 60:g} min" for mark in marks), "ms a step", "seeds"]
    rows = []
    for row in ROWS:
        if not (lines := study.of(row=row.name)):
            continue
        cells = []
        for mark in marks:
            at = study.of(row=row.name, mark=mark)
            clear = mean([100 * line["clear"] for line in at], 0).partition(" ")[0]
            cells.append(f"{mean([line['distance'] for line in at], 1)}, {clear}%" if at else "")
        cost = 1000 * sum(line["seconds"] for line in lines) / sum(line["steps"] for line in lines)
        rows.append([row.name, *cells, f"{cost:.0f}", str(len({line["seed"] for line in lines}))])
    for line in study.of(row=REAL):
        rows.append([REAL, *[f"{line['distance']:.1f}, {100 * line['clear']:.0f}%"] * len(marks), "", ""])
    return markdown(header, rows)


def draw(study: Study, path: Path) -> None:
    """Draw distances against seconds, each run thin and each row's mean thick, into a PNG."""
    figure = new_figure(7, 4.5)
    axes = figure.add_subplot()
    for number, row in enumerate(ROWS):
        lines = study.of(row=row.name)
        marks = sorted({line["mark"] for line in lines})
        for seed in {line["seed"] for line in lines}:
            at = sorted((line["mark"], line["distance"]) for line in lines if line["seed"] == seed)
            axes.plot(*zip(*at, strict=True), color=f"C{number}", alpha=0.3, linewidth=1)
        if marks:
            of = [[line["distance"] for line in lines if line["mark"] == mark] for mark in marks]
            means = [sum(distances) / len(distances) for distances in of]
            axes.plot(marks, means, "o-", color=f"C{number}", label=row.name)
    for line in study.of(row=REAL):
        axes.axhline(line["distance"], color="grey", linestyle=":", label=REAL)
    axes.set(xlabel="seconds of training", ylabel="Fréchet distance in the judge's features", yscale="log")
    axes.legend()
    figure.savefig(path)


def main(arguments: list[str] | None = None) -> None:
    parser = arguments_of(__doc__, ROWS, seeds=3, out="runs/mnist32")
    add = parser.add_argument
    add("--mnist", type=Path, default=Path("data"), help="the folder that holds MNIST/")
    add("--judge", type=Path, default=Path("judge.pt"), help="its file; trained if missing (%(default)s)")
    add("--marks", type=float, nargs="+", default=[120, 300, 600], help="seconds of training (%(default)s)")
    add("--conditional", action="store_true", help="learn the digits as classes")
    add("--plot", type=Path, metavar="PNG", help="with --table: draw distances against seconds")
    args = parser.parse_args(arguments)

    def work(study: Study) -> None:
        judge = open_judge(args.mnist, args.judge)
        training, digits = mnist(args.mnist, train=True)
        if not study.has(row=REAL):
            some = torch.randperm(len(training), generator=torch.Generator().manual_seed(0))[:JUDGED]
            study.add({"row": REAL, "mark": 0} | judge.score(training[some]))
        for seed in range(args.seeds):
            for row in chosen(ROWS, args):
                for mark in sorted(args.marks):
                    key = {"row": row.name, "seed": seed, "mark": mark}
                    if study.has(**key):
                        continue
                    settings = BASE | row.settings | {"data_root": str(args.mnist), "seed": seed}
                    settings |= {"conditional": args.conditional}
                    run = study.trained(f"{row.slug}-{seed}", settings, mark)
                    if args.conditional:
                        scores = dict(judged(run, judge, digits))
                    else:
                        scores = judge.score(pictures(run, JUDGED, 200))
                    study.add(key | {"steps": run.step, "seconds": round(run.seconds, 1)} | scores)

    play(args, work, table)
    if args.plot:
        draw(Study(args.out), args.plot)


if __name__ == "__main__":
    main()
