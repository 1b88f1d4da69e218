"""The parts of an adversarial game: a task has players, and stages made of phases.

A *task* defines the networks, losses, data and samples. It never touches ``backward``, an optimizer's
step, a gradient scaler or a device: the engine (``engine.py``) owns those.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from mmgan.config import GREATEST, Config
from mmgan.errors import ConfigError, PluginError
from mmgan.stages import ALTERNATING as ALTERNATING
from mmgan.stages import Phase as Phase
from mmgan.stages import Stage as Stage
from mmgan.stages import locate as locate
from mmgan.stages import stage_at as stage_at

if TYPE_CHECKING:
    from mmgan.data.dataset import Dataset
    from mmgan.run import Run
    from mmgan.samples import Samples


@dataclass
class Player:
    """One side of the game.

    Args:
        module: The network; an ``nn.ModuleDict`` where one optimizer updates several.
        optimizer: Over the module's parameters.
        ema: Decay of an exponential moving average of the weights, 0 for none. The averaged copy is
            ``player.average`` and is what :attr:`sampler` gives.
        ema_half_life: The same average, but with its half-life in examples, 0 for none: it moves once a step,
            not with every update, and means the same for every batch size (Karras et al. 2020: 10,000). A
            step counts ``batch_size`` x ``accumulate`` x processes.
        ema_ramp_up: The half-life is at most this part of the examples seen so far; None for no such limit.
        clip_norm: Greatest norm of the player's whole gradient, None for no limit.
        clip_weights: Greatest absolute weight after an update (WGAN), None for no limit.
        schedule: A function from the run's step (0 for the first) to a factor on every learning rate.
        betas_schedule: A function from the run's step to Adam's decay rates.
        half_life_schedule: A function from the run's step to a factor on ``ema_half_life``.
        channels_last: Keep 4-D weights and pictures channels-last, where that was measured to be faster.
        compile: Whether ``--compile`` may compile the module; no for a critic whose penalty differentiates
            twice, which ``torch.compile`` can't.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    ema: float = 0.0
    clip_norm: float | None = None
    clip_weights: float | None = None
    schedule: Callable[[int], float] | None = None
    channels_last: bool = False
    compile: bool = True
    ema_half_life: float = 0.0
    ema_ramp_up: float | None = 0.05
    betas_schedule: Callable[[int], tuple[float, float]] | None = None
    half_life_schedule: Callable[[int], float] | None = None

    def __post_init__(self) -> None:
        if self.ema and self.ema_half_life:
            raise PluginError(
                "Player: ema and ema_half_life are two ways to say one thing; give one of them."
            )
        if not 0 <= self.ema_half_life < math.inf or not (self.ema_ramp_up is None or self.ema_ramp_up > 0):
            raise PluginError(
                f"Player: ema_half_life = {self.ema_half_life} and ema_ramp_up = {self.ema_ramp_up} must be "
                "finite numbers of examples, 0 for none, and a part greater than 0."
            )
        if self.betas_schedule and any("betas" not in group for group in self.optimizer.param_groups):
            raise PluginError(
                f"Player: betas_schedule is for Adam and its like; {type(self.optimizer).__name__} has none."
            )
        self.average: nn.Module | None = None
        self.updates = self.images = 0

    @property
    def sampler(self) -> nn.Module:
        """The module to sample from: the moving average where there is one, else the module itself."""
        return self.module if self.average is None else self.average


#: A task's settings. A task that does not say which has settings of any kind, as far as a type checker knows.
C = TypeVar("C", bound=Config, default=Any)


