"""How the cost of a step grows with the work: `mmgan bench` of dcgan, one setting changed at a time.

    python benchmarks/sweeps.py --json sweeps.json --plot sweeps.png > sweeps.md
    python benchmarks/sweeps.py --sweep threads
    python benchmarks/sweeps.py --from sweeps.json --plot sweeps.png > sweeps.md

The base is the embedded digits at 32 pixels in 3 channels, batch 32, width 32, fp32, no workers, and as many
threads as torch takes by itself. Each point is a process of its own, since threads are best chosen before
torch is loaded. Run it on an idle machine; a point takes a quarter of a minute. The base is measured again in
nearly every sweep: how far these figures lie apart says how still the machine was, and so does how far the
parts of a step, which come from later steps, add up to the step.

**The line.** If time went with the work alone, a step would take operations x the seconds that one took at
the point with the most work (and where threads change, 1 / threads of that). ``x line`` is how many times as
long it does take. Where it is 1, cost is linear. Above, something does not shrink with the work, and the
columns of parts say what: each holds the milliseconds that a part takes, and in brackets how many of them
lie above the line. ``of ceiling`` is the rate of operations by that of the fastest matrix product that was
met in any process with the same number format and threads. While it rises, more work is done faster.

**The parts** are those of `mmgan bench`, taken together: ``networks`` (forward, losses, backward),
``updates`` (optimizers, the moving average), ``data`` (waiting for a batch), ``engine`` (hooks and the rest).

**Workers** have a folder of pictures of their own, which is made for the time. Such a folder is decoded once,
into a cache; what is left for each batch is to gather bytes, mirror some of the pictures and scale them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.ticker import LogFormatter
from PIL import Image

from mmgan.samples.drawing import new_figure

Settings = dict[str, Any]
#: What one measurement came to: see :func:`summarize`.
Point = dict[str, Any]

BASE: Settings = {
    "data": "digits", "channels": 3, "batch_size": 32, "width": 32, "size": 32, "workers": 0,
    "precision": "fp32", "threads": torch.get_num_threads(),
}  # fmt: skip
#: The folder of pictures that workers read: no path that anyone has, so that none gets into the results.
FOLDER = "a folder of PNGs"
PICTURES, SIDE = 512, 96
GROUPS = {
    "forward": "networks", "loss": "networks", "backward": "networks",
    "optimizer": "updates", "average": "updates", "data": "data",
}  # fmt: skip
PARTS = ("networks", "updates", "data", "engine")


@dataclass(frozen=True)
class Sweep:
    """Values of one setting.

    Args:
        label: How it is called on an axis.
        values: Its values, in the order of the points.
        changes: What differs from the base in all points.
    """

    label: str
    values: tuple[Any, ...]
    changes: Settings = field(default_factory=dict)


def thread_counts(cpus: int) -> tuple[int, ...]:
    """Return powers of two up to the number of processors, and that number."""
    return tuple(sorted({2**power for power in range(cpus.bit_length())} | {cpus}))


SWEEPS = {
    "batch_size": Sweep("batch size", (8, 16, 32, 64, 128)),
    "width": Sweep("width, feature maps", (16, 32, 64, 128)),
    "size": Sweep("height and width, pixels", (32, 64, 128)),
    "threads": Sweep("threads", thread_counts(os.cpu_count() or 1)),
    "workers": Sweep("workers, for a folder of pictures", (0, 1, 2, 4), {"data": FOLDER, "flip": True}),
    "precision": Sweep("precision", ("fp32", "bf16")),
}


def points(name: str) -> list[Settings]:
    """Return the settings of each point of a sweep."""
    sweep = SWEEPS[name]
    return [BASE | sweep.changes | {name: value} for value in sweep.values]


def bench(settings: Settings, rounds: int, folder: Path) -> dict[str, Any]:
    """Return what ``mmgan bench --json`` says of these settings.

    Args:
        settings: mmgan's, and ``threads``.
        rounds: Rounds to measure.
        folder: Holds the pictures for workers, and takes mmgan's cache.

    Raises:
        SystemExit: The command failed, and has said why.
    """
    given = settings | {"data": str(folder / "pictures") if settings["data"] == FOLDER else settings["data"]}
    threads = str(given.pop("threads"))
    command = [sys.executable, "-m", "mmgan", "bench", "--plugin", "dcgan", "--json", "--rounds", str(rounds)]
    for key, value in given.items():
        command += ["--set", f"{key}={str(value).lower() if isinstance(value, bool) else value}"]
    own = {"OMP_NUM_THREADS": threads, "MMGAN_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(command, env=os.environ | own, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def summarize(value: Any, result: dict[str, Any]) -> Point:
    """Return a point's figures: seconds, bytes, and operations (a multiplication and an addition are two)."""
    spread, operations, memory = result["seconds_per_step"], result["operations"], result["memory"]
    parts: dict[str, float] = defaultdict(float)
    for part in result["split"]["parts"]:
        parts[GROUPS.get(part["part"], "engine")] += part["seconds"]
    return {
        "value": value,
        "seconds_per_step": spread["median"],
        "quartiles": [spread["lower_quartile"], spread["upper_quartile"]],
        "samples_per_s": result["samples_per_s"],
        "flops_per_step": operations["flops_per_step"],
        "ceiling_flops_per_s": operations["ceiling"]["flops_per_s"],
        "parts": {name: parts[name] for name in PARTS},
        "data_share": parts["data"] / result["split"]["seconds_per_step"],
        "peak_bytes": memory["gpu_peak_bytes"] or memory["process_peak_bytes"],
    }


