"""What the studies share: rows of settings, runs that go on where they were stopped, results, and tables.

A study trains every row of its table from several seeds. Each run has a folder of its own below ``--out``,
and each result is a line of ``results.jsonl`` there. A study that was stopped, or whose ``--minutes`` were
over, goes on with the same command: what is done is not done again, and a run resumes at its last checkpoint.
``--table`` prints the table of the results that there are, in Markdown, and trains nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import torch

import mmgan
from mmgan.config import check
from mmgan.listeners.progress import Progress
from mmgan.plugins import Plugins

Line = dict[str, Any]
#: Steps of a run that ends by time.
ENDLESS = 10**7


class OutOfTime(Exception):
    """The minutes of this command are over; the run is saved."""


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        name: Its name, in tables and in ``--rows``.
        settings: Those in which it differs from the others.
    """

    name: str
    settings: dict[str, Any]

    @property
    def slug(self) -> str:
        """The name as a folder's."""
        kept = "".join(c if c.isalnum() else "-" for c in self.name.lower())
        return "-".join(filter(None, kept.split("-")))


class Clock:
    """A listener that ends a run after a time in steps, and interrupts it when the command's time is over.

    Args:
        seconds: The run's: resumed parts count, and what logs, samples and checkpoints take does not. None:
            until its steps are done.
        deadline: When the command's time is over, by ``time.monotonic()``.
    """

    def __init__(self, seconds: float | None, deadline: float) -> None:
        self.seconds, self.deadline = seconds, deadline
        self.is_late = False

    @mmgan.hookimpl(trylast=True)
    def after_step(self, run: mmgan.Run) -> None:
        """End or interrupt the run where it is time."""
        if self.seconds is not None and run.seconds >= self.seconds:
            run.finish(f"{self.seconds:g} seconds of training are over")
        elif monotonic() >= self.deadline:
            self.is_late = True
            run.stop_signal = 2


class Study:
    """A study's folder: its runs and its results.

    Args:
        out: The folder.
        minutes: How long this command may train; None: until all is done.
    """

    def __init__(self, out: Path, minutes: float | None = None) -> None:
        self.out = out
        self._deadline = monotonic() + 60 * minutes if minutes is not None else float("inf")
        self._file = out / "results.jsonl"
        text = self._file.read_text(encoding="utf-8") if self._file.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # what a killed process left
            self._file.write_text(whole, encoding="utf-8")
        #: All results, in the order in which they came.
        self.lines: list[Line] = [json.loads(line) for line in whole.splitlines()]

    def has(self, **key: Any) -> bool:
        """Whether there is a result with these values."""
        return any(self._is(line, key) for line in self.lines)

    def of(self, **key: Any) -> list[Line]:
        """Return the results with these values."""
        return [line for line in self.lines if self._is(line, key)]

    @staticmethod
    def _is(line: Line, key: dict[str, Any]) -> bool:
        return all(line.get(name) == value for name, value in key.items())

    def add(self, line: Line) -> None:
        """Keep a result, and print it."""
        self.out.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.lines.append(line)
        print(json.dumps(line), flush=True)

    def trained(self, name: str, settings: dict[str, Any], seconds: float | None = None) -> mmgan.Run:
        """Train a run, or go on with it, and return it.

        Args:
            name: Of its folder below ``out``. One that is trained is only opened.
            settings: Of a new run.
            seconds: Time to spend in steps; None: until ``steps`` of the settings are done.

        Raises:
            OutOfTime: This command's time is over.
        """
        clock = Clock(seconds, self._deadline)
        plugins = Plugins(Progress(sys.stderr, 60.0), clock)
        folder = self.out / name
        if any(folder.glob("checkpoints/*/manifest.json")):
            run = mmgan.load_run(folder, plugins)
            run.seconds = json.loads((folder / "status.json").read_text(encoding="utf-8"))["seconds"]
        else:
            if monotonic() >= self._deadline:
                raise OutOfTime
            shutil.rmtree(folder, ignore_errors=True)  # it was stopped before its first checkpoint
            config = check(plugins.task(settings["plugin"]).Config, {"tensorboard": False} | settings)
            run = mmgan.new_run(config, plugins, folder)
        is_whole = run.step >= run.config.steps if seconds is None else run.seconds >= seconds
        if not is_whole:
            print(f"{folder}: {run.dataset.description}", file=sys.stderr)
            mmgan.train(run)
            if clock.is_late:
                raise OutOfTime
        return run


