"""Measuring a case: its loops, each in a process of its own, play in turns.

So whatever else the machine does falls on all alike, and none disturbs another by what it leaves in memory
and caches. While one plays, the others wait.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from cases import Case
from worker import OPERATIONS

#: Seconds that a round of the slowest loop takes at least, or one step.
SECONDS = 2.0


class WorkerError(RuntimeError):
    """A loop's process ended before it was asked to; why, it said on stderr."""


class Worker:
    """A loop in a process of its own, in this one's group, so that Ctrl-C reaches all.

    Args:
        case: What it plays.
        loop: Which of the case's loops it is.
        folder: Where it may keep temporary files.
    """

    def __init__(self, case: Case, loop: str, folder: str) -> None:
        self.name = f"the loop {loop!r} of {case.name}"
        script = str(Path(__file__).with_name("worker.py"))
        self.process = subprocess.Popen(
            [sys.executable, script, loop, json.dumps(asdict(case))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": folder},
        )

    def ask(self, question: int | str) -> float:
        """Return the answer to a line of ``worker.py``'s protocol.

        Raises:
            WorkerError: The process is dead.
        """
        # One that died does not read; its missing answer tells.
        with suppress(BrokenPipeError):
            print(question, file=self.process.stdin, flush=True)
        if not (answer := self.process.stdout.readline()):
            raise WorkerError(f"{self.name} ended with exit code {self.process.wait()}.")
        return float(answer)

    def end(self) -> None:
        """Kill the process, whatever it does, and wait until it is gone."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()


@contextmanager
def working(case: Case) -> Iterator[dict[str, Worker]]:
    """Give a worker for each loop of a case; in the end none is left, nor any file of theirs."""
    workers: dict[str, Worker] = {}
    with tempfile.TemporaryDirectory(prefix="mmgan-bench-") as folder:
        try:
            for loop in case.loops:
                workers[loop] = Worker(case, loop, folder)
            yield workers
        finally:
            for worker in workers.values():
                worker.end()


def measure(case: Case, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return what was measured of a case: what :mod:`report` writes of it.

    Args:
        case: What is measured.
        rounds: How many rounds count, after those that warm up.
        tell: Told in a line what is being done.

    Raises:
        WorkerError: A loop failed.
    """
    played, steps, flops = in_turns(case, rounds, tell)
    return {
        "what": case.what,
        "precision": case.precision,
        "steps_per_round": steps,
        "seconds_per_step": {loop: spread([times[loop] for times in played]) for loop in case.loops},
        "times_faster": ratio(played, "plain", "mmgan"),
        "engine": ratio(played, "mmgan", "same"),
        "flops_per_step": flops,
    }


def in_turns(
    case: Case,
    rounds: int,
    tell: Callable[[str], None],
    counted: str = "mmgan",
    seconds: float | None = None,
) -> tuple[list[dict[str, float]], int, float]:
    """Let the loops of a case play in turns.

    Args:
        case, rounds, tell: As for :func:`measure`.
        counted: The loop whose operations are counted.
        seconds: Instead of :data:`SECONDS`.

    Returns:
        The seconds of a step of each loop, by round; the steps of a round; the operations of a step.

    Raises:
        WorkerError: A loop failed.
    """
    with working(case) as workers:
        tell(f"{case.name}: warming up")
        steps = 1
        least = SECONDS if seconds is None else seconds
        while (found := play(workers, steps)) and max(found.values()) * steps < least:
            steps *= 2
        played = []
        for number in range(1, rounds + 1):
            # Back and forth: who comes after whom must not matter.
            workers = dict(reversed(workers.items()))
            played.append(play(workers, steps))
            times = ", ".join(f"{loop} {1000 * seconds:.4g} ms" for loop, seconds in played[-1].items())
            tell(f"{case.name}: round {number} of {rounds} of {steps} steps: {times}")
        return played, steps, workers[counted].ask(OPERATIONS)


def play(workers: dict[str, Worker], steps: int) -> dict[str, float]:
    """Play a round; return the seconds of a step of each loop."""
    return {loop: worker.ask(steps) for loop, worker in workers.items()}


def ratio(played: list[dict[str, float]], one: str, other: str) -> dict[str, float] | None:
    """Return the spread of a ratio of two loops' times over the rounds; None where one of them is missing."""
    if not {one, other} <= played[0].keys():
        return None
    return spread([times[one] / times[other] for times in played])


def spread(values: list[float]) -> dict[str, float]:
    """Return the median and the quartiles."""
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return {"median": median, "lower_quartile": lower, "upper_quartile": upper}
