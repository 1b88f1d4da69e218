"""Every hook, with when it is called and what None means.

Hooks register and announce; classes compute. No hook is called inside a forward or backward pass: a call
costs a few microseconds, which is nothing once a step and too much once a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    import click
    from torch import Tensor, nn

    from mmgan.backend.device import Device
    from mmgan.backend.precision import Precision
    from mmgan.config import Config
    from mmgan.engine import Report
    from mmgan.run import Run
    from mmgan.samples import Samples
    from mmgan.storage.records import RollBack
    from mmgan.task import Stage

hookspec = pluggy.HookspecMarker("mmgan")


class Register(Protocol):
    """Register a thing under a name. The thing is an object, or ``"package.module:attribute"``, which is
    imported when it is first needed. A name that is taken is an error that names both plugins.
    """

    def __call__(self, name: str, thing: Any, /) -> None:
        """Register ``thing`` under ``name``."""


class RegisterKind(Protocol):
    """Register a thing of a kind ("images", "points", …) under a name."""

    def __call__(self, name: str, thing: Any, /, *, kind: str) -> None:
        """Register ``thing`` of this kind under ``name``."""


# Registration: every plugin's is called, once, before anything else.


@hookspec
def register_tasks(register: Register) -> None:
    """Register :class:`mmgan.Task` classes; called when the plugins are loaded."""


@hookspec
def register_devices(register: Register) -> None:
    """Register :class:`mmgan.Device` classes or factories ``(name) -> Device`` for ``--device NAME``."""


@hookspec
def register_precisions(register: Register) -> None:
    """Register factories ``(device) -> Precision`` for ``--precision NAME``."""


@hookspec
def register_datasets(register: RegisterKind) -> None:
    """Register sources of data for ``--data NAME`` or ``--data NAME:ARGUMENT``, each of one kind.

    A source is a callable ``(argument, config)``; what it returns is what tasks of that kind understand.
    """


@hookspec
def register_metrics(register: RegisterKind) -> None:
    """Register metrics for ``mmgan evaluate``, each of one kind: for "images" and "sounds" a function
    ``(generated, real) -> float`` of two tensors of features (n, d), for "texts" of two lists of texts. Tasks
    get them by ``run.metrics(kind)``.
    """


@hookspec
def register_settings(register: Register) -> None:
    """Register a plugin's own settings: a subclass of ``pydantic.BaseModel`` whose fields have defaults, for
    ``--set NAME.KEY=VALUE`` or a table ``[NAME]`` in a file. ``run.settings(NAME)`` is an instance.
    """


@hookspec
def register_losses(register: Register) -> None:
    """Register subclasses of :class:`mmgan.losses.AdversarialLoss`, made without arguments, for the setting
    ``loss`` of every task with an ``ObjectiveConfig``.
    """


@hookspec
def register_penalties(register: Register) -> None:
    """Register functions ``(run, critic, real, fake) -> scalar`` for the setting ``penalty`` of every task
    with an ``ObjectiveConfig``; ``run.grad(critic, inputs)`` gives outputs and a gradient.
    """


@hookspec
def register_features(register: RegisterKind) -> None:
    """Register functions ``(config) -> Features`` for the setting ``features`` of ``mmgan evaluate``, each of
    one kind: "images".
    """


@hookspec
def register_augmentations(register: RegisterKind) -> None:
    """Register subclasses of :class:`mmgan.augment.Augmentation`, or functions ``(config) -> Augmentation``,
    for the setting ``augment``, each of one kind: "images" or "sounds".
    """


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to the command line; called when the command line starts, so import nothing slow."""


# Selection: the first plugin that does not return None decides; the core's defaults come last.


@hookspec(firstresult=True)
def select_device(config: Config) -> Device | None:
    """Choose the device of a run; None leaves the choice to the next plugin, at last to the core."""


@hookspec(firstresult=True)
def make_precision(device: Device, config: Config, networks: tuple[nn.Module, ...]) -> Precision | None:
    """Choose the precision of a run; None leaves the choice to the next plugin, at last to the core.

    Called before the task builds its networks, with none of them; and where ``config.precision`` is "auto"
    once more, with those that are trained, on their device.
    """


# Lifecycle: every plugin's is called; what it returns is ignored.


@hookspec
def before_run(run: Run) -> None:
    """Called once the run is complete (folder, players, data) and before its first step."""


@hookspec
def after_run(run: Run, report: Report) -> None:
    """Called when training ended without an error: finished, or interrupted between two steps."""


@hookspec
def on_run_error(run: Run, error: BaseException) -> None:
    """Called when training ended with an error, which is raised again afterwards."""


@hookspec
def before_stage(run: Run, stage: Stage) -> None:
    """Called before a stage's first step, and again where a run resumes inside a stage."""


@hookspec
def after_stage(run: Run, stage: Stage) -> None:
    """Called after a stage's last step."""


@hookspec
def configure_module(run: Run, name: str, module: nn.Module) -> None:
    """Change a player's module in place (memory format, ``module.compile()``) before it is trained; or a
    helper's, which ``run.helpers`` has under the name and ``run.players`` has not.
    """


@hookspec
def after_step(run: Run, step: int, losses: Mapping[str, Tensor]) -> None:
    """Called at the end of every step, after the hooks below, with the step's detached losses; reading their
    values here would stall a GPU.
    """


@hookspec
def after_log(run: Run, step: int, metrics: Mapping[str, Any]) -> None:
    """Called every ``log_every`` steps with the losses' means and the speed: the loop's one wait. The names
    in ``mmgan.engine.METER`` are the stage and the speed; all others are losses.
    """


@hookspec
def after_sample(run: Run, step: int, samples: Samples) -> None:
    """Called every ``sample_every`` steps, with samples made from latents that stay the same."""


@hookspec
def after_evaluate(run: Run, step: int, scores: Mapping[str, float]) -> None:
    """Called every ``evaluate_every`` steps with the task's scores."""


@hookspec
def after_roll_back(run: Run, roll_back: RollBack) -> None:
    """Called when ``run.roll_back`` was done, after ``after_load``: ``roll_back.from_step``, ``to_step``,
    ``reason``, and ``changes``, the settings that changed, [before, now] by name.
    """


@hookspec
def before_save(run: Run, state: dict[str, Any]) -> None:
    """Called before a checkpoint is written: put what you must remember under a key of your own."""


@hookspec
def after_load(run: Run, state: Mapping[str, Any]) -> None:
    """Called after a checkpoint was read: take your own key back, which may be missing."""
