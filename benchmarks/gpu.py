"""How fast mmgan trains on a GPU, beside plain loops: ``make gpu`` runs it after the tests.

For each game up to five loops do the same work, each in a process of its own, and play in turns, as in
``table.py``:

- ``mmgan``: the engine with all that a run does by default, CUDA graphs included where the game has them.
- ``mmgan-eager``: the same with ``graphs=off``.
- ``plain``: the paper's game as a page of PyTorch (``bare_*.py``): float32, contiguous, Adam as it comes.
- ``plain-bf16``: that page under autocast to bf16, channels-last, with Adam's fused kernel.
- ``plain-graphs``: that, in mmgan's precision, recorded once as a CUDA graph and replayed. For games whose
  step can be recorded at all; WaveGAN's phase shuffle then stays as it was recorded.

All take their batches from the CPU's memory by a pinned copy. Below a number of the plain loops is how many
times faster mmgan is. *Of the matrix rate* is mmgan's rate of operations beside that of the fastest matrix
product on this card in the same format.

    python benchmarks/gpu.py --json gpu.json --markdown gpu.md
    python benchmarks/gpu.py --only dcgan-64 --rounds 9 --seconds 2

The table goes to stdout. Exit code 2: there is no GPU. 1: a case failed, or was left out since time ran out.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from alternate import WorkerError, in_turns, ratio, spread
from cases import DCGAN, SEQGAN, WAVEGAN, Case
from report import WIDTH, in_order, publish, ranged
from table import environment, positive, tell
from worker import EAGER, GRAPHS

import mmgan
from mmgan.backend.precision import DTYPES
from mmgan.bench import machine
from mmgan.cli.bench import duration

#: A game whose step can be recorded, and one whose can't.
RECORDED = ("plain", "plain-bf16", GRAPHS, "mmgan", EAGER)
UNRECORDED = ("plain", "plain-bf16", "mmgan")
CASES = (
    # In float32, as is its default: bf16 could not tell its points apart.
    Case(
        "gan-ring",
        "gan on points, batch 100",
        "gan",
        {"data": "ring"},
        "fp32",
        loops=("plain", *RECORDED[2:]),
    ),
    Case("dcgan-64", "dcgan, 64 pixels, width 64, batch 64", "dcgan", DCGAN, loops=RECORDED),
    Case("wavegan", "wavegan, 16,384 samples, dim 32, batch 16", "wavegan", WAVEGAN, loops=RECORDED),
    Case("pix2pix-256", "pix2pix, 256 pixels", "pix2pix", {"size": 256}, loops=RECORDED),
    Case(
        "cyclegan-128",
        "cyclegan, 128 pixels, 6 blocks",
        "cyclegan",
        {"size": 128, "blocks": 6},
        loops=UNRECORDED,
    ),
    Case("seqgan", "seqgan, an update of G and 78 of D", "seqgan", SEQGAN, engine_steps=78, loops=UNRECORDED),
)
#: Seconds that a case takes at most, as a rule: none is begun that would end too late.
CASE_SECONDS = 45.0
#: Published seconds for a thousand images, by plugin: pixels, cards, and where that is written.
PUBLISHED: dict[str, list[dict[str, Any]]] = {
    "stylegan2": [
        {"pixels": 128, "cards": "1 V100", "seconds": [12.8, 13.7], "by": "stylegan2-ada-pytorch, README"},
        {"pixels": 256, "cards": "1 V100", "seconds": [21.6, 24.2], "by": "stylegan2-ada-pytorch, README"},
        {"pixels": 128, "cards": "1 A100", "seconds": [6.8], "by": "stylegan3, docs/configs.md"},
    ],
    # Four days for 250 million images.
    "r3gan": [{"pixels": 32, "cards": "8 L40", "seconds": [1.38], "by": "R3GAN, issues 18 and 19"}],
}
#: What stands over a loop's column.
TITLES = {
    "plain": "plain, fp32",
    "plain-bf16": "plain, bf16",
    GRAPHS: "plain, graphs",
    EAGER: "mmgan, no graphs",
    "mmgan": "mmgan",
}


def card(device: torch.device) -> dict[str, Any]:
    """Return what figures depend on: the card, its driver, and the versions of CUDA."""
    if device.type != "cuda":
        return {"gpu": None, "cuda": None, "driver": None}
    properties = torch.cuda.get_device_properties(device)
    return {
        "gpu": properties.name,
        "capability": list(torch.cuda.get_device_capability(device)),
        "memory": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": driver(),
    }


def driver() -> str | None:
    """Return the version of NVIDIA's driver, or None where it does not say."""
    if (smi := shutil.which("nvidia-smi")) is None:
        return None
    command = [smi, "--query-gpu=driver_version", "--format=csv,noheader"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout.split()
    return said[0] if said else None


def loops_of(case: Case) -> tuple[str, ...]:
    """Return the loops of a case that can be played on its device."""
    if case.device != "cpu":
        return case.loops
    return tuple(loop for loop in case.loops if loop not in (GRAPHS, EAGER))


def measure(case: Case, rounds: int, seconds: float, ceiling: dict[str, Any]) -> dict[str, Any]:
    """Measure a case.

    Raises:
        WorkerError: A loop failed.
    """
    # A graph's operations are not seen one by one.
    counted = EAGER if EAGER in case.loops else "mmgan"
    played, steps, flops = in_turns(case, rounds, tell, counted, seconds)
    times = {loop: spread([each[loop] for each in played]) for loop in case.loops}
    median = times["mmgan"]["median"]
    config: Any = case.config(mmgan.Plugins())
    return {
        "what": case.what,
        "precision": case.precision,
        "steps_per_round": steps,
        "seconds_per_step": times,
        "times_faster": {loop: ratio(played, loop, "mmgan") for loop in case.loops if loop != "mmgan"},
        "seconds_per_1000_examples": 1000 * median / config.batch_size,
        "published": PUBLISHED.get(case.plugin, []),
        "flops_per_step": flops,
        "fraction_of_ceiling": flops / median / ceiling[case.precision]["flops_per_s"],
    }


def measure_all(cases: Sequence[Case], options: argparse.Namespace) -> dict[str, Any]:
    """Measure cases one after the other, as far as there is time; one that fails does not stop the others."""
    end = time.monotonic() + 60 * options.minutes
    device = torch.device(options.device)
    mmgan.Device(options.device).use_tf32(True)  # as a run has it
    tell("the fastest matrix products")
    results: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **environment(),
        **card(device),
        "rounds": options.rounds,
        "ceiling": {name: machine.ceiling(device, DTYPES[name]) for name in ("fp32", "bf16")},
        "cases": {},
        "failed": {},
        "left_out": [],
    }
    for case in cases:
        if results["cases"] and time.monotonic() + CASE_SECONDS > end:
            tell(f"{case.name} is left out: {options.minutes:g} minutes are over")
            results["left_out"].append(case.name)
            continue
        case = replace(case, device=options.device)
        case = replace(case, loops=loops_of(case))
        try:
            found = measure(case, options.rounds, options.seconds, results["ceiling"])
        except WorkerError as error:
            tell(f"{case.name} failed: {error}")
            results["failed"][case.name] = str(error)
        else:
            results["cases"][case.name] = found
    return results