def measure(names: list[str], rounds: int) -> dict[str, Any]:
    """Measure sweeps, and return them with the base and what all figures depend on."""
    results: dict[str, Any] = {"environment": {}, "base": BASE, "rounds": rounds, "sweeps": {}}
    alike: dict[tuple[int, str], list[Point]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="mmgan-sweeps-") as temporary:
        folder = Path(temporary)
        make_pictures(folder / "pictures")
        for name in names:
            results["sweeps"][name] = []
            for settings in points(name):
                print(f"{name} = {settings[name]}", file=sys.stderr)
                result = bench(settings, rounds, folder)
                point = summarize(settings[name], result)
                results["sweeps"][name].append(point)
                alike[settings["threads"], settings["precision"]].append(point)
                results["environment"] = results["environment"] or {
                    key: value for key, value in result["environment"].items() if key not in BASE
                }
    for found in alike.values():
        share_ceiling(found)
    return results


def share_ceiling(found: list[Point]) -> None:
    """Give points with the same threads and number format one ceiling, and their fractions of it.

    It is the highest that was measured: whatever else the machine did meanwhile only made it lower.
    """
    ceiling = max(point["ceiling_flops_per_s"] for point in found)
    for point in found:
        rate = point["flops_per_step"] / point["seconds_per_step"]
        point.update(ceiling_flops_per_s=ceiling, fraction=rate / ceiling)


def make_pictures(folder: Path) -> None:
    """Write PNGs of noise: what is on a picture makes no difference to the cost of a batch."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(PICTURES):
        pixels = draw.integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def work(name: str, point: Point) -> float:
    """Return what one thread has to do in a step: operations."""
    flops: float = point["flops_per_step"]
    return flops / point["value"] if name == "threads" else flops


def line(name: str, found: list[Point]) -> list[float]:
    """Return by how much each point's work is less than the most in the sweep, 1 for the most."""
    amounts = [work(name, point) for point in found]
    return [amount / max(amounts) for amount in amounts]


def reference(name: str, found: list[Point]) -> Point:
    """Return the point with the most work, the first of several: the line goes through it."""
    return max(found, key=lambda point: work(name, point))


def above(name: str, found: list[Point]) -> list[dict[str, float]]:
    """Return by how many seconds each part of each point lies above the line."""
    most = reference(name, found)["parts"]
    return [
        {part: seconds - scale * most[part] for part, seconds in point["parts"].items()}
        for point, scale in zip(found, line(name, found), strict=True)
    ]


