"""Does a GAN learn as well in bf16 as in fp32? mmgan's DCGAN on MNIST, both precisions, three seeds.

    python benchmarks/precision_mnist.py train --root DATA --judge judge.pt
    python benchmarks/precision_mnist.py time --root DATA
    python benchmarks/precision_mnist.py report --plot precision.png > precision.md

``train`` judges G and its average at marks of steps as ``judge.py`` does, and writes each mark to ``--json``
when it is reached. Stop it when you like, and start it again: runs that are whole are not repeated. What is
learned in so many steps does not depend on what else the machine does, so it need not be idle.

``time`` needs an idle machine. It alternates between some steps in fp32 and as many in bf16 in one process,
so that whatever else happens falls on both alike, and takes the medians over the rounds. Listeners, such as
TensorBoard, are left out. The seconds of a mark are its steps times such a median.

``report`` prints a Markdown table: the median of the seeds, and from the least to the greatest of them, at
marks that all runs have reached. Precisions whose ranges overlap were not told apart by three seeds.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcgan_mnist import generate
from judge import Judge, open_judge
from matplotlib.ticker import LogFormatter

import mmgan
from mmgan.bench import machine
from mmgan.cli.memory import keep_freed_memory
from mmgan.config import check
from mmgan.listeners.progress import Progress
from mmgan.plugins import Plugins
from mmgan.samples.drawing import new_figure
from mmgan.storage.files import write_text
from mmgan.testing.bench import play

SETTINGS: dict[str, Any] = {
    "plugin": "dcgan", "preset": "paper", "data": "torchvision:MNIST", "width": 32, "device": "cpu",
}  # fmt: skip
PRECISIONS = ("fp32", "bf16")
SEEDS = (0, 1, 2)
RESULTS = Path(__file__).parent / "results" / "precision.json"
#: What is judged, and how it is called in a row.
JUDGED = {"G": "distance", "average": "distance_ema"}
COLOURS = {"fp32": "tab:blue", "bf16": "tab:orange"}

#: What was judged at one mark: ``precision``, ``seed``, ``steps``, ``distance`` (of G), ``distance_ema``.
Row = dict[str, Any]


class Marks:
    """A listener that judges G and its average after so many steps.

    Args:
        judge: Who judges.
        steps: The marks.
        record: Told each mark's row.
    """

    def __init__(self, judge: Judge, steps: list[int], record: Callable[[Row], None]) -> None:
        self.judge, self.steps, self.record = judge, steps, record

    @mmgan.hookimpl(trylast=True)
    def after_step(self, run: mmgan.Run, step: int) -> None:
        """Judge where a mark is reached. Latents and the judge draw nothing of the run's randomness."""
        if step not in self.steps:
            return
        player = run.players["G"]
        row = {"precision": run.precision.name, "seed": run.config.seed, "steps": step}
        for key, module in zip(JUDGED.values(), (player.module, player.average), strict=True):
            row[key] = self.judge.score(generate(module, run.config.latent))["distance"]
        self.record(row)


def open_run(root: Path, precision: str, seed: int, steps: int, *listeners: Any) -> mmgan.Run:
    """Make a run that keeps nothing."""
    plugins = Plugins(*listeners)
    settings = SETTINGS | {"data_root": str(root), "precision": precision, "seed": seed, "steps": steps}
    return mmgan.new_run(check(plugins.task(SETTINGS["plugin"]).Config, settings), plugins)


def train(args: argparse.Namespace) -> None:
    """Train and judge what the results do not hold yet.

    Raises:
        SystemExit: The results are another judge's; distances of two judges can't be compared.
    """
    results, marks = read(args.json), args.marks
    judge = open_judge(args.root, args.judge)
    name = hashlib.sha256(args.judge.read_bytes()).hexdigest()
    if results.setdefault("judge", name) != name:
        raise SystemExit(f"{args.json} was judged by another judge: give its file, or another --json")
    for seed, precision in itertools.product(SEEDS, PRECISIONS):
        there = rows_of(results["rows"], precision, seed)
        whole = {row["steps"] for row in there} >= set(marks)
        print(f"{precision}, seed {seed}{' is there' if whole else ''}", file=sys.stderr)
        if whole:
            continue
        # A run that was stopped begins again, so its marks come again.
        results["rows"] = [row for row in results["rows"] if row not in there]

        def record(row: Row) -> None:
            print(json.dumps(row), file=sys.stderr)
            results["rows"].append(row)
            write(args.json, results)

        listeners = Marks(judge, marks, record), Progress(sys.stderr, 30.0)
        run = open_run(args.root, precision, seed, marks[-1], *listeners)
        results["environment"] = environment(run)
        mmgan.train(run)


def rows_of(rows: list[Row], precision: str, seed: int) -> list[Row]:
    """Return the rows of one run."""
    return [row for row in rows if (row["precision"], row["seed"]) == (precision, seed)]


def measure(args: argparse.Namespace) -> None:
    """Measure the milliseconds of a step in both precisions, in turns, and add them to the results."""
    runs = {precision: open_run(args.root, precision, 0, 10**6) for precision in PRECISIONS}
    for run in runs.values():
        play(run, run.step, run.step + args.stretch)  # the first steps choose kernels
    rounds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for number in range(args.rounds):
        for precision, run in runs.items():
            start = time.perf_counter()
            play(run, run.step, run.step + args.stretch)
            rounds[precision].append(1000 * (time.perf_counter() - start) / args.stretch)
        latest = ", ".join(f"{precision} {values[-1]:.1f} ms" for precision, values in rounds.items())
        print(f"round {number + 1} of {args.rounds}: {latest}", file=sys.stderr)
    step_ms = {precision: statistics.median(values) for precision, values in rounds.items()}
    timing = {"step_ms": step_ms, "rounds": rounds, "environment": environment(runs[PRECISIONS[0]])}
    write(args.json, read(args.json) | {"time": timing})