def markdown(results: dict[str, Any]) -> str:
    """Write results as a table, with where and when they were measured."""
    rates = [
        f"{found['flops_per_s'] / 1e12:,.3g} TFLOP/s in {name}" for name, found in results["ceiling"].items()
    ]
    where = results["gpu"] or results["cpu"]
    versions = [f"driver {results['driver']}"] if results["driver"] else []
    versions += [f"torch {results['torch']}", f"mmgan {results['mmgan']}"]
    head = (
        f"{results['date'][:10]}, {where}, {', '.join(versions)}; medians of {results['rounds']} rounds. "
        "Beside a plain loop's time is how many times faster mmgan is, with quartiles. The matrix rate is "
        f"{' and '.join(rates)}."
    )
    titles = ["a step of", "precision", *TITLES.values(), "of the matrix rate"]
    lines = [textwrap.fill(head, WIDTH), "", f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    lines += [row(case) for case in results["cases"].values()]
    for name, case in results["cases"].items():
        for known in case["published"]:
            ours, theirs = case["seconds_per_1000_examples"], " to ".join(map(str, known["seconds"]))
            where = f"{known['pixels']} pixels on {known['cards']}"
            lines += ["", f"{name}: {ours:.3g} s for 1,000 images; for {where}: {theirs} ({known['by']})."]
    missing = [f"{name} failed: {why}" for name, why in results["failed"].items()]
    missing += [f"{name} was left out: time ran out." for name in results["left_out"]]
    return "\n".join([*lines, *(part for text in missing for part in ("", text))]) + "\n"


def row(case: dict[str, Any]) -> str:
    """Write a case as a row of the table."""
    cells = [case["what"], case["precision"]]
    for loop in TITLES:
        if loop not in case["seconds_per_step"]:
            cells.append("")
            continue
        time_of_step = duration(case["seconds_per_step"][loop]["median"])
        times = case["times_faster"].get(loop)
        faster = f": {ranged([f'{value:.2f}' for value in in_order(times)])}" if times else ""
        cells.append(time_of_step + faster)
    fraction = f"{case['fraction_of_ceiling']:.1%}"
    return f"| {' | '.join([*cells, fraction])} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [case.name for case in CASES]
    add = parser.add_argument
    add(
        "--only",
        action="append",
        choices=names,
        metavar="CASE",
        help=f"one of {', '.join(names)}; repeatable",
    )
    add("--rounds", type=positive, default=5, help="rounds that are counted (%(default)s)")
    add("--seconds", type=float, default=0.5, help="of a round of the slowest loop (%(default)s)")
    add("--minutes", type=float, default=10, help="no case begins that would end later (%(default)s)")
    add("--device", default="cuda", help="where (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="where to write the results")
    add("--markdown", type=Path, metavar="FILE", help="where to write the table too")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        tell(
            f"There is no GPU to measure: torch {torch.__version__}, built for CUDA {torch.version.cuda}, "
            "finds none (torch.cuda.is_available() is False)."
        )
        return 2
    cases = [case for case in CASES if case.name in (options.only or case.name)]
    try:
        results = measure_all(cases, options)
    except KeyboardInterrupt:
        return 130
    publish(markdown(results), results, options)
    return int(bool(results["failed"] or results["left_out"]))


if __name__ == "__main__":
    sys.exit(main())
