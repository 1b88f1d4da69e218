"""What an installed mmgan weighs: the bytes of each package that it requires, and the seconds of its import.

    python -m venv bare && bare/bin/pip install '.[all]'
    bare/bin/python benchmarks/installed.py

prints a Markdown table: the packages that mmgan requires itself, and those of its extras. Bytes are those of a
package's files, bytecode included. What a package brings along is what nothing else of the base, or of its
own extra, requires. Seconds are those of ``import`` in a new process, with its files in memory, less those of a
process that imports nothing.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement

#: How often an import is timed; the median counts.
TIMES = 3


def name_of(name: str) -> str:
    """Return the one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(distribution: str, extra: str = "") -> list[str]:
    """Return the distributions that one requires here, or that an extra of it adds."""
    found = []
    for text in metadata.requires(distribution) or []:
        requirement = Requirement(text)
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if needed and bool(extra) == ("extra ==" in text):
            found.append(name_of(requirement.name))
    return found


def closure(start: Iterable[str]) -> set[str]:
    """Return installed distributions and all that they require."""
    found, waiting = set(), list(start)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            waiting += required(name)
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
    return found


def size(distribution: str) -> int:
    """Return the bytes of a distribution's files."""
    paths = (file.locate() for file in metadata.files(distribution) or [])
    return sum(path.stat().st_size for path in paths if path.is_file())


def seconds(module: str) -> float:
    """Return the median time of a new process that imports a module."""
    times = []
    for _ in range(TIMES + 1):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True, capture_output=True)
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:])


def module_of(distribution: str) -> str:
    """Return the module that a distribution is imported by."""
    names = [
        module
        for module, owners in metadata.packages_distributions().items()
        if distribution in map(name_of, owners) and not module.startswith("_")
    ]
    likely = distribution.replace("-", "_")
    return likely if likely in names else min(names, key=len)


def main() -> None:
    """Print the table, and the sum of the base."""
    nothing = seconds("sys")
    base = required("mmgan")
    rows = [(name, "", closure(base) - closure(set(base) - {name})) for name in base]
    for extra in sorted(set(metadata.metadata("mmgan").get_all("Provides-Extra")) - {"all", "dev"}):
        names = required("mmgan", extra)
        others = closure(base)
        rows += [(name, extra, closure([name]) - others) for name in names if name in closure(names)]
    rows.sort(key=lambda row: (row[1] != "", -sum(map(size, row[2] | {row[0]}))))
    print("| package | extra | MB | brings along | MB with those | import (s) |")
    print("|---|---|---|---|---|---|")
    for name, extra, brought in rows:
        others = sorted(brought - {name})
        along = f"{', '.join(others[:6])}{f' and {len(others) - 6} more' if len(others) > 6 else ''}"
        together = sum(map(size, brought | {name})) / 1e6
        took = max(0.0, seconds(module_of(name)) - nothing)
        print(f"| {name} | {extra} | {size(name) / 1e6:.1f} | {along} | {together:.1f} | {took:.2f} |")
    everything = closure(base)
    print(f"\nbase: {len(everything)} packages, {sum(map(size, everything)) / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
