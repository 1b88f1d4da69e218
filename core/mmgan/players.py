"""Players as training needs them: on the device, with moving averages, and with opponents held still."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import nn

from mmgan.task import Player

if TYPE_CHECKING:
    from mmgan.run import Run

#: Weights by the names of players.
Weights = dict[str, list[nn.Parameter]]


def prepare(run: Run, name: str, player: Player) -> None:
    """Bring a player that a task has built to the run's device, and give it its moving average."""
    run.device.prepare(player)
    if run.config.sync_batch_norm:
        run.ranks.synchronize_batch_norm(player, run.device)
    run.hook.configure_module(run=run, name=name, module=player.module)
    if player.ema > 0:
        player.average = copy.deepcopy(player.module).eval().requires_grad_(False)


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