class Task(ABC, Generic[C]):
    """One adversarial game. Subclass it, and register the class by ``register_tasks``.

    ``Task[MyConfig]`` says what ``self.config`` is, for editors and type checkers.
    ``self.run`` is set before :meth:`build`: it gives ``run.device``, ``run.grad`` (for penalties),
    ``run.players``, ``run.step`` and ``run.open_data``.
    """

    #: The task's settings, a subclass of :class:`mmgan.Config`.
    Config: ClassVar[type[Config]] = Config
    #: What ``--data`` may hold: the kind of data set that the task trains on ("images", "points", …).
    data_kind: ClassVar[str] = ""
    #: Settings that only sampling reads: ``mmgan sample`` may change them, by ``--set``.
    sample_settings: ClassVar[frozenset[str]] = frozenset()
    #: Settings that only evaluating reads: ``mmgan evaluate`` may change them too, by ``--set``.
    evaluate_settings: ClassVar[frozenset[str]] = frozenset()
    #: Settings that a run which has begun can't change, though its networks would still fit.
    fixed_settings: ClassVar[frozenset[str]] = frozenset()
    #: What a batch holds: ``("images", "label")`` makes it a dict with these names; any column of the data
    #: can be held. () or one name: the examples themselves.
    holds: tuple[str, ...] = ()
    #: What ``sample`` and its like take: with ``("label",)`` they are given ``label``, int64 (n,).
    conditions: tuple[str, ...] = ()
    #: The players whose networks sampling uses: :func:`mmgan.load` frees the others' memory. (): all of them.
    needed_to_sample: ClassVar[tuple[str, ...]] = ()
    #: Whether several threads may sample at once: all that is random is drawn by ``generator=run.generator``,
    #: and nothing of the task is changed. It counts for the class that says so, and for no subclass.
    reentrant: ClassVar[bool] = False
    #: Whether a GPU may record a step and replay it (``mmgan.backend.graphs``): shapes stay as they are, and
    #: from step to step nothing but tensors differs; no number that Python draws or reads decides anything.
    #: It counts for the class that says so, and for no subclass.
    graphs: ClassVar[bool] = False
    run: Run

    def __init__(self, config: C) -> None:
        #: The resolved settings: an instance of ``self.Config``.
        self.config = config

    @property
    def best_score(self) -> str:
        """The name of the score by which the best checkpoint is chosen; lower is better. "" for none."""
        return ""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in their order. The default is one stage: D, then G, in each step."""
        return ALTERNATING

    def begin_stage(self, stage: Stage) -> None:
        """Begin a stage (optional). Here a network may grow: ``self.run.rebuild("G", Player(…))``.

        Called on every rank before the stage's first step. A run that is opened again has it called for all
        stages that had begun, in their order, before its checkpoint is loaded.
        """

    def end_stage(self, stage: Stage) -> None:
        """End a stage (optional); called just before the next one begins."""

    @abstractmethod
    def build(self) -> Mapping[str, Player]:
        """Make the networks and their optimizers, on the CPU; the engine moves them to the device.

        Returns:
            The players by name, such as ``{"G": …, "D": …}``.
        """

    @abstractmethod
    def data(self) -> Dataset:
        """Open the data to train on: often ``self.run.open_data(self.data_kind)`` and a transform."""

    def forward(self, batch: Any) -> Any:
        """Compute what the phases of a step share, with every player's gradient on (optional).

        Called once for each ``batch``, before the phases; ``loss`` gets the result as ``shared``. So a fake
        is made once: D sees ``shared.detach()``, and G's phase backpropagates through the same graph. Only
        one phase may do so, since the graph is freed afterwards.
        """
        return None

    def loss(self, phase: str, batch: Any, shared: Any) -> Mapping[str, Tensor]:
        """Return the phase's loss as named scalar terms; the engine minimises their sum.

        Runs under autocast, with the other players' parameters frozen. A task may give each phase a loss of
        its own instead: ``Phase("D", "D", loss=self.d_loss)``.

        Args:
            phase: The phase's name.
            batch: A batch of the data, on the device.
            shared: What :meth:`forward` returned for this batch.
        """
        raise NotImplementedError

    def phase_loss(self, phase: Phase, batch: Any, shared: Any) -> Mapping[str, Tensor]:
        """Return the loss of ``phase``: its own, else :meth:`loss` by its name. Called by the engine."""
        return phase.loss(batch, shared) if phase.loss else self.loss(phase.name, batch, shared)

    def step(self, run: Run, stage: Stage, index: int) -> dict[str, Tensor]:
        """Advanced: play one step yourself. The default is the engine's pass over the stage's phases.

        Args:
            run: The run.
            stage: The current stage.
            index: The step's index in the stage, from 0.
        """
        from mmgan.engine import play_step

        return play_step(run, stage, index)

    @abstractmethod
    def sample(self, n: int) -> Samples:
        """Generate ``n`` samples. Called without gradients, with randomness that the engine has seeded."""

    def sample_chunks(self, n: int, prompt: str = "") -> Iterator[Samples]:
        """Generate the samples of :meth:`sample` or :meth:`complete` in chunks of little memory (optional).

        `mmgan sample` writes each chunk before it asks for the next one. The default is one chunk of all. A
        subclass that overrides ``sample`` or ``complete`` alone is sampled by them, whatever the chunks of
        its base class are.

        Args:
            n: How many samples in all.
            prompt: What each shall begin with; "" for nothing.
        """
        yield self.complete(n, prompt) if prompt else self.sample(n)

    def interpolate(self, n: int) -> Samples:
        """Generate ``n`` samples along a walk through latent space (optional)."""
        raise NotImplementedError

    def complete(self, n: int, prompt: str) -> Samples:
        """Generate ``n`` samples that begin with ``prompt``; UsageError if they can't (optional)."""
        raise NotImplementedError

    def evaluate(self, n: int) -> dict[str, float]:
        """Score ``n`` generated samples against the data (0: the task's usual number), by name (optional)."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return the task's own state for checkpoints (a replay pool, a tokenizer): tensors, numbers, text,
        lists and dicts of them.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, with its tensors on the CPU; does nothing by default."""


