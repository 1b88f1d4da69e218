"""CUDA graphs: all kernels of a step, recorded once and launched together.

A small game on a GPU spends its time launching kernels one by one. A graph (``torch.cuda.CUDAGraph``)
launches those of a whole step at once. It replays kernels and their memory; no Python runs. Therefore, here:

- each batch is copied into the memory that was recorded;
- what Python counts, and the moving averages whose decay depends on it, follow after each replay;
- random numbers go on as without a graph: torch moves the generator on by what a replay draws;
- a step is recorded anew when something that Python read has changed: the phases that are due, the batch
  size, an option of an optimizer such as its learning rate.

A task says by :attr:`mmgan.Task.graphs` that its steps can be recorded: nothing but tensors differs from one
to the next.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgan.backend import randomness
from mmgan.backend.batches import copy_into, mapped
from mmgan.errors import ConfigError, line
from mmgan.meter import unmeasured
from mmgan.players import average_images, update_average

if TYPE_CHECKING:
    from mmgan.run import Run
    from mmgan.task import Player, Stage

log = logging.getLogger(__name__)

#: Steps that are played as they are before one is recorded: libraries choose their algorithms, and optimizers
#: make their state.
WARM_UP = 3

Losses = dict[str, Tensor]


class Recorder:
    """Records what a GPU is given to do, and replays it."""

    def __init__(self) -> None:
        self.graph = torch.cuda.CUDAGraph()

    def record(self, play: Callable[[], Losses]) -> Losses:
        """Record all kernels that ``play`` launches, without running any; return its losses' memory."""
        # Only this thread's calls count: another may copy batches into pinned memory meanwhile.
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            return play()

    def replay(self) -> None:
        """Launch what was recorded."""
        self.graph.replay()

    @staticmethod
    @contextmanager
    def aside(device: torch.device) -> Iterator[None]:
        """Play a step before recording on another stream than the default one, as torch asks for."""
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            yield
        torch.cuda.current_stream(device).wait_stream(stream)


@dataclass
class Recorded:
    """The steps of one kind, and what was recorded of them.

    Args:
        steps: How many were played as they are.
        takes: How many batches a step takes.
        memory: Where a recorded step reads its batches from.
        draws: Whether a step draws random numbers on the CPU, which a replay would not do again.
        updates: How many updates of each player a step makes.
        players: What Python reads of the players, as it was recorded.
        losses: The memory that the losses are written to.
    """

    steps: int = 0
    takes: int = 0
    memory: list[Any] = field(default_factory=list)
    draws: bool = False
    updates: dict[str, int] = field(default_factory=dict)
    players: list[Any] = field(default_factory=list)
    losses: Losses = field(default_factory=dict)
    recorder: Recorder | None = None


class Graphs:
    """Plays a run's steps, as graphs once they are recorded.

    Args:
        recorder: Makes a recorder for each kind of step.
    """

    def __init__(self, recorder: type[Recorder] = Recorder) -> None:
        self.make = recorder
        self.kinds: dict[tuple[Any, ...], Recorded] = {}
        self.failed = False

    def step(self, run: Run, stage: Stage, index: int) -> Losses:
        """Play a step as ``run.task.step`` would, and return its losses."""
        if self.failed or run.part is not unmeasured:
            # Parts of a step are measured one by one.
            return run.task.step(run, stage, index)
        due = tuple(index % phase.every == 0 for phase in stage.phases)
        place = index % (stage.period or 1) == 0
        kind = self.kinds.setdefault((stage, due, place, run.batch_size), Recorded())
        if kind.recorder is not None and kind.players != _players(run):
            kind.steps, kind.recorder = 0, None
        if kind.steps < WARM_UP:
            return self._as_it_is(run, stage, index, kind)
        batches = [run.next_batch() for _ in range(kind.takes)]
        run.finite.at(run.step + 1)
        if kind.recorder is None and not self._recorded(run, stage, index, kind, batches):
            with feeding(run, batches):
                return run.task.step(run, stage, index)
        for memory, batch in zip(kind.memory, batches, strict=True):
            copy_into(memory, batch)
        assert kind.recorder is not None
        kind.recorder.replay()
        count(run, kind.updates)
        # The next replay writes to the same memory.
        return {name: loss.clone() for name, loss in kind.losses.items()}

    def _as_it_is(self, run: Run, stage: Stage, index: int, kind: Recorded) -> Losses:
        """Play a step without a graph, and note what it takes."""
        before, taken, drawn = updates(run), run.taken, _drawn(run)
        with self.make.aside(run.device.torch):
            losses = run.task.step(run, stage, index)
        kind.draws |= drawn != _drawn(run)
        kind.takes = (run.taken - taken) // run.batch_size
        kind.updates = {name: now - before[name] for name, now in updates(run).items() if now > before[name]}
        kind.steps += 1
        return losses

    def _recorded(self, run: Run, stage: Stage, index: int, kind: Recorded, batches: list[Any]) -> bool:
        """Record a step that reads its batches from memory of its own; return whether that can be done."""
        recorder, kind.memory = self.make(), [mapped(batch, Tensor.clone) for batch in batches]

        def play() -> Losses:
            with feeding(run, kind.memory), uncounted(run):
                return run.task.step(run, stage, index)

        drawn = torch.cuda.get_rng_state(run.device.torch) if run.device.type == "cuda" else None
        try:
            check(run, kind)
            kind.losses = recorder.record(play)
        except Exception as error:
            if run.config.graphs == "on":
                raise ConfigError(
                    f"graphs = 'on': a step of {run.config.plugin} can't be recorded: {line(error)}.",
                    hint="--set graphs=off",
                ) from error
            warnings.warn(
                f"A step of {run.config.plugin} can't be recorded as a CUDA graph, and is played without: "
                f"{line(error)}",
                stacklevel=2,
            )
            self.failed = True
            if drawn is not None:
                torch.cuda.set_rng_state(drawn, run.device.torch)
            run.precision.reset()
            return False
        kind.recorder, kind.players = recorder, _players(run)
        log.info("a step of stage %s is a CUDA graph from step %d on", stage.name, run.step + 1)
        return True


