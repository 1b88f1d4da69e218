"""The adversarial loop. Read it top to bottom: this is all that training a GAN is. A step, in short:

    batch = next(data)
    fake = task.forward(batch)                      # the generator's output, shared by the phases
    for phase in stage.phases:                      # D, then G; each trains one player
        freeze(opponents)
        optimizer.zero_grad()
        losses = task.loss(phase, batch, fake)      # under autocast
        scaler.scale(sum(losses)).backward()
        all_reduce(gradients)                       # the mean over processes
        scaler.unscale_(optimizer); clip(gradients)
        scaler.step(optimizer); scaler.update()
        clip(weights); move(ema)

A task says what the losses are; everything that turns a loss into an update is here. ``play`` plays steps,
``play_step`` one, and ``update`` one phase of it. ``run.part`` names a part of a step for measurements.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgan import rolling_back
from mmgan.backend import randomness
from mmgan.backend.ranks import FINISH, ROLL_BACK
from mmgan.conditions import full_rows
from mmgan.meter import METER, Meter
from mmgan.players import average_images, clip_weights, enter, follow_schedules, networks, update_average
from mmgan.plugins.blame import blaming
from mmgan.task import Phase, Stage, locate

if TYPE_CHECKING:
    from mmgan.run import Run

__all__ = ["METER", "Report", "play", "play_step", "train", "training", "update"]


@dataclass(frozen=True)
class Report:
    """How training ended.

    Args:
        state: ``finished``, or ``interrupted`` where a signal asked the run to stop.
        step: Steps done, those before a resume included.
        seconds: Time spent in steps, those before a resume included.
        signal: The number of the signal, or 0.
        reason: Why it finished before ``config.steps``; "" where it did not.
    """

    state: str
    step: int
    seconds: float
    signal: int = 0
    reason: str = ""


def train(run: Run) -> Report:
    """Play until ``config.steps`` are done or a signal asks to stop.

    Raises:
        DivergedError: A loss or a gradient became NaN or infinite. The last checkpoint is from before it.
        MmganError: Whatever the data or a plugin found wrong.
    """
    with training(run):
        return finish(run, play(run, until=run.config.steps))


@contextmanager
def training(run: Run) -> Iterator[None]:
    """Enter this to play: listeners get the start and any error, and the loader is closed at the end."""
    try:
        with playing(run), blaming(type(run.task), run.config.plugin, lambda: run.phase):
            run.hook.before_run(run=run)
            run.meter = Meter(run)
            yield
    except BaseException as error:
        try:
            run.hook.on_run_error(run=run, error=error)
        except Exception as second:
            # The first error must be the one reported; the second is attached to it.
            error.add_note(f"Then on_run_error failed too: {type(second).__name__}: {second}")
        raise
    finally:
        run.close()


def finish(run: Run, signal: int) -> Report:
    """Notify the listeners of how training ended, and return it."""
    early = signal == FINISH
    finished = early or run.step >= run.config.steps
    state, reason = "finished" if finished else "interrupted", run.finish_reason if early else ""
    report = Report(state, run.step, run.seconds, 0 if finished else signal, reason)
    run.hook.after_run(run=run, report=report)
    return report


@contextmanager
def playing(run: Run) -> Iterator[None]:
    """Draw the run's own randomness inside this, from where the run left it. Ranks begin with equal weights.

    Outside of it the process's randomness is its own.
    """
    if run.saved_by != run.ranks.world:
        warnings.warn(
            f"The number of processes that train this run changes from {run.saved_by} to {run.ranks.world}: "
            "it goes on, but not as if it had never stopped.",
            stacklevel=3,
        )
    run.ranks.broadcast_weights(networks(run))
    randomness.set_state(run.randomness, run.device.torch)
    run.is_playing = True
    try:
        yield
        # The others stay until rank 0 has saved how it ended.
        run.ranks.sync_stop(run.stop_signal, run.own_state)
    finally:
        run.is_playing = False
        run.randomness = randomness.get_state(run.device.torch)


def play(run: Run, until: int, heard: bool = True) -> int:
    """Play steps until the run has done ``until`` of them, or a signal asks to stop.

    Args:
        run: The run, in :func:`training`, or in :func:`playing` where no listener is called.
        until: The number of the last step, counted from 1.
        heard: Whether listeners are called, with logs, samples and scores.

    Returns:
        The signal's number, or 0.
    """
    while True:
        # Of several processes one may have got the signal: all stop, or roll back, before the same step.
        signal = run.ranks.sync_stop(run.asked, run.own_state)
        if signal == ROLL_BACK:
            rolling_back.perform(run, heard)
            continue
        if signal or run.step >= until:
            return signal if run.step < until else 0
        number, index = locate(run.stages, run.step)
        stage = run.stages[number]
        enter(run, number)
        if heard and stage is not run.stage:
            run.hook.before_stage(run=run, stage=stage)
        run.stage, run.stage_step = stage, index

        with run.meter.step() if heard else nullcontext():
            losses = run.stepper.step(run, stage, index)
            run.step += 1

        # On a CPU values are at hand after every step. A GPU is only waited for when something is logged;
        # until then NaN is noted on the GPU itself, with the step and the phase that it came from.
        if not run.device.asynchronous:
            run.check_finite()
        if heard:
            tell(run, stage, index, losses)


def tell(run: Run, stage: Stage, index: int, losses: dict[str, Tensor]) -> None:
    """Notify the listeners of a step, with the logs, samples and scores that are due."""
    hook, config, step = run.hook, run.config, run.step
    last = step == config.steps
    run.meter.add(losses)
    if step % config.log_every == 0 or last:
        run.check_finite()
        hook.after_log(run=run, step=step, metrics=run.meter.read(stage))
    if _due(run, config.sample_every, last):
        hook.after_sample(run=run, step=step, samples=run.sample(full_rows(run, run.sample_count)))
    if _due(run, config.evaluate_every, last):
        hook.after_evaluate(run=run, step=step, scores=run.evaluate())
    if last or index + 1 == stage.steps:
        hook.after_stage(run=run, stage=stage)
    # Last, since this is where checkpoints are saved: what a step wrote elsewhere is on disk by then.
    hook.after_step(run=run, step=step, losses=losses)


def play_step(run: Run, stage: Stage, index: int) -> dict[str, Tensor]:
    """Play one step: every phase of the stage that is due, in order. Returns the detached losses.

    Phases of a step share a batch, and what ``task.forward`` made of it, so that a fake made for the
    discriminator serves the generator too. A repeated phase takes a fresh batch each time after the first.
    Where gradients are accumulated, the further batches are shared too; what ``task.forward`` makes of them
    is made for each phase anew, since their graphs together would take the memory of one large batch.
    """
    losses: dict[str, Tensor] = {}
    batch = shared = None
    further: list[Any] = []
    run.phase = ""
    for phase in stage.phases:
        if index % phase.every:
            continue
        for turn in range(phase.repeat):
            if batch is None or turn > 0:
                batch = run.next_batch()
                further = [run.next_batch() for _ in range(run.config.accumulate - 1)]
                shared = forward(run, batch)
            with run.part("update", phase.name):
                losses.update(update(run, phase, batch, shared, further))
    for name in dict.fromkeys(phase.player for phase in stage.phases if not index % phase.every):
        if run.players[name].ema_half_life:
            with run.part("average", ""):
                average_images(run, run.players[name])
    return losses


def forward(run: Run, batch: Any) -> Any:
    """Return what the phases of a step share."""
    with run.part("forward", ""), run.precision.autocast():
        return run.task.forward(batch)


def update(run: Run, phase: Phase, batch: Any, shared: Any, further: Sequence[Any] = ()) -> dict[str, Tensor]:
    """Update one player's weights once. Returns the phase's detached losses.

    Args:
        run: The run.
        phase: The phase: its player's weights, by its loss.
        batch: The batch that the loss is computed on.
        shared: What ``task.forward`` made of it.
        further: Batches whose gradients are accumulated before the weights move.
    """
    run.phase = phase.name
    player = run.players[phase.player]
    optimizer = player.optimizer
    scaler = run.precision.scaler(phase.player)
    follow_schedules(player, run.step)

    with opponents_frozen(run, phase.player):
        optimizer.zero_grad(set_to_none=True)
        losses, total = backward(run, phase, batch, shared, 1 + len(further))
        for more in further:
            others, part = backward(run, phase, more, forward(run, more), 1 + len(further))
            losses = {name: losses[name] + others[name] for name in losses}
            total = total + part

    trained = run.trained[phase.player]
    # Each rank has seen its share of the batch: the gradients are averaged over ranks.
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
    if player.ema and player.average is not None:
        with run.part("average", phase.name):
            update_average(player)
    return losses


def backward(
    run: Run, phase: Phase, batch: Any, shared: Any, batches: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Add the gradients of one of ``batches`` accumulated batches to a player's weights.

    Returns:
        The phase's losses and their sum, detached, divided by the number of batches.
    """
    with run.part("loss", phase.name), run.precision.autocast():
        losses = run.task.phase_loss(phase, batch, shared)
    total = reduce(operator.add, losses.values())
    # Not multiplied by 1: the plain case runs no more operations than a hand-written loop.
    weight = phase.gain / batches
    weighted = total if weight == 1 else weight * total
    with run.part("backward", phase.name), run.ranks.overlapping(run.trained[phase.player], batches):
        run.precision.scaler(phase.player).scale(weighted).backward()  # type: ignore[no-untyped-call]
    if batches == 1:
        return {name: loss.detach() for name, loss in losses.items()}, weighted
    return {name: loss.detach() / batches for name, loss in losses.items()}, weighted.detach()


@contextmanager
def opponents_frozen(run: Run, name: str) -> Iterator[None]:
    """Freeze every other player's weights: a phase neither changes them nor computes their gradients."""
    frozen = run.opponents[name]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _due(run: Run, every: int, last: bool) -> bool:
    """Return whether rank 0's work for every ``every`` steps (0: never), and for the last step, is due."""
    return run.ranks.rank == 0 and every > 0 and (run.step % every == 0 or last)
