"""Has mmgan become slower? Its ratios are measured again and compared with the stored ones.

    python benchmarks/guard.py
    python benchmarks/guard.py --only dcgan-64

What is compared are ratios of loops, not times; yet these too differ from processor to processor. So on
another one than that of the stored results, or with another number of threads, nothing is measured.

Prints a table of stored, new and change. Exit code 1: *times faster* fell by more than 15%, or the time
beside the loop without the engine rose by more. 2: nothing could be compared. Run it by hand, on an idle
machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alternate import WorkerError
from cases import CASES
from table import add_options, environment, measure_all

STORED = Path(__file__).with_name("results") / "table.json"
#: How much worse a ratio may become.
TOLERANCE = 0.15
#: What must be equal for ratios to be compared.
MACHINE = ("cpu", "cpu_features", "cpu_kernels", "threads")


def compare(stored: dict[str, Any], now: dict[str, Any]) -> tuple[list[str], bool]:
    """Return the rows of a table of all ratios that both results have, and whether one is too bad.

    Args:
        stored: Results of ``table.py``.
        now: Newer ones.
    """
    rows, failed = [], False
    for name, case in now["cases"].items():
        for ratio, sign in (("times_faster", -1), ("engine", 1)):
            if case[ratio] is None:
                continue
            before, after = stored["cases"][name][ratio]["median"], case[ratio]["median"]
            change = after / before - 1
            worse = sign * change > TOLERANCE
            failed |= worse
            note = " worse" if worse else ""
            rows.append(f"| {name} | {ratio} | {before:.3f} | {after:.3f} | {change:+.1%}{note} |")
    return rows, failed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    try:
        stored = json.loads(STORED.read_text(encoding="utf-8"))
    except OSError as error:
        return refuse(f"no stored results: {error}")
    here = environment()
    if differing := [key for key in MACHINE if stored[key] != here[key]]:
        said = "; ".join(f"{key} was {stored[key]}, is {here[key]}" for key in differing)
        return refuse(f"the stored results are another machine's, and a comparison would mean little: {said}")
    cases = [
        # In the precision in which they were measured.
        replace(case, precision=stored["cases"][case.name]["precision"])
        for case in CASES
        if case.name in stored["cases"] and case.name in (options.only or case.name)
    ]
    if not cases:
        return refuse("the stored results have none of these cases")
    try:
        rows, failed = compare(stored, measure_all(cases, options.rounds))
    except WorkerError as error:
        return refuse(str(error))
    print("| case | ratio | stored | now | change |", "|---|---|---|---|---|", *rows, sep="\n")
    return int(failed)


def refuse(reason: str) -> int:
    """Say why nothing was compared, and what makes new results."""
    again = "python benchmarks/table.py --json benchmarks/results/table.json"
    print(f"{reason.rstrip('.')}.\nTo store new results: {again}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
