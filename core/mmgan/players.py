"""Operations on players: preparing and replacing them, learning rates, weight clipping, moving averages."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from mmgan import stages
from mmgan.storage import changing

if TYPE_CHECKING:
    from mmgan.run import Run
    from mmgan.task import Player

#: Weights by the names of players.
Weights = dict[str, list[nn.Parameter]]


def prepare(run: Run, name: str, player: Player) -> None:
    """Bring a player that a task has built to the run's device, and give it its moving average."""
    if run.config.memory_format in ("contiguous", "channels_last"):
        player.channels_last = run.config.memory_format == "channels_last"
    run.device.prepare(player)
    if run.config.sync_batch_norm:
        run.ranks.synchronize_batch_norm(player, run.device)
    run.hook.configure_module(run=run, name=name, module=player.module)
    if player.ema > 0 or player.ema_half_life > 0:
        player.average = copy.deepcopy(player.module).eval().requires_grad_(False)


def enter(run: Run, number: int) -> None:
    """Call the task's ``begin_stage`` for each stage up to this number, once; on every rank.

    The data, where it is open, is fitted to the stage before.
    """
    while run.entered <= number:
        if run.entered:
            run.task.end_stage(run.stages[run.entered - 1])
        run.entered += 1
        if run.data_is_open:
            stages.fit(run, run.loader)
        run.task.begin_stage(run.stages[run.entered - 1])


def rebuild(run: Run, name: str, player: Player) -> None:
    """Replace a player, in ``Task.begin_stage``: a network has grown.

    The new one is prepared as all are, and has rank 0's weights on every rank. Its moving average goes on
    where names and shapes of weights are the same; its optimizer begins anew.
    """
    before = run.players[name]
    prepare(run, name, player)
    player.updates, player.images = before.updates, before.images
    if player.average is not None and before.average is not None:
        # What was averaged goes on; what is new begins as it was made.
        fresh, old = player.average.state_dict(), before.average.state_dict()
        same = {key: old[key] for key, value in fresh.items() if key in old and old[key].shape == value.shape}
        player.average.load_state_dict({**fresh, **same})
    run.ranks.broadcast_weights([player.module, *filter(None, [player.average])])
    run.players[name] = player
    run.options[name] = changing.options_of(player.optimizer)
    run.trained = trained_weights(run.players)
    run.opponents = opposing_weights(run.trained)


def networks(run: Run) -> list[nn.Module]:
    """Return all networks of a run: those of players, their averages, and helpers."""
    averages = [player.average for player in run.players.values() if player.average is not None]
    return [*(player.module for player in run.players.values()), *averages, *run.helpers.values()]


def trained_weights(players: Mapping[str, Player]) -> Weights:
    """Return what each player trains. Weights that the task itself froze stay frozen."""
    return {
        name: [p for p in player.module.parameters() if p.requires_grad] for name, player in players.items()
    }


def opposing_weights(trained: Weights) -> Weights:
    """Return what is frozen while each player is trained: all others' weights, but for those it shares."""
    return {
        name: [
            p
            for other, theirs in trained.items()
            if other != name
            for p in theirs
            if all(p is not q for q in own)
        ]
        for name, own in trained.items()
    }


def follow_schedules(player: Player, step: int) -> None:
    """Set the optimizer's options to the player's schedules at this step of the run."""
    if player.schedule is not None:
        factor = player.schedule(step)
        for group in player.optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
    if player.betas_schedule is not None:
        for group in player.optimizer.param_groups:
            group["betas"] = player.betas_schedule(step)


@torch.no_grad()
def clip_weights(player: Player) -> None:
    """Clamp every weight to [-c, c], which keeps WGAN's critic Lipschitz (Arjovsky et al. 2017)."""
    for parameter in player.module.parameters():
        parameter.clamp_(-player.clip_weights, player.clip_weights)  # type: ignore[operator]


def update_average(player: Player) -> None:
    """Move the averaged weights a little towards the present ones, and copy the buffers (batch statistics).

    The decay starts low and grows to ``player.ema``, so that a short run's average is not its initialisation.
    """
    _move(player, min(player.ema, (1 + player.updates) / (10 + player.updates)))


def average_images(run: Run, player: Player) -> None:
    """Move the averaged weights as far as the images of a step ask for (Karras et al. 2020).

    The decay is 0.5 ** (images of the step / half-life). At the beginning the half-life is ``ema_ramp_up`` of
    the images seen before, so that the average is not its initialisation.
    """
    images = run.batch_size * run.config.accumulate * run.ranks.world
    half_life = player.ema_half_life
    if player.half_life_schedule is not None:
        half_life *= player.half_life_schedule(run.step)
    if player.ema_ramp_up is not None:
        half_life = min(half_life, player.ema_ramp_up * player.images)
    _move(player, 0.5 ** (images / half_life) if half_life else 0.0)
    player.images += images


@torch.no_grad()
def _move(player: Player, decay: float) -> None:
    average: nn.Module = player.average  # type: ignore[assignment]
    torch._foreach_lerp_(list(average.parameters()), list(player.module.parameters()), 1 - decay)
    if buffers := list(average.buffers()):
        torch._foreach_copy_(buffers, list(player.module.buffers()))