def environment(run: mmgan.Run) -> dict[str, Any]:
    """Return what figures depend on; not the precision, of which there are two."""
    return {key: value for key, value in machine.environment(run).items() if key != "precision"}


def report(args: argparse.Namespace) -> None:
    """Print the table, and draw the picture where one is asked for."""
    results = read(args.json)
    if not results["rows"]:
        raise SystemExit(f"{args.json} holds nothing yet: train first")
    rows, step_ms = comparable(results["rows"]), results.get("time", {}).get("step_ms", {})
    print(table(rows, step_ms))
    if args.plot:
        plot(rows, step_ms, args.plot)


def comparable(rows: list[Row]) -> list[Row]:
    """Return the rows at marks that every run has reached, so that each median is of the same seeds."""
    runs = {(row["precision"], row["seed"]) for row in rows}
    reached = Counter(row["steps"] for row in rows)
    return [row for row in rows if reached[row["steps"]] == len(runs)]


def spread(rows: list[Row], precision: str, key: str) -> dict[int, tuple[float, float, float]]:
    """Return the median, the least and the greatest of the seeds at each mark."""
    by_mark: dict[int, list[float]] = {}
    for row in rows:
        if row["precision"] == precision:
            by_mark.setdefault(row["steps"], []).append(row[key])
    return {
        steps: (statistics.median(found), min(found), max(found)) for steps, found in sorted(by_mark.items())
    }


def table(rows: list[Row], step_ms: dict[str, float]) -> str:
    """Return distances by marks as Markdown, with seconds where the milliseconds of a step are known."""
    columns: dict[str, dict[int, str]] = {}
    for precision, ms in step_ms.items():
        columns[f"{precision}: seconds"] = {row["steps"]: f"{row['steps'] * ms / 1000:.0f}" for row in rows}
    for (judged, key), precision in itertools.product(JUDGED.items(), PRECISIONS):
        columns[f"{precision}: {judged}"] = {
            steps: f"{median:.0f} ({least:.0f} to {most:.0f})"
            for steps, (median, least, most) in spread(rows, precision, key).items()
        }
    lines = [["steps", *columns], ["---"] * (len(columns) + 1)]
    for steps in sorted({row["steps"] for row in rows}):
        lines.append([f"{steps:,}", *(column.get(steps, "") for column in columns.values())])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(rows: list[Row], step_ms: dict[str, float], path: Path) -> None:
    """Draw the average's distance against steps, and against seconds where they are known."""
    # By units of the horizontal axis: how many of them a step takes.
    panels = {"steps": dict.fromkeys(PRECISIONS, 1.0)}
    if step_ms:
        panels["seconds"] = {precision: ms / 1000 for precision, ms in step_ms.items()}
    figure = new_figure(4.5 * len(panels), 3.6)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    key = JUDGED["average"]
    for axis, (unit, scales) in zip(axes, panels.items(), strict=True):
        for precision, seed in itertools.product(PRECISIONS, sorted({row["seed"] for row in rows})):
            run = rows_of(rows, precision, seed)
            points = sorted((row["steps"] * scales[precision], row[key]) for row in run)
            axis.plot(*zip(*points, strict=True), color=COLOURS[precision], linewidth=0.8, alpha=0.5)
        for precision in PRECISIONS:
            medians = spread(rows, precision, key).items()
            points = [(steps * scales[precision], median) for steps, (median, *_) in medians]
            axis.plot(
                *zip(*points, strict=True),
                color=COLOURS[precision], linewidth=2.5, marker="o", markersize=4, label=precision,
            )  # fmt: skip
        axis.set(xlabel=unit, yscale="log")
        # Plain numbers, and between powers of ten too where the range is short.
        axis.yaxis.set(major_formatter=LogFormatter(), minor_formatter=LogFormatter())
        axis.grid(which="both", alpha=0.3)
    axes[0].set_ylabel("Fréchet distance of G's average")
    axes[0].legend(title="median of the seeds")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def read(path: Path) -> dict[str, Any]:
    """Read the results; of a file that is not there yet, none."""
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}
    return results


def write(path: Path, results: dict[str, Any]) -> None:
    """Write the results, whole at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(results, indent=1) + "\n")


def ascending(text: str) -> list[int]:
    """Read "250,500" as ascending steps."""
    marks = [int(mark) for mark in text.split(",")]
    if marks != sorted(set(marks)) or marks[0] < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: ascending steps are needed, such as 250,500")
    return marks


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train", help="train and judge what is not there yet")
    timing = commands.add_parser("time", help="measure the milliseconds of a step")
    reporting = commands.add_parser("report", help="print a table and draw a picture")
    for command, do in ((training, train), (timing, measure), (reporting, report)):
        command.set_defaults(do=do)
        command.add_argument(
            "--json", type=Path, default=RESULTS, help="the results (default results/precision.json)"
        )
    for command in (training, timing):
        command.add_argument("--root", type=Path, required=True, help="the folder of torchvision's MNIST/")
    training.add_argument("--judge", type=Path, required=True, help="the judge's file; trained if missing")
    training.add_argument(
        "--marks", type=ascending, default="250,500,1000,1500,2000,3000", help="steps (default %(default)s)"
    )
    timing.add_argument("--rounds", type=int, default=20, help="rounds that count (default %(default)s)")
    timing.add_argument("--stretch", type=int, default=10, help="steps of each in a round (default 10)")
    reporting.add_argument("--plot", type=Path, help="where to draw a PNG")
    args = parser.parse_args(arguments)
    keep_freed_memory()
    args.do(args)


if __name__ == "__main__":
    main()
