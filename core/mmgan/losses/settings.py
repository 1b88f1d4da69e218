"""The settings of the losses: which adversarial loss, which penalty, how strong and how often."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from mmgan.plugins.choices import Registered
from mmgan.schedules import ScheduleConfig
from mmgan.stages import Phase, Stage

#: The type of a setting that names an adversarial loss: mmgan's own or a plugin's.
LossName = Annotated[str, Registered("losses")]
#: The type of a setting that names a gradient penalty: mmgan's own or a plugin's.
PenaltyName = Annotated[str, Registered("penalties")]


class ObjectiveConfig(ScheduleConfig):
    """Settings of the losses. A task's config inherits them."""

    loss: LossName = Field(
        "nonsaturating", description="the adversarial loss; wgan needs a penalty or clip_weights"
    )
    smoothing: float = Field(
        0.0, ge=0, lt=1, description="one-sided label smoothing: real's target is 1 - this"
    )
    penalty: PenaltyName = Field("none", description="gradient penalty on D")
    penalty_weight: float = Field(10.0, ge=0, description="weight of the penalty (lambda or gamma)")
    penalty_weight_end: float | None = Field(
        None, ge=0, description="its last value, reached by a cosine; by default it stays"
    )
    penalty_every: int = Field(
        1, ge=1, description="compute the penalty only in every n-th step, n times as strong (lazily)"
    )
    lecam: float = Field(0.0, ge=0, description="weight of LeCam regularisation (paper: 0.3); 0: none")
    consistency: float = Field(
        0.0, ge=0, description="weight of D's consistency under shifts (bCR; paper: 10); 0: none"
    )
    critic_steps: int = Field(1, ge=1, description="updates of D for each of G")
    clip_weights: float = Field(
        0.0, ge=0, description="greatest absolute weight of D (WGAN: 0.01); 0: no limit"
    )

    @model_validator(mode="after")
    def _has_targets_to_smooth(self) -> ObjectiveConfig:
        if self.smoothing and self.loss in ("hinge", "wgan"):
            raise ValueError(f"smoothing = {self.smoothing}: the loss {self.loss} has no targets to smooth")
        return self

    @model_validator(mode="after")
    def _has_a_penalty(self) -> ObjectiveConfig:
        if self.penalty == "none" and (self.penalty_every > 1 or self.penalty_weight_end is not None):
            name = "penalty_every" if self.penalty_every > 1 else "penalty_weight_end"
            raise ValueError(f"{name} = {getattr(self, name)}: there is no penalty; set penalty=r1r2")
        return self

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One stage: ``critic_steps`` updates of D, then one of G."""
        phases = (Phase("D", "D", repeat=self.critic_steps), Phase("G", "G"))
        return (Stage("train", phases, period=self.period),)

    @property
    def period(self) -> int | None:
        """Of how many steps the first has a penalty, for a stage; None: no two steps are alike."""
        return self.penalty_every if self.penalty_weight_end is None else None
