"""One loop of a case, in a process of its own: it plays as many steps as it is asked for, and says how long.

Each line on stdin is a number of steps, and is answered on stdout by the seconds that one of them took; the
line ``operations`` is answered by the floating-point operations of a step. In between it waits, without using
the processor. It ends with its stdin. ``alternate.py`` starts it and asks:

    python benchmarks/worker.py same '{"name": "gan-ring", "what": "", "game": "gan", …}'
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Generator
from contextlib import redirect_stdout
from typing import Any, TextIO

import torch
from cases import Case, random_data
from plain import LOOPS
from same import DCGAN, GAN, WaveGAN
from same_seqgan import Rewards, SeqGAN
from same_translation import CycleGAN, Pix2Pix

import mmgan
from mmgan.bench.measuring import set_up
from mmgan.bench.operations import Operations
from mmgan.cli.memory import keep_freed_memory
from mmgan.engine import play, training

#: The line that asks for them.
OPERATIONS = "operations"
#: mmgan without its engine, by the case's game.
SAME = {
    "gan": GAN,
    "dcgan": DCGAN,
    "wavegan": WaveGAN,
    "seqgan": SeqGAN,
    "seqgan-rewards": Rewards,
    "pix2pix": Pix2Pix,
    "cyclegan": CycleGAN,
}


def asked(questions: TextIO, answers: TextIO) -> Generator[int, None, None]:
    """Yield how many steps are to be played next, and answer when they are done."""
    for line in questions:
        if line.strip() == OPERATIONS:
            with Operations() as counted:
                yield 1
            answer: float = counted.get_total_flops()
        else:
            steps = int(line)
            start = time.perf_counter()
            yield steps
            answer = (time.perf_counter() - start) / steps
        print(answer, file=answers, flush=True)


def by_hand(case: Case, loop: str, program: Generator[int, None, None]) -> None:
    """Play a loop that is a function."""
    config = case.config(mmgan.Plugins())
    data = random_data(case.plugin, config)

    def batch() -> Any:
        return data.any(config.batch_size)

    game = case.game
    step = LOOPS[game](config, batch) if loop == "plain" else SAME[game](config, batch).step
    for steps in program:
        for _ in range(steps):
            step()


def through_the_engine(case: Case, program: Generator[int, None, None]) -> None:
    """Let the engine play, with all listeners of a run but the one that saves checkpoints."""
    run = new_run(case)
    with set_up(run), training(run):
        for steps in program:
            play(run, run.step + steps * case.engine_steps)


def new_run(case: Case) -> mmgan.Run:
    """Return a run of a case, on its random data and without a folder."""
    plugins = mmgan.Plugins()
    task, config = plugins.task(case.plugin), case.config(plugins)
    data = random_data(case.plugin, config)
    plugins.tasks[case.plugin].thing = type(task.__name__, (task,), {"data": lambda self: data})
    return mmgan.new_run(config, plugins)


def main(loop: str, text: str) -> None:
    # Ctrl-C reaches all of them; whoever started this one ends it, quietly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    case, program = Case(**json.loads(text)), asked(sys.stdin, sys.stdout)
    torch.manual_seed(0)
    if loop != "plain":
        keep_freed_memory()  # as the command line does it; a plain script has what it is given
    with redirect_stdout(sys.stderr):
        if loop == "mmgan" and case.through_the_engine:
            through_the_engine(case, program)
        else:
            by_hand(case, loop, program)


if __name__ == "__main__":
    main(*sys.argv[1:])
