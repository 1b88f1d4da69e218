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
from collections.abc import Callable, Generator
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from typing import Any, TextIO

import torch
from cases import Case, random_data
from plain import LOOPS
from same import DCGAN, GAN, R3GAN, WaveGAN
from same_seqgan import Rewards, SeqGAN
from same_translation import CycleGAN, Pix2Pix
from styles import Style, graphed

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
    "r3gan": R3GAN,
    "wavegan": WaveGAN,
    "seqgan": SeqGAN,
    "seqgan-rewards": Rewards,
    "pix2pix": Pix2Pix,
    "cyclegan": CycleGAN,
}
#: mmgan's loop with its steps played as they are, and not as CUDA graphs.
EAGER = "mmgan-eager"
#: The plain loop whose steps are CUDA graphs.
GRAPHS = "plain-graphs"


def style_of(case: Case, loop: str) -> Style:
    """Return how a plain loop computes: ``plain`` as PyTorch comes, ``plain-bf16`` as a GPU is fast, and with
    graphs the fastest in the case's precision.
    """
    fast = Style(case.device, case.precision == "bf16", channels_last=True, fused=True)
    styles = {"plain": Style(case.device), "plain-bf16": replace(fast, bf16=True), GRAPHS: fast}
    return styles[loop]


def asked(
    questions: TextIO, answers: TextIO, wait: Callable[[], None] = lambda: None
) -> Generator[int, None, None]:
    """Yield how many steps are to be played next, and answer when they are done.

    Args:
        questions, answers: Lines.
        wait: Waits until the device has done all that it was given.
    """
    for line in questions:
        if line.strip() == OPERATIONS:
            with Operations() as counted:
                yield 1
            answer: float = counted.get_total_flops()
        else:
            steps = int(line)
            wait()
            start = time.perf_counter()
            yield steps
            wait()
            answer = (time.perf_counter() - start) / steps
        print(answer, file=answers, flush=True)


def by_hand(case: Case, loop: str, program: Generator[int, None, None]) -> None:
    """Play a loop that is a function."""
    config = case.config(mmgan.Plugins())
    data = random_data(case.plugin, config)

    def batch() -> Any:
        return moved(data.any(config.batch_size), case.device)

    game = case.game
    if loop == "same":
        step: Callable[[], object] = SAME[game](config, batch).step
    else:
        make = partial(LOOPS[game], config, style=style_of(case, loop))
        step = graphed(make, batch) if loop == GRAPHS else make(batch)
    for steps in program:
        for _ in range(steps):
            step()


def moved(batch: Any, device: str) -> Any:
    """Copy a batch to where it is trained on, by pinned memory to a GPU, without waiting."""
    if device == "cpu":
        return batch
    if isinstance(batch, tuple):
        return tuple(moved(part, device) for part in batch)
    return batch.pin_memory().to(device, non_blocking=True)


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
    case = Case(**json.loads(text))
    if loop == EAGER:
        case = replace(case, settings=case.settings | {"graphs": "off"})
    program = asked(sys.stdin, sys.stdout, mmgan.Device(case.device).synchronize)
    torch.manual_seed(0)
    if not loop.startswith("plain"):
        keep_freed_memory()  # as the command line does it; a plain script has what it is given
    with redirect_stdout(sys.stderr):
        if loop in ("mmgan", EAGER) and case.through_the_engine:
            through_the_engine(case, program)
        else:
            by_hand(case, loop, program)


if __name__ == "__main__":
    main(*sys.argv[1:])
