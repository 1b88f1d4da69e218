"""One measurement, from the warm-up to the figures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmgan.bench import machine
from mmgan.bench.kinds import Kind, choose, kinds
from mmgan.bench.operations import Operations
from mmgan.bench.split import Part, order, splitting
from mmgan.bench.timing import timed, warm_up
from mmgan.counting import counted
from mmgan.engine import finish, play, training
from mmgan.errors import UsageError
from mmgan.listeners import default_listeners
from mmgan.listeners.checkpointer import Checkpointer
from mmgan.run import Run
from mmgan.task import Player

#: How many rounds are played while the parts of a step are timed.
_SPLIT_ROUNDS = 3
#: More steps than are ever played.
_ENDLESS = 2**52


@dataclass
class Measured:
    """What was measured of one kind of step."""

    kind: Kind
    steps: int = 0
    rounds: list[float] = field(default_factory=list)
    batches: float = 0.0
    parts: dict[Part, float] = field(default_factory=dict)
    flops: int = 0


def measure(
    run: Run,
    *,
    stage: str = "",
    warmup: int = 3,
    rounds: int = 7,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure how fast a run trains here, and where the time goes.

    The engine's own loop runs with the default listeners, in a temporary folder; nothing is sampled,
    evaluated or saved. The run can't be used for anything else afterwards.

    Args:
        run: A new run without a folder.
        stage: Which of its stages; by default the last.
        warmup: Steps that are played before any that count.
        rounds: How many rounds of at least a second are measured.
        tell: Called with one line of progress at a time.

    Returns:
        What ``mmgan bench --json`` prints: see docs/performance.md. Seconds, bytes, and operations.

    Raises:
        UsageError: There is no such stage, the run has a folder, or several processes train it.
        MmganError: Whatever the data or a plugin found wrong.
    """
    if run.folder is not None:
        raise UsageError(
            f"A run is measured without a folder, and this one has {str(run.folder)!r}.",
            hint="new_run(config, plugins)",
        )
    if run.ranks.world > 1:
        raise UsageError(
            f"A bench measures one process, and {run.ranks.world} were started.",
            hint="Start it without torchrun.",
        )
    chosen, start = choose(run, stage)
    run.step = start
    # The stages before it are kept, so that a step has the same index in its stage as in training.
    # A stage without an end, which training never leaves, has 0 steps here.
    before = [replace(one, steps=one.steps or 0) for one in run.stages[: run.stages.index(chosen)]]
    found = [Measured(kind) for kind in kinds(run, chosen)]

    with set_up(run), training(run):
        peak = machine.Memory(run.device)
        for one in found:
            run.stages = (*before, one.kind.stage)
            names = ", ".join(phase.name for phase in one.kind.stage.phases) or "none"
            tell(f"stage {chosen.name}, phases {names}: warming up")
            one.steps = warm_up(run, warmup)
            tell(f"{counted(rounds, 'round')} of {counted(one.steps, 'step')}")
            position = run.loader.position
            one.rounds = [timed(run, one.steps) for _ in range(rounds)]
            one.batches = (run.loader.position - position) / (rounds * one.steps)
        memory = peak.read()
        for one in found:
            run.stages = (*before, one.kind.stage)
            steps = _SPLIT_ROUNDS * one.steps
            tell(f"where the time goes: {counted(steps, 'step')}")
            play(run, run.step + warmup)
            with splitting(run) as split:
                split.start()
                play(run, run.step + steps)
                one.parts = {part: seconds / steps for part, seconds in split.stop().items()}
            with Operations() as operations:
                play(run, run.step + 1)
            one.flops = operations.get_total_flops()
        finish(run, run.stop_signal)
    tell("the fastest matrix product")
    speed = _speed(found, run.batch_size)
    flops = _mean(found, [one.flops for one in found])
    per_s = flops / speed["seconds_per_step"]["median"]
    ceiling = machine.ceiling(run.device.torch, run.precision.dtype)
    return {
        "plugin": run.config.plugin,
        "stage": chosen.name,
        **speed,
        "split": _split(found, [phase.name for phase in chosen.phases]),
        "memory": memory,
        "operations": {
            "flops_per_step": flops,
            "flops_per_s": per_s,
            "ceiling": ceiling,
            "fraction": per_s / ceiling["flops_per_s"],
        },
        "environment": machine.environment(run),
    }


@contextmanager
def set_up(run: Run) -> Iterator[None]:
    """Give a run a temporary folder, the default listeners, and no last step."""
    listeners = [own for own in default_listeners(run.config) if not isinstance(own, Checkpointer)]
    for player in run.players.values():
        _hold(player, run.config.steps - 1)
    rare = dict.fromkeys(("sample_every", "evaluate_every", "checkpoint_every"), 0)
    run.config = run.config.model_copy(update={**rare, "steps": _ENDLESS})
    with tempfile.TemporaryDirectory(prefix="mmgan-bench-") as folder:
        run.folder = Path(folder)
        run.plugins.attach(listeners)
        try:
            yield
        finally:
            run.plugins.detach()
            run.folder = None


def _hold(player: Player, last: int) -> None:
    """Clamp a schedule at the run's last step, beyond which it may be undefined."""
    if (schedule := player.schedule) is not None:
        player.schedule = lambda step: schedule(min(step, last))


def _mean(found: Sequence[Measured], values: Sequence[float]) -> float:
    """Return the mean over a period of the stage, given a value for each kind of step."""
    return sum(one.kind.share * value for one, value in zip(found, values, strict=True))


def _speed(found: Sequence[Measured], batch_size: int) -> dict[str, Any]:
    by_round = [_mean(found, values) for values in zip(*(one.rounds for one in found), strict=True)]
    least, lower, median, upper, most = np.quantile(by_round, [0, 0.25, 0.5, 0.75, 1]).tolist()
    batches = _mean(found, [one.batches for one in found])
    return {
        "seconds_per_step": {
            "median": median,
            "lower_quartile": lower,
            "upper_quartile": upper,
            "min": least,
            "max": most,
        },
        "steps_per_s": 1 / median,
        "samples_per_s": batches * batch_size / median,
        "rounds": by_round,
        "kinds": [
            {
                "phases": [phase.name for phase in one.kind.stage.phases],
                "share": one.kind.share,
                "steps_per_period": one.kind.count,
                "steps_per_round": one.steps,
                "seconds_per_step": float(np.median(one.rounds)),
            }
            for one in found
        ],
    }


def _split(found: Sequence[Measured], phases: list[str]) -> dict[str, Any]:
    parts = sorted({part for one in found for part in one.parts}, key=lambda part: order(part, phases))
    seconds = {part: _mean(found, [one.parts.get(part, 0.0) for one in found]) for part in parts}
    total = sum(seconds.values())
    return {
        "seconds_per_step": total,
        "parts": [
            {"part": part, "phase": phase or None, "seconds": value, "share": value / total}
            for (part, phase), value in seconds.items()
        ],
    }
