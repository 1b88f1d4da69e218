"""What the two players minimise, chosen by settings: adversarial loss, gradient penalty, weight clipping.

Every built-in game with one generator and one discriminator has these settings; a plugin's game may, too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Protocol

from pydantic import Field, model_validator
from torch import Tensor

from mmgan.config import Config
from mmgan.losses.adversarial import LOSSES, AdversarialLoss
from mmgan.losses.penalties import PENALTIES, Differentiator, Penalty, penalty
from mmgan.plugins.choices import Registered
from mmgan.task import Phase, Stage

Critic = Callable[[Tensor], Tensor]


#: The type of a setting that names an adversarial loss: mmgan's own or a plugin's.
LossName = Annotated[str, Registered("losses")]
#: The type of a setting that names a gradient penalty: mmgan's own or a plugin's.
PenaltyName = Annotated[str, Registered("penalties")]


class Registry(Differentiator, Protocol):
    """The part of a run that an objective needs."""

    def registered(self, table: str, name: str, kind: str = "") -> Any:
        """Return the object registered under a name."""


class ObjectiveConfig(Config):
    """Settings of the losses. A task's config inherits them."""

    loss: LossName = Field(
        "nonsaturating", description="the adversarial loss; wgan needs a penalty or clip_weights"
    )
    smoothing: float = Field(
        0.0, ge=0, lt=1, description="one-sided label smoothing: real's target is 1 - this"
    )
    penalty: PenaltyName = Field("none", description="gradient penalty on D")
    penalty_weight: float = Field(10.0, ge=0, description="weight of the penalty (lambda or gamma)")
    critic_steps: int = Field(1, ge=1, description="updates of D for each of G")
    clip_weights: float = Field(
        0.0, ge=0, description="greatest absolute weight of D (WGAN: 0.01); 0: no limit"
    )

    @model_validator(mode="after")
    def _has_targets_to_smooth(self) -> ObjectiveConfig:
        if self.smoothing and self.loss in ("hinge", "wgan"):
            raise ValueError(f"smoothing = {self.smoothing}: the loss {self.loss} has no targets to smooth")
        return self

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One stage: ``critic_steps`` updates of D, then one of G."""
        return (Stage("train", (Phase("D", "D", repeat=self.critic_steps), Phase("G", "G"))),)


class Objective:
    """The losses that a config chooses.

    Args:
        config: The settings.
        run: Computes the penalty's gradient, and looks up losses and penalties: ``task.run``.
    """

    def __init__(self, config: ObjectiveConfig, run: Registry) -> None:
        self.config = config
        self.run = run
        ours = LOSSES.get(config.loss)
        self.adversarial: AdversarialLoss = ours or run.registered("losses", config.loss)()
        self._penalty: Penalty = partial(penalty, config.penalty)
        if config.penalty not in PENALTIES:
            self._penalty = run.registered("penalties", config.penalty)
        if config.loss == "wgan" and config.penalty == "none" and not config.clip_weights:
            warnings.warn(
                "loss = wgan: nothing holds the critic back, so its scores may grow without end. "
                "Set penalty=wgan-gp or clip_weights=0.01.",
                stacklevel=2,
            )

    def discriminator(
        self, critic: Critic, real: Tensor, fake: Tensor, scores: Sequence[Tensor] = ()
    ) -> dict[str, Tensor]:
        """Return D's loss: ``D/adv``, and ``D/penalty`` where there is one.

        Args:
            critic: From examples (batch, ...) to raw scores.
            real: Real examples.
            fake: Generated ones; no gradient reaches the generator.
            scores: The scores of real and fake, if they are known. By default both pass through the critic,
                one after the other, so that batch norm normalises each separately.
        """
        fake = fake.detach()
        on_real, on_fake = scores or (critic(real), critic(fake))
        losses = {"D/adv": self.adversarial.discriminator(on_real, on_fake, self.config.smoothing)}
        if self.config.penalty != "none":
            value = self._penalty(self.run, critic, real, fake)
            losses["D/penalty"] = self.config.penalty_weight * value
        return losses

    def generator(self, critic: Critic, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return G's loss: ``G/adv``.

        Args:
            critic: From examples (batch, ...) to raw scores.
            real: Real examples, scored only if the loss is relativistic.
            fake: Generated ones, with their graph.
        """
        scores = critic(real) if self.adversarial.needs_real else None
        return {"G/adv": self.adversarial.generator(critic(fake), scores)}
