"""The adversarial loop. Read it top to bottom: this is all that training a GAN is.

``train`` plays steps until the run is over. A step (``play_step``) is one pass over the stage's phases. A
phase (``update``) changes one player's weights, with its opponents held still. A task says what the losses
are; everything that turns a loss into an update is here.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmgan.task import Phase, Player, Stage, stage_at

if TYPE_CHECKING:
    from mmgan.run import Run


@dataclass(frozen=True)
class Report:
    """How training ended.

    Args:
        state: ``finished``, or ``interrupted`` where a signal asked the run to stop.
        step: Steps done, those before a resume included.
        seconds: Time spent in steps, those before a resume included.
        signal: The number of the signal, or 0.
    """

    state: str
    step: int
    seconds: float
    signal: int = 0


def train(run: Run) -> Report:
    """Play until ``config.steps`` are done or a signal asks to stop.

    Raises:
        DivergedError: A loss or a gradient became NaN or infinite. The last checkpoint is from before it.
        MmganError: Whatever the data or a plugin found wrong.
    """
    try:
        with run.playing():
            report = _play(run)
            run.hook.after_run(run=run, report=report)
            return report
    except BaseException as error:
        try:
            run.hook.on_run_error(run=run, error=error)
        except Exception as second:
            # The first error is what a person must see; the second goes with it.
            error.add_note(f"Then on_run_error failed too: {type(second).__name__}: {second}")
        raise
    finally:
        run.close()


def _play(run: Run) -> Report:
    hook, config = run.hook, run.config
    hook.before_run(run=run)
    meter = Meter(run)
    entered: Stage | None = None
    # Of several processes one may have got the signal: all stop before the same step.
    while run.step < config.steps and not (stop := run.ranks.sync_stop(run.stop_signal, run.own_state)):
        stage, index = stage_at(run.stages, run.step)
        if stage is not entered:
            hook.before_stage(run=run, stage=stage)
            entered = stage

        with meter.step():
            losses = run.task.step(run, stage, index)
            run.step += 1
        meter.add(losses)
        last = run.step == config.steps

        # On a CPU values are at hand after every step. A GPU is only waited for when something is logged;
        # until then NaN is noted on the GPU itself, with the step and the phase that it came from.
        if not run.device.asynchronous:
            run.check_finite()
        if run.step % config.log_every == 0 or last:
            run.check_finite()
            hook.after_log(run=run, step=run.step, metrics=meter.read(stage))
        if _due(run, config.sample_every, last):
            hook.after_sample(run=run, step=run.step, samples=run.sample(run.sample_count))
        if _due(run, config.evaluate_every, last):
            hook.after_evaluate(run=run, step=run.step, scores=run.evaluate())
        if last or index + 1 == stage.steps:
            hook.after_stage(run=run, stage=stage)
        # Last, since this is where checkpoints are saved: what a step wrote elsewhere is on disk by then.
        hook.after_step(run=run, step=run.step, losses=losses)
    if run.step >= config.steps:
        return Report("finished", run.step, run.seconds)
    return Report("interrupted", run.step, run.seconds, stop)


def play_step(run: Run, stage: Stage, index: int) -> dict[str, Tensor]:
    """Play one step: every phase of the stage that is due, in order. Returns the detached losses.

    Phases of a step share a batch, and what ``task.forward`` made of it, so that a fake made for the
    discriminator serves the generator too. A repeated phase takes a fresh batch each time after the first.
    """
    losses: dict[str, Tensor] = {}
    batch = shared = None
    for phase in stage.phases:
        if index % phase.every:
            continue
        for turn in range(phase.repeat):
            if batch is None or turn > 0:
                batch = run.next_batch()
                with run.precision.autocast():
                    shared = run.task.forward(batch)
            losses.update(update(run, phase, batch, shared))
    return losses


def update(run: Run, phase: Phase, batch: Any, shared: Any) -> dict[str, Tensor]:
    """Update one player's weights once. Returns the phase's detached losses."""
    player = run.players[phase.player]
    optimizer = player.optimizer
    scaler = run.precision.scaler(phase.player)
    set_learning_rate(player, run.step)

    with opponents_frozen(run, phase.player):
        optimizer.zero_grad(set_to_none=True)
        with run.precision.autocast():
            losses = run.task.loss(phase.name, batch, shared)
        total = reduce(operator.add, losses.values())
        torch.autograd.backward(scaler.scale(total))

    trained = run.trained[phase.player]
    # Where several processes train, each has seen its share of the batch: all go on with the mean.
    total = run.ranks.all_reduce_gradients(trained, total)
    scaler.unscale_(optimizer)
    run.finite.note(run.step + 1, phase.name, total, trained[0].grad)
    if player.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(trained, player.clip_norm)
    scaler.step(optimizer)
    scaler.update()

    player.updates += 1
    if player.clip_weights is not None:
        clip_weights(player)
    if player.average is not None:
        update_average(player)
    return {name: loss.detach() for name, loss in losses.items()}


@contextmanager
def opponents_frozen(run: Run, name: str) -> Iterator[None]:
    """Hold every other player's weights still: a phase neither changes them nor computes their gradients."""
    frozen = run.opponents[name]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def set_learning_rate(player: Player, step: int) -> None:
    """Set every learning rate to the player's schedule at this step of the run."""
    if player.schedule is None:
        return
    factor = player.schedule(step)
    for group in player.optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


