"""What discriminators and generators minimise: adversarial losses, penalties, and both as settings."""

from __future__ import annotations

from mmgan.losses.adversarial import LOSSES, AdversarialLoss, adversarial_loss
from mmgan.losses.objective import LossName, Objective, ObjectiveConfig, PenaltyName
from mmgan.losses.penalties import (
    PENALTIES,
    Differentiator,
    gradient_penalty,
    interpolate,
    penalty,
    r1_penalty,
)

__all__ = [
    "LOSSES",
    "PENALTIES",
    "AdversarialLoss",
    "Differentiator",
    "LossName",
    "Objective",
    "ObjectiveConfig",
    "PenaltyName",
    "adversarial_loss",
    "gradient_penalty",
    "interpolate",
    "penalty",
    "r1_penalty",
]
