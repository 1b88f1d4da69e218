"""Stages of training, made of phases: which one a step belongs to, and what it asks of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor

from mmgan.errors import ConfigError

if TYPE_CHECKING:
    from mmgan.data.loader import Loader
    from mmgan.run import Run


@dataclass(frozen=True)
class Phase:
    """One update of one player.

    Args:
        name: The phase's name, which ``Task.loss`` gets, and which messages and profiles show.
        player: The name of the player whose weights the phase updates.
        every: Only in every n-th step of the stage (a lazy penalty).
        repeat: How often in a step, each time after the first with a fresh batch (WGAN's critic steps).
        loss: The phase's own loss, called with (batch, shared) instead of :meth:`Task.loss`.
        gain: A factor on the sum of the loss's terms before the backward pass: ``every`` makes a
            lazy penalty as strong as one in every step (Karras et al. 2020). Terms are logged without it.
    """

    name: str
    player: str
    every: int = 1
    repeat: int = 1
    loss: Callable[[Any, Any], Mapping[str, Tensor]] | None = None
    gain: float = 1.0


@dataclass(frozen=True)
class Stage:
    """A named stretch of training with phases of its own; ``steps=None`` means until the run's end.

    Args:
        name: What messages and metrics call the stage.
        phases: The phases of one step, in order.
        steps: How many steps it lasts.
        batch_size: Examples in its batches, on each process; None: as many as ``config.batch_size`` says.
        size: Side of its real pictures in pixels, a divisor of ``config.size``: they are averages over blocks
            of the stored ones, as in progressive growing (Karras et al. 2018). None: ``config.size``.
        period: Of so many steps the first differs from the rest in what Python decides in losses, as with a
            lazy penalty. A GPU may record a step of each kind; None: no two are alike.
    """

    name: str
    phases: tuple[Phase, ...]
    steps: int | None = None
    batch_size: int | None = None
    size: int | None = None
    period: int | None = 1


#: What most tasks play: the discriminator first, then the generator.
ALTERNATING = (Stage("train", (Phase("D", "D"), Phase("G", "G"))),)


def stage_at(stages: tuple[Stage, ...], step: int) -> tuple[Stage, int]:
    """Return the stage that a step of the run belongs to, and the step's index in the stage.

    Raises:
        ConfigError: The stages are over before this step: the last one should have ``steps=None``.
    """
    number, index = locate(stages, step)
    return stages[number], index


def locate(stages: tuple[Stage, ...], step: int) -> tuple[int, int]:
    """Return the number of the stage that a step belongs to, from 0 on, and the step's index in it; raises as
    :func:`stage_at`.
    """
    start = 0
    for number, stage in enumerate(stages):
        if stage.steps is None or step < start + stage.steps:
            return number, step - start
        start += stage.steps
    raise ConfigError(f"steps = {step + 1} is more than the stages have: {start}.", hint=f"--steps {start}")


def batch_size_of(run: Run) -> int:
    """Examples in a batch of the present stage, on each process: the stage's own number or the config's."""
    stage = _present(run)
    own = stage.batch_size if stage else None
    return run.config.batch_size if own is None else own


def fit(run: Run, loader: Loader) -> None:
    """Make batches and pictures as large as the present stage wants them, from the next batch on.

    Raises:
        PluginError: The pictures' size is to change, and the data set can't do it.
    """
    loader.resize(batch_size_of(run))
    if any(stage.size is not None for stage in run.stages):
        stage, config = _present(run), cast(Any, run.config)
        # Worker processes have copies of the data set.
        loader.close()
        loader.dataset.resize((stage and stage.size) or config.size)


def _present(run: Run) -> Stage | None:
    """Return the stage that was entered last, the first one before any was; None in ``Task.build``."""
    # ``mmgan bench`` may measure a stage before the one that the run was in.
    number = min(max(run.entered, 1), len(run.stages))
    return run.stages[number - 1] if number else None
