"""What discriminators and generators minimise: adversarial losses, penalties, and both as settings."""

from __future__ import annotations

from mmgan.losses.adversarial import LOSSES, AdversarialLoss, adversarial_loss
from mmgan.losses.consistency import shifted
from mmgan.losses.lecam import LeCam
from mmgan.losses.objective import Objective
from mmgan.losses.penalties import (
    PENALTIES,
    Differentiator,
    gradient_penalty,
    interpolate,
    penalty,
    r1_penalty,
)
from mmgan.losses.settings import LossName, ObjectiveConfig, PenaltyName

__all__ = [
    "LOSSES",
    "PENALTIES",
    "AdversarialLoss",
    "Differentiator",
    "LeCam",
    "LossName",
    "Objective",
    "ObjectiveConfig",
    "PenaltyName",
    "adversarial_loss",
    "gradient_penalty",
    "interpolate",
    "penalty",
    "r1_penalty",
    "shifted",
]
