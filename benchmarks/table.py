"""How fast mmgan trains, and what its engine costs: the one measurement of step throughput, ``make bench``.

For each case three loops do the same work, each in a process of its own, and play in turns:

- ``mmgan``: the engine with all that a run does by default (metrics, the watch for NaN, TensorBoard, the
  status file), without samples and checkpoints.
- ``plain``: the paper's game as a page of PyTorch (``bare_*.py``): float32, contiguous, Adam as it comes.
- ``same``: mmgan's networks and its optimisations in a hand-written loop, without the engine (``same.py``).

*Times faster* is plain / mmgan; *engine overhead* is mmgan / same. Run it on an idle machine; all
cases take about half an hour.

    python benchmarks/table.py --json benchmarks/results/table.json --readme README.md
    python benchmarks/table.py --only dcgan-64 --only wavegan --rounds 3

The table goes to stdout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from alternate import WorkerError, measure
from cases import CASES, Case
from report import fraction_of_ceiling, markdown, publish, replaced

from mmgan import __version__
from mmgan.backend.precision import DTYPES
from mmgan.bench import machine


def tell(text: str) -> None:
    """Say what is being done, to people."""
    print(text, file=sys.stderr, flush=True)


def environment() -> dict[str, Any]:
    """Return what ratios depend on: the processor, the number of threads, torch."""
    return {
        "mmgan": __version__,
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        **machine.processor(Path("/proc/cpuinfo")),
    }


def measure_all(cases: Iterable[Case], rounds: int) -> dict[str, Any]:
    """Measure cases, one after the other.

    Raises:
        WorkerError: A loop failed.
    """
    tell("the fastest matrix products")
    cpu = torch.device("cpu")
    results: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **environment(),
        "rounds": rounds,
        "ceiling": {name: machine.ceiling(cpu, DTYPES[name]) for name in ("fp32", "bf16")},
        "cases": {},
    }
    for case in cases:
        found = measure(case, rounds, tell)
        found["fraction_of_ceiling"] = fraction_of_ceiling(found, results["ceiling"])
        results["cases"][case.name] = found
    return results


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is measured, and how often."""
    names = [case.name for case in CASES]
    parser.add_argument(
        "--only",
        action="append",
        choices=names,
        metavar="CASE",
        help=f"one of {', '.join(names)}; repeatable",
    )
    parser.add_argument("--rounds", type=positive, default=5, help="rounds that are counted (default 5)")


def positive(text: str) -> int:
    """Read a number from 1 on."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number}: at least 1 is needed")
    return number


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="mmgan's, instead of each case's own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the results")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="where to write the table too")
    parser.add_argument(
        "--readme",
        type=Path,
        metavar="FILE",
        help="where the table's markers are, to replace what is between",
    )
    options = parser.parse_args(arguments)
    cases = [case for case in CASES if case.name in (options.only or case.name)]
    if options.precision:
        cases = [replace(case, precision=options.precision) for case in cases]
    if options.readme:
        # Before half an hour, and not after it.
        try:
            replaced(options.readme.read_text(encoding="utf-8"), "")
        except (OSError, ValueError) as error:
            sys.exit(f"error: {options.readme}: {error}")
    try:
        results = measure_all(cases, options.rounds)
    except WorkerError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    table = markdown(results)
    publish(table, results, options)
    if options.readme:
        text = options.readme.read_text(encoding="utf-8")
        options.readme.write_text(replaced(text, table), encoding="utf-8")


if __name__ == "__main__":
    main()