def check_stages(task: Task[Any], stages: tuple[Stage, ...], players: Mapping[str, Player]) -> None:
    """Find what would only show in the middle of training.

    Raises:
        PluginError: A phase has an unknown player, no loss, or is never played; a batch size or picture size
            is not a number that can be.
        ConfigError: The stages are over before the run is; a picture size does not divide ``config.size``.
    """
    for stage in stages:
        _check_sizes(task, stage)
        for phase in stage.phases:
            where = f"Phase {phase.name!r} of stage {stage.name!r} of {task.config.plugin}"
            if phase.player not in players:
                raise PluginError(
                    f"{where} is of the player {phase.player!r}.", hint=f"Players: {', '.join(players)}."
                )
            if phase.every < 1 or phase.repeat < 1:
                raise PluginError(f"{where}: every and repeat must be at least 1.")
            if phase.loss is None and type(task).loss is Task.loss:
                raise PluginError(
                    f"{where} has no loss.",
                    hint="Phase(…, loss=self.d_loss), or a method `loss` of the task.",
                )
            if not math.isfinite(phase.gain):
                raise PluginError(f"{where}: gain = {phase.gain} is not finite.")
    stage_at(stages, task.config.steps - 1)


def _check_sizes(task: Task[Any], stage: Stage) -> None:
    """Check a stage's own batch size and picture size."""
    where = f"Stage {stage.name!r} of {task.config.plugin}"
    most, largest = GREATEST["batch_size"], getattr(task.config, "size", None)
    if stage.batch_size is not None and not (type(stage.batch_size) is int and 1 <= stage.batch_size <= most):
        raise PluginError(f"{where}: batch_size = {stage.batch_size!r} is not a number from 1 to {most:,}.")
    if stage.size is None:
        return
    if type(stage.size) is not int or stage.size < 1:
        raise PluginError(f"{where}: size = {stage.size!r} is not a number of pixels, 1 or more.")
    if type(largest) is not int:
        raise PluginError(f"{where}: size = {stage.size}, and the task's settings have no number `size`.")
    if largest % stage.size:
        raise ConfigError(
            f"{where} has pictures of {stage.size} pixels a side, which does not divide size = {largest}.",
            hint=f"--set size={max(1, largest // stage.size) * stage.size}",
        )