@torch.no_grad()
def clip_weights(player: Player) -> None:
    """Clamp every weight to [-c, c], which keeps WGAN's critic Lipschitz (Arjovsky et al. 2017)."""
    for parameter in player.module.parameters():
        parameter.clamp_(-player.clip_weights, player.clip_weights)  # type: ignore[operator]


@torch.no_grad()
def update_average(player: Player) -> None:
    """Move the averaged weights a little towards the present ones, and copy the buffers (batch statistics).

    The decay starts low and grows to ``player.ema``, so that a short run's average is not its initialisation.
    """
    average: nn.Module = player.average  # type: ignore[assignment]
    decay = min(player.ema, (1 + player.updates) / (10 + player.updates))
    torch._foreach_lerp_(list(average.parameters()), list(player.module.parameters()), 1 - decay)
    for kept, present in zip(average.buffers(), player.module.buffers(), strict=True):
        kept.copy_(present)


def _due(run: Run, every: int, last: bool) -> bool:
    """Return whether what rank 0 does every so many steps (0: never), and at the end, is due."""
    return run.ranks.rank == 0 and every > 0 and (run.step % every == 0 or last)


#: What ``after_log`` tells beside the losses.
METER = ("stage", "seconds", "steps_per_s", "samples_per_s", "data_wait")


class Meter:
    """Measures speed, and averages losses between two logs without waiting for the device."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.pending: list[Mapping[str, Tensor]] = []
        self.mark = run.seconds
        run.waited, run.batches = 0.0, 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time a step; sampling, evaluating and saving are not part of it."""
        start = time.perf_counter()
        yield
        self.run.seconds += time.perf_counter() - start

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Remember a step's losses, as tensors."""
        self.pending.append(losses)

    def read(self, stage: Stage) -> dict[str, Any]:
        """Return mean losses and speed since the last call. Here the program waits for the device."""
        start = time.perf_counter()
        names = dict.fromkeys(name for losses in self.pending for name in losses)
        means = {
            name: torch.stack([losses[name].float() for losses in self.pending if name in losses]).mean()
            for name in names
        }
        metrics: dict[str, Any] = {name: float(mean) for name, mean in means.items()}
        # The steps queued on a GPU end here, so the wait for them is theirs.
        self.run.seconds += time.perf_counter() - start
        elapsed = max(self.run.seconds - self.mark, 1e-9)
        steps = len(self.pending)
        metrics |= {
            "stage": stage.name,
            "seconds": self.run.seconds,
            "steps_per_s": steps / elapsed,
            "samples_per_s": self.run.batches * self.run.config.batch_size * self.run.ranks.world / elapsed,
            "data_wait": self.run.waited / elapsed,
        }
        self.pending, self.mark = [], self.run.seconds
        self.run.waited, self.run.batches = 0.0, 0
        return metrics