def table(name: str, found: list[Point]) -> str:
    """Return a sweep as a Markdown table."""
    heads = [
        SWEEPS[name].label, "ms a step", "samples/s", "GFLOP a step", "of ceiling", "x line",
        *(f"{part}, ms" for part in PARTS), "memory, MiB",
    ]  # fmt: skip
    lines = [heads, ["---"] * len(heads)]
    longest = reference(name, found)["seconds_per_step"]
    for point, scale, more in zip(found, line(name, found), above(name, found), strict=True):
        memory = point["peak_bytes"]
        lines.append(
            [
                str(point["value"]),
                f"{1e3 * point['seconds_per_step']:.1f}",
                f"{point['samples_per_s']:.0f}",
                f"{point['flops_per_step'] / 1e9:.3g}",
                f"{point['fraction']:.1%}",
                f"{point['seconds_per_step'] / (scale * longest):.2f}",
                *(f"{1e3 * point['parts'][part]:.1f} ({1e3 * more[part]:+.1f})" for part in PARTS),
                "unknown" if memory is None else f"{memory / 2**20:,.0f}",
            ]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def describe(results: dict[str, Any]) -> str:
    """Return all sweeps as Markdown, and two signs of how still the machine was."""
    where, base = results["environment"], results["base"]
    settings = ", ".join(f"{key} {value}" for key, value in base.items())
    text = [
        f"{where['date'][:10]}, {where['cpu']}, torch {where['torch']}, mmgan {where['mmgan']}; "
        f"rounds {results['rounds']}. Base: {settings}."
    ]
    again = [
        1e3 * point["seconds_per_step"]
        for name, found in results["sweeps"].items()
        for point in found
        if not SWEEPS[name].changes and point["value"] == base[name]
    ]
    if len(again) > 1:
        text.append(f"The base, measured {len(again)} times: {min(again):.1f} to {max(again):.1f} ms.")
    sums = [
        sum(point["parts"].values()) / point["seconds_per_step"]
        for found in results["sweeps"].values()
        for point in found
    ]
    text.append(f"Parts, measured apart, add up to {min(sums):.2f} to {max(sums):.2f} times the step.")
    text += [table(name, found) for name, found in results["sweeps"].items()]
    return "\n\n".join(text)


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw milliseconds of a step, one panel for each sweep: the line dashed, the ceiling dotted.

    Both axes are logarithmic, where values are numbers that double from point to point.
    """
    sweeps = results["sweeps"]
    columns = min(3, len(sweeps))
    rows = math.ceil(len(sweeps) / columns)
    figure = new_figure(4 * columns, 3.2 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes[len(sweeps) :]:
        axis.remove()
    for axis, (name, found) in zip(axes, sweeps.items(), strict=False):
        values = [point["value"] for point in found]
        doubles = all(isinstance(value, int) and value > 0 for value in values)
        places = [math.log2(value) for value in values] if doubles else list(range(len(values)))
        measured = [1e3 * point["seconds_per_step"] for point in found]
        longest = 1e3 * reference(name, found)["seconds_per_step"]
        axis.plot(places, [scale * longest for scale in line(name, found)], "--", color="tab:gray")
        limits = [1e3 * point["flops_per_step"] / point["ceiling_flops_per_s"] for point in found]
        axis.plot(places, limits, ":", color="tab:gray")
        axis.plot(places, measured, "o-", color="tab:blue")
        for place, ms, point in zip(places, measured, found, strict=True):
            axis.annotate(
                f"{point['fraction']:.0%}", (place, ms), (0, 6), textcoords="offset points", ha="center"
            )
        axis.set_yscale("log")
        # Plain numbers, and between powers of ten too where the range is short.
        axis.yaxis.set(major_formatter=LogFormatter(), minor_formatter=LogFormatter())
        axis.set_xticks(places, [str(value) for value in values])
        axis.set_xlabel(SWEEPS[name].label)
        axis.margins(0.12, 0.15)
        axis.grid(which="both", alpha=0.3)
    for axis in axes[: len(sweeps) : columns]:
        axis.set_ylabel("ms a step")
    figure.legend(
        ["in proportion to the work", "at the machine's ceiling", "measured, % of the ceiling"],
        loc="outside upper center",
        ncols=columns,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sweep", choices=SWEEPS, help="measure this one only")
    add("--rounds", type=int, default=3, help="rounds to measure at each point (default 3)")
    add("--json", type=Path, help="where to write the figures")
    add("--plot", type=Path, help="where to draw a PNG")
    add("--from", type=Path, dest="source", metavar="JSON", help="measure nothing: take these figures")
    args = parser.parse_args(arguments)
    if args.source:
        results = json.loads(args.source.read_text(encoding="utf-8"))
    else:
        results = measure([args.sweep] if args.sweep else list(SWEEPS), args.rounds)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        plot(results, args.plot)
    print(describe(results))


if __name__ == "__main__":
    main()