def graphs_for(run: Run) -> Graphs | None:
    """Return what plays a run's steps as graphs, or None where they are played as they are.

    Raises:
        ConfigError: ``graphs = "on"``, and this run can't have them.
    """
    wanted, reason = run.config.graphs, _reason_against(run)
    if wanted == "off" or (wanted == "auto" and reason):
        return None
    if reason:
        raise ConfigError(f"graphs = 'on': {reason}.", hint="--set graphs=auto")
    return Graphs()


def _reason_against(run: Run) -> str:
    """Say why a run can't have graphs; "" if it can."""
    task = type(run.task)
    if run.device.type != "cuda":
        return f"the run is on {run.device.torch}, and only a CUDA device has graphs"
    if run.ranks.world > 1:
        return f"{run.ranks.world} processes train, whose exchanges can't be recorded"
    # Like `reentrant`, it counts for the class that says so.
    if not vars(task).get("graphs"):
        return f"the task {run.config.plugin} does not say that its steps can be recorded (Task.graphs)"
    if (seen := getattr(run.config, "augment", "none")) != "none":
        return f"augment = {seen} has a probability that is moved and logged from step to step"
    if scheduled := [name for name, p in run.players.items() if p.schedule or p.betas_schedule]:
        return f"an option of the optimizer of {', '.join(scheduled)} changes from step to step"
    if changing := [stage.name for stage in run.stages if stage.period is None]:
        return f"the losses of the stage {', '.join(changing)} change from step to step"
    return ""


def check(run: Run, kind: Recorded) -> None:
    """Raise a ValueError where a step can be recorded, but would not do what it did."""
    for name, times in kind.updates.items():
        if times > 1 and run.players[name].ema:
            raise ValueError(f"{name} has a moving average and is updated {times} times in a step")
    if kind.draws:
        raise ValueError("a step draws random numbers on the CPU")
    for memory in kind.memory:
        copy_into(memory, memory)


def count(run: Run, made: Mapping[str, int]) -> None:
    """Do what Python does beside a step's kernels: count updates, and move the averages."""
    for name, times in made.items():
        player = run.players[name]
        player.updates += times
        if player.average is None:
            continue
        if player.ema:
            update_average(player)
        else:
            average_images(run, player)


def _drawn(run: Run) -> Any:
    """Return where the CPU's random generators are, for a step that computes elsewhere."""
    if run.device.type == "cpu":
        return {}
    return mapped(randomness.get_state(torch.device("cpu")), Tensor.tolist)


def updates(run: Run) -> dict[str, int]:
    """Return how many updates each player has made."""
    return {name: player.updates for name, player in run.players.items()}


@contextmanager
def uncounted(run: Run) -> Iterator[None]:
    """Leave the updates uncounted and the averages where they are inside this."""
    kept: list[tuple[Player, float, float, int]] = [
        (player, player.ema, player.ema_half_life, player.updates) for player in run.players.values()
    ]
    for player in run.players.values():
        player.ema = player.ema_half_life = 0.0
    try:
        yield
    finally:
        for player, ema, half_life, made in kept:
            player.ema, player.ema_half_life, player.updates = ema, half_life, made


@contextmanager
def feeding(run: Run, batches: list[Any]) -> Iterator[None]:
    """Let ``run.next_batch`` give these inside this."""
    run.feed = iter(batches)
    try:
        yield
    finally:
        run.feed = None


def _players(run: Run) -> list[Any]:
    """Return what Python reads of players in every step: which they are, and their optimizers' options."""
    found: list[Any] = []
    for player in run.players.values():
        found += [id(player.module), id(player.optimizer)]
        for group in player.optimizer.param_groups:
            found.append({name: value for name, value in group.items() if name != "params"})
    return found
