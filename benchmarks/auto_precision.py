"""What ``precision=auto`` chooses on this CPU, beside what is faster: each built-in game in fp32 and bf16.

    python benchmarks/auto_precision.py
    python benchmarks/auto_precision.py --only gan --only dcgan --rounds 9

Both runs of a game play in turns, in one process; the figure is the median over the rounds. *auto* is chosen
with nothing measured before, and *cost* is what choosing took. The table goes to stdout.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

import mmgan
from mmgan.bench.measuring import set_up
from mmgan.bench.timing import timed, warm_up
from mmgan.config import resolve
from mmgan.engine import training
from mmgan.plugins import Plugins

GAMES: dict[str, dict[str, Any]] = {
    "gan, ring": {"data": "ring"},
    "gan, digits": {"data": "digits"},
    "dcgan, digits": {"data": "digits"},
    "dcgan, 64 pixels": {"data": "digits", "size": 64, "channels": 3},
    "wavegan, dim 16": {"data": "drums", "dim": 16, "batch_size": 16},
    "seqgan, the game": {"mle_steps": 0, "pretrain_rounds": 0},
    "pix2pix, 128 pixels": {"data": "digits", "derive": "colorize", "channels": 3, "size": 128},
    "cyclegan, 64 pixels": {"data": "digits", "derive": "edges", "size": 64, "identity_weight": 0.0},
}
PRECISIONS = ("fp32", "bf16")


def new_run(name: str, precision: str) -> mmgan.Run:
    """Make a run of a game."""
    plugins, plugin = Plugins(), name.partition(",")[0]
    flags = {"steps": 1000, "device": "cpu", "precision": precision, **GAMES[name]}
    return mmgan.new_run(resolve(plugins.config_class(plugin), plugin, flags=flags, environment={}), plugins)


def measure(name: str, rounds: int) -> dict[str, float]:
    """Return the seconds of a step in each precision."""
    runs = {precision: new_run(name, precision) for precision in PRECISIONS}
    with ExitStack() as stack:
        for run in runs.values():
            stack.enter_context(set_up(run))
            stack.enter_context(training(run))
        steps = {precision: warm_up(run, 3) for precision, run in runs.items()}
        found = [{p: timed(run, steps[p]) for p, run in runs.items()} for _ in range(rounds)]
    return {precision: median(one[precision] for one in found) for precision in PRECISIONS}


def choose(name: str) -> tuple[mmgan.Run, float]:
    """Return a run that chose for itself with nothing measured before, and how much longer that took."""
    cache = os.environ.get("MMGAN_CACHE_DIR")
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MMGAN_CACHE_DIR"] = folder
        for precision in ("fp32", "fp32", "auto"):  # The first one opens the data and imports what it needs.
            start = time.perf_counter()
            run = new_run(name, precision)
            seconds[precision] = time.perf_counter() - start
    del os.environ["MMGAN_CACHE_DIR"]
    if cache:
        os.environ["MMGAN_CACHE_DIR"] = cache
    return run, seconds["auto"] - seconds["fp32"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="PLUGIN", help="a plugin's name; repeatable")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that are counted (default 5)")
    options = parser.parse_args(arguments)
    print("| game | fp32 | bf16 | bf16 / fp32 | auto | cost | reason |")
    print("|---|---|---|---|---|---|---|")
    for name in GAMES:
        if options.only and name.partition(",")[0] not in options.only:
            continue
        print(name, file=sys.stderr)
        chosen, cost = choose(name)
        seconds = measure(name, options.rounds)
        times = " | ".join(f"{1e3 * seconds[precision]:.4g} ms" for precision in PRECISIONS)
        ratio = f"{seconds['bf16'] / seconds['fp32']:.2f}"
        told = chosen.precision
        print(f"| {name} | {times} | {ratio} | {told.name} | {cost:.1f} s | {told.reason} |", flush=True)


if __name__ == "__main__":
    main()
