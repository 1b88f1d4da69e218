"""What an installed mmgan weighs: the bytes of each package that it requires, and the seconds of its import.

    python -m venv bare && bare/bin/pip install '.[all]'
    bare/bin/python benchmarks/installed.py

prints a Markdown table: the packages that mmgan requires itself, and those of its extras. Bytes are those of
a package's files, bytecode included. What a package brings along is what nothing else of the base, or of its
own extra, requires. Seconds are of processor time, to import what mmgan imports of it in a new process that
has imported torch already, with its files in memory.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata

from packaging.requirements import Requirement

#: How often an import is timed; the median counts.
TIMES = 3
#: What mmgan imports, where that is not the distribution's name.
MODULES = {
    "matplotlib": "matplotlib.figure",
    "pillow": "PIL.Image",
    "rich": "rich.progress",
    "scikit-learn": "sklearn.datasets",
    "scipy": "scipy.signal",
    "tensorboard": "torch.utils.tensorboard",
    "torchaudio": "torchaudio.transforms",
    "torchmetrics": "torchmetrics.functional.image",
    "torchvision": "torchvision.datasets",
}


def name_of(name: str) -> str:
    """Return the one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(distribution: str, extras: Iterable[str] = ()) -> dict[str, set[str]]:
    """Return the distributions that one requires here with some of its extras, and which extras of them."""
    found: dict[str, set[str]] = {}
    for requirement in map(Requirement, metadata.requires(distribution) or []):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            found.setdefault(name_of(requirement.name), set()).update(requirement.extras)
    return found


def closure(start: Mapping[str, set[str]]) -> set[str]:
    """Return installed distributions and all that they require."""
    found: dict[str, set[str]] = {}
    waiting = list(start.items())
    while waiting:
        name, extras = waiting.pop()
        if name in found and extras <= found[name]:
            continue
        try:
            waiting += required(name, extras).items()
        except metadata.PackageNotFoundError:
            continue
        found[name] = found.get(name, set()) | extras
    return set(found)


def size(distribution: str) -> int:
    """Return the bytes of a distribution's files."""
    paths = (file.locate() for file in metadata.files(distribution) or [])
    return sum(path.stat().st_size for path in paths if path.is_file())


def seconds(distribution: str) -> float:
    """Return the median processor time of importing what mmgan imports of a distribution."""
    module = MODULES.get(distribution, distribution.replace("-", "_"))
    first = "" if distribution == "torch" else "import torch"
    program = f"""
import time
{first}
begun = time.process_time()
import {module}
print(time.process_time() - begun)
"""
    command = [sys.executable, "-c", program]
    # The first one fills the system's cache of files, and writes bytecode.
    times = [float(subprocess.check_output(command, text=True)) for _ in range(TIMES + 1)]
    return statistics.median(times[1:])


def main() -> None:
    """Print the table, and the sum of the base."""
    base = required("mmgan")
    rows = [
        (name, "", closure(base) - closure({other: base[other] for other in base if other != name}) | {name})
        for name in base
    ]
    for extra in sorted(set(metadata.metadata("mmgan").get_all("Provides-Extra")) - {"all", "dev"}):
        added = {name: wanted for name, wanted in required("mmgan", [extra]).items() if name not in base}
        rows += [(name, extra, closure({name: added[name]}) - closure(base)) for name in added]
    rows = [row for row in rows if row[2]]  # What is not installed brings nothing.
    rows.sort(key=lambda row: (row[1] != "", -sum(map(size, row[2]))))
    print("| package | extra | MB | brings along | MB with those | import (s) |")
    print("|---|---|---|---|---|---|")
    for name, extra, brought in rows:
        others = sorted(brought - {name})
        along = f"{', '.join(others[:6])}{f' and {len(others) - 6} more' if len(others) > 6 else ''}"
        together = sum(map(size, brought | {name})) / 1e6
        print(
            f"| {name} | {extra} | {size(name) / 1e6:.1f} | {along} | {together:.1f} | {seconds(name):.2f} |"
        )
    everything = closure(base)
    print(f"\nbase: {len(everything)} packages, {sum(map(size, everything)) / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
