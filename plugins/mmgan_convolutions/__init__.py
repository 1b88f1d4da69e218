"""A plugin that is always loaded: on a CPU, it computes convolutions in the form that is fastest.

Like ``cudnn.benchmark`` on a GPU. A convolution and its two gradients are three products
(``products.py``), and each can be computed in four forms (``forms.py``): by the library in two memory
formats, or as patches times weights in both. A ``Plan`` chooses (``plan.py``): by a fixed rule on shapes, so
that two runs with one seed stay equal to the byte, or with ``--tune`` by measuring in the first steps; what
was measured is kept with the run. Signals' convolutions of stride 4 have a form of their own
(``signals.py``, ``minimal_filtering.py``). On any device, LeakyReLU in networks that are differentiated twice
does without its second derivative, which is zero (``activations.py``).

This file is imported when the command line starts, so it imports nothing slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmgan import hookimpl

if TYPE_CHECKING:
    from torch import nn

    from mmgan import Run
    from mmgan.hookspecs import Register
    from mmgan_convolutions.plan import Plan

#: The key of the measured choices in a checkpoint.
KEY = "convolutions"


@hookimpl
def register_settings(register: Register) -> None:
    """Register the settings: ``--set convolutions.mode=tune``."""
    register("convolutions", "mmgan_convolutions.settings:Settings")


@hookimpl
def configure_module(run: Run, name: str, module: nn.Module) -> None:
    """Let a player's convolutions take the form that the run's plan chooses.

    Raises:
        ConfigError: Several processes train, and each would measure for itself.
    """
    mode = run.settings("convolutions").mode
    if mode == "library":
        return
    player = run.players.get(name)  # None for a helper, which is never differentiated twice.
    if player is not None and not player.compile:
        from mmgan_convolutions.activations import stop_second_derivatives

        stop_second_derivatives(module)
    # A compiler chooses for itself.
    if run.device.type != "cpu" or (run.config.compile is True and (player is None or player.compile)):
        return
    from mmgan import ConfigError
    from mmgan_convolutions.layers import choose
    from mmgan_convolutions.plan import Plan

    measures = mode == "tune"
    if measures and run.ranks.world > 1:
        raise ConfigError(
            f"convolutions.mode = 'tune': {run.ranks.world} processes would each measure for themselves.",
            hint="Start without --tune, which goes by a fixed rule; go on with a tuned run in one process.",
        )
    choose(module, plan_of(run) or Plan(measures))


@hookimpl
def before_save(run: Run, state: dict[str, Any]) -> None:
    """Store the measured choices, so that a resumed run computes as if it had never stopped."""
    plan = plan_of(run)
    if plan is not None and plan.measures:
        state[KEY] = dict(plan.choices)


@hookimpl
def after_load(run: Run, state: Mapping[str, Any]) -> None:
    """Restore the measured choices."""
    from mmgan import CheckpointError
    from mmgan_convolutions.forms import FORMS

    plan = plan_of(run)
    if plan is not None and plan.measures:
        choices = state.get(KEY, {})
        if not isinstance(choices, dict) or not set(choices.values()) <= FORMS.keys():
            raise CheckpointError("The checkpoint names forms of convolutions that mmgan does not have.")
        plan.choices = dict(choices)


def plan_of(run: Run) -> Plan | None:
    """Return the plan that a run's layers share, or None before there is one."""
    from mmgan_convolutions.layers import Planned

    networks = [*(player.module for player in run.players.values()), *run.helpers.values()]
    layers = (layer for network in networks for layer in network.modules())
    return next((layer.plan for layer in layers if isinstance(layer, Planned) and layer.plan), None)
