"""Players that Adam trains: their rates, and the cosines by which rates, decay rates and averages move."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from mmgan.schedules import Schedule, ScheduleConfig
from mmgan.task import Player


class AdamConfig(ScheduleConfig):
    """Settings of the optimizers of G and D, and of G's moving average."""

    lr: float = Field(2e-4, gt=0, description="Adam's learning rate")
    d_lr: float | None = Field(
        None, gt=0, description="D's learning rate, where it is another one (TTUR); by default lr"
    )
    lr_end: float | None = Field(
        None, ge=0, description="its last value, reached by a cosine; d_lr falls by the same factor"
    )
    betas: tuple[float, float] = Field((0.5, 0.999), description="Adam's decay rates")
    beta2_end: float | None = Field(
        None, ge=0, lt=1, description="the last value of the second of betas, reached by a cosine"
    )
    ema: float = Field(
        0.999, ge=0, lt=1, description="decay of G's moving average, used for samples; 0: none"
    )
    ema_half_life: float = Field(
        0.0, ge=0, description="instead of ema: half-life of G's average in examples (Karras et al. 2020)"
    )
    ema_growth: Literal["ramp", "cosine"] = Field(
        "ramp", description="how ema_half_life grows: with the examples seen, or by a cosine"
    )

    @model_validator(mode="after")
    def _adam_has_betas(self) -> AdamConfig:
        if self.beta2_end is not None and getattr(self, "optimizer", "adam") != "adam":
            raise ValueError(f"beta2_end = {self.beta2_end}: only Adam has betas")
        return self

    @property
    def rate_schedule(self) -> Schedule | None:
        """The factor on the learning rates by step."""
        return None if self.lr_end is None else self.cosine(1.0, self.lr_end / self.lr)

    def player(self, module: nn.Module, optimizer: torch.optim.Optimizer, **options: Any) -> Player:
        """Make a player whose optimizer follows the schedules.

        Args:
            module: The network.
            optimizer: Over its parameters.
            options: Further ones of the player.
        """
        betas = None
        if self.beta2_end is not None:
            second = self.cosine(self.betas[1], self.beta2_end)
            betas = lambda step: (self.betas[0], second(step))  # noqa: E731
        return Player(module, optimizer, schedule=self.rate_schedule, betas_schedule=betas, **options)

    @property
    def averaging(self) -> dict[str, Any]:
        """The options of a player with a moving average."""
        if not self.ema_half_life:
            return {"ema": self.ema}
        if self.ema_growth == "ramp":
            return {"ema_half_life": self.ema_half_life}
        return {
            "ema_half_life": self.ema_half_life,
            "ema_ramp_up": None,
            "half_life_schedule": self.cosine(0.0, 1.0),
        }