def arguments_of(doc: str | None, rows: Sequence[Row], seeds: int, out: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that every study has.

    Args:
        doc: The study's, for ``--help``.
        rows: Its rows.
        seeds: How many seeds by default.
        out: Its folder by default.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    known = {row.slug: row for row in rows}
    add("--out", type=Path, default=Path(out), help="the folder of runs and results (%(default)s)")
    add("--rows", nargs="+", choices=known, default=list(known), metavar="ROW", help=f"of {', '.join(known)}")
    add("--seeds", type=int, default=seeds, help="how many seeds, from 0 (%(default)s)")
    add(
        "--minutes", type=float, help="stop after these minutes; the same command goes on (until all is done)"
    )
    add("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    add("--table", action="store_true", help="train nothing: print the table of the results, in Markdown")
    return parser


def play(args: argparse.Namespace, work: Callable[[Study], None], table: Callable[[Study], str]) -> None:
    """Do a study's work, or print its table."""
    torch.set_num_threads(args.threads)
    study = Study(args.out, args.minutes)
    if args.table:
        print(table(study))
        return
    try:
        work(study)
    except OutOfTime:
        print("The minutes are over: the same command goes on.", file=sys.stderr)


def chosen(rows: Sequence[Row], args: argparse.Namespace) -> list[Row]:
    """Return the rows that ``--rows`` names."""
    return [row for row in rows if row.slug in args.rows]


def race(
    study: Study,
    rows: Sequence[Row],
    seeds: int,
    base: dict[str, Any],
    minutes: float,
    shown: int = 64,
    judged: int = 0,
) -> None:
    """Train all rows for equally long, evaluate them, and keep a file of samples beside each run's folder.

    Args:
        study: Where results go: a line for each row and seed, with all of its scores.
        rows: The rows.
        seeds: How many seeds, from 0.
        base: The settings that all rows have.
        minutes: Of each run, spent in steps.
        shown: How many samples that is.
        judged: How many are evaluated; 0: as many as the task chooses.
    """
    for seed in range(seeds):
        for row in rows:
            key = {"row": row.name, "seed": seed, "minutes_each": minutes}
            if study.has(**key):
                continue
            settings = base | row.settings | {"seed": seed, "steps": ENDLESS}
            run = study.trained(f"{row.slug}-{seed}", settings, 60 * minutes)
            samples = run.sample(shown, seed=0)
            samples.save(study.out / f"{row.slug}-{seed}-{minutes:g}{samples.suffix}")
            with warnings.catch_warnings():
                # A score that needs more pictures than there are is missing in the table too.
                warnings.filterwarnings("ignore", message=".* is left out")
                scores = run.evaluate(judged)
            study.add(key | {"steps": run.step, "seconds": round(run.seconds, 1)} | scores)


def racing(doc: str | None, rows: Sequence[Row], out: str, minutes: float) -> argparse.ArgumentParser:
    """Return a parser with the arguments of a race: those of every study, its data, and how long it takes."""
    parser = arguments_of(doc, rows, seeds=1, out=out)
    parser.add_argument("--data", type=Path, help="a folder of examples")
    parser.add_argument(
        "--minutes-each", type=float, default=minutes, help="minutes of training a row (%(default)s)"
    )
    return parser


def hold(
    parser: argparse.ArgumentParser,
    arguments: list[str] | None,
    rows: Sequence[Row],
    base: Callable[[argparse.Namespace], dict[str, Any]],
    columns: dict[str, tuple[str, int]],
    shown: int = 64,
    judged: int = 0,
) -> None:
    """Hold a race, or print its table; see :func:`race` and :func:`raced`.

    Args:
        parser: That of :func:`racing`.
        arguments: The command line's.
        rows, columns, shown, judged: As there.
        base: The settings that all rows have, but for the data, by the arguments.
    """
    args = parser.parse_args(arguments)
    if args.data is None and not args.table:
        parser.error("--data is needed to train")
    settings = base(args) | {"data": str(args.data)}

    def work(study: Study) -> None:
        race(study, chosen(rows, args), args.seeds, settings, args.minutes_each, shown, judged)

    play(args, work, lambda study: raced(study, rows, columns))


def raced(study: Study, rows: Sequence[Row], columns: dict[str, tuple[str, int]]) -> str:
    """Return the table of a race: the mean of some scores over the seeds.

    Args:
        study: With the results.
        rows: The rows.
        columns: For each column the score, and how many digits it is shown with.
    """
    table = []
    for minutes in sorted({line["minutes_each"] for line in study.lines}):
        for row in rows:
            if lines := study.of(row=row.name, minutes_each=minutes):
                cells = [
                    mean([line[score] for line in lines if score in line], digits)
                    for score, digits in columns.values()
                ]
                steps = sum(line["steps"] for line in lines) / len(lines)
                table.append([row.name, *cells, f"{minutes:g}", f"{steps:,.0f}", str(len(lines))])
    return markdown(["", *columns, "minutes", "steps", "seeds"], table)


def mean(values: Sequence[float], digits: int = 2) -> str:
    """Return a mean as text, with the standard error of several: "7.90 ± 0.10"; "" without values."""
    if not values:
        return ""
    text = f"{statistics.fmean(values):,.{digits}f}"
    if len(values) == 1:
        return text
    return f"{text} ± {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
