"""Weak scaling: one process, several, and several agents of torchrun, each process with a batch of its own.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --width 128 --bucket 0 --bucket 1 --bucket 4

Every arrangement is started by torchrun as a run is, with one thread for each process, and all play in turns,
so that whatever else the machine does falls on all alike. While one plays, the others wait. ``--bucket``
measures two processes with gradients in buckets of so many MiB; 0: all in one, after the backward pass. A
Markdown table goes to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from alternate import spread
from cases import Case
from worker import new_run

from mmgan.backend import buckets
from mmgan.bench import machine
from mmgan.cli.memory import keep_freed_memory
from mmgan.engine import play, playing

#: Seconds of a round, of each arrangement.
SECONDS = 4.0


@dataclass(frozen=True)
class Arrangement:
    """How processes are started.

    Args:
        name: For people.
        agents: Of torchrun.
        processes: Of each agent.
        bucket: MiB of gradients in a bucket; 0: all.
    """

    name: str
    agents: int = 1
    processes: int = 1
    bucket: float = buckets.SIZE / 2**20

    @property
    def world(self) -> int:
        """The number of processes."""
        return self.agents * self.processes


def work(text: str) -> None:
    """Be one process of an arrangement: play as many steps as rank 0 is asked for; it tells the seconds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers, given = sys.stdout, json.loads(text)
    buckets.SIZE = int(given["bucket"] * 2**20) or sys.maxsize
    keep_freed_memory()
    with redirect_stdout(sys.stderr):
        run = new_run(Case(**given["case"]))
        with playing(run):
            # Of several processes the first one reads, and tells the others.
            while steps := run.ranks.broadcast_object(lambda: int(sys.stdin.readline() or 0)):
                start = time.perf_counter()
                play(run, run.step + steps, heard=False)
                if run.ranks.rank == 0:
                    print((time.perf_counter() - start) / steps, file=answers, flush=True)


class Players:
    """The processes of an arrangement, which wait until they are asked to play."""

    def __init__(self, arrangement: Arrangement, case: Case) -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            port = server.getsockname()[1]
        options = ["--nnodes", arrangement.agents, "--nproc-per-node", arrangement.processes]
        options += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}", "--rdzv-id", port]
        given = json.dumps({"case": asdict(case), "bucket": arrangement.bucket})
        words = [sys.executable, "-m", "torch.distributed.run", *map(str, options), __file__, "--work", given]
        # Rank 0, with whichever agent it is, reads from the one pipe and writes to the other.
        read, questions = os.pipe()
        answers, write = os.pipe()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.agents = [
            subprocess.Popen(words, stdin=read, stdout=write, env=environment)
            for _ in range(arrangement.agents)
        ]
        os.close(read)
        os.close(write)
        self.questions, self.answers = os.fdopen(questions, "w"), os.fdopen(answers)

    def ask(self, steps: int) -> float:
        """Return the seconds that each of so many steps took."""
        print(steps, file=self.questions, flush=True)
        return float(self.answers.readline())

    def end(self) -> None:
        """Let them end."""
        self.questions.close()
        for agent in self.agents:
            agent.wait()
        self.answers.close()


@contextmanager
def started(arrangements: list[Arrangement], case: Case) -> Iterator[dict[Arrangement, Players]]:
    with ExitStack() as stack:
        players = {}
        for arrangement in arrangements:
            players[arrangement] = Players(arrangement, case)
            stack.callback(players[arrangement].end)
        yield players


def measure(arrangements: list[Arrangement], case: Case, rounds: int) -> dict[Arrangement, list[float]]:
    """Return the seconds of a step of each arrangement in each round."""
    found: dict[Arrangement, list[float]] = {arrangement: [] for arrangement in arrangements}
    with started(arrangements, case) as players:
        steps = 1
        while max(each.ask(steps) for each in players.values()) * steps < SECONDS:
            steps *= 2
        for number in range(1, rounds + 1):
            # Back and forth: who comes after whom must not matter.
            players = dict(reversed(players.items()))
            for arrangement, each in players.items():
                found[arrangement].append(each.ask(steps))
            times = ", ".join(f"{each.name} {1000 * found[each][-1]:.4g} ms" for each in arrangements)
            print(f"round {number} of {rounds} of {steps} steps: {times}", file=sys.stderr, flush=True)
    return found


def table(found: dict[Arrangement, list[float]], case: Case) -> str:
    """Write what was measured: rates of samples are those of all processes together."""
    processor = machine.processor(Path("/proc/cpuinfo"))
    batch = case.settings["batch_size"]
    alone = next(iter(found.values()))
    lines = [
        f"{processor['cpu']} ({' '.join(processor['cpu_features'])}), {os.cpu_count()} processors, torch "
        f"{torch.__version__.partition('+')[0]}, {case.what}, {case.precision}:",
        "",
        "| | ms/step (quartiles) | samples/s | times one process |",
        "|---|---|---|---|",
    ]
    for arrangement, times in found.items():
        each = spread(times)
        # Round by round, since the machine's speed varies.
        gain = spread([arrangement.world * one / other for one, other in zip(alone, times, strict=True)])
        quartiles = f"{1000 * each['lower_quartile']:.4g} to {1000 * each['upper_quartile']:.4g}"
        lines.append(
            f"| {arrangement.name} | {1000 * each['median']:.4g} ({quartiles}) "
            f"| {arrangement.world * batch / each['median']:,.0f} | {gain['median']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def arranged(sizes: list[float]) -> list[Arrangement]:
    """Return what is measured."""
    if not sizes:
        two = Arrangement("two processes", processes=2)
        return [Arrangement("one process"), two, Arrangement("two agents with one each", agents=2)]
    names = [
        f"two processes, buckets of {size:g} MiB" if size else "two processes, no overlap" for size in sizes
    ]
    return [Arrangement("one process")] + [
        Arrangement(name, processes=2, bucket=size) for name, size in zip(names, sizes, strict=True)
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, default=32, help="of dcgan")
    parser.add_argument("--batch-size", type=int, default=64, help="of each process")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--bucket", type=float, action="append", default=[], help="MiB; may be repeated")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args(arguments)
    if given.work:
        work(given.work)
        return
    settings: dict[str, Any] = {
        "size": 32,
        "channels": 1,
        "width": given.width,
        "batch_size": given.batch_size,
    }
    what = f"dcgan, 32 pixels, width {given.width}, batch {given.batch_size} in each process"
    case = Case("scaling", what, "dcgan", settings, given.precision)
    print(table(measure(arranged(given.bucket), case, given.rounds), case), end="")


if __name__ == "__main__":
    main()
