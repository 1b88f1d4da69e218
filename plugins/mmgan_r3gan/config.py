"""R3GAN's settings: presets, and what follows from the pictures' size."""

from __future__ import annotations

from math import log2
from typing import Any, Literal

from pydantic import Field, model_validator

from mmgan.losses import LossName, ObjectiveConfig, PenaltyName
from mmgan.tasks.image import ImageTaskConfig
from mmgan.tasks.latent import ConditionalConfig

#: Data sets of pictures no larger than 32 pixels, and the channels that they have.
SMALL = {"digits": 1, "CIFAR10": 3, "CIFAR100": 3, "SVHN": 3} | dict.fromkeys(
    ("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "USPS"), 1
)
#: The weight of the penalties that small networks begin with, by the pictures' size.
GAMMA = {32: 0.3, 64: 5.0, 128: 30.0, 256: 150.0}

PUBLISHED: dict[str, Any] = {
    "widths": (768, 768, 768, 768, 384, 192, 96), "blocks": 2, "lr": 2e-4, "penalty_every": 1,
    "images": 20_000_000, "batch_size": 256, "channels": 3,
}  # fmt: skip
#: Settings by preset. `widths` are cut to the stages that a size has; of `images` come the steps in which the
#: schedules reach their ends.
PRESETS: dict[str, dict[str, Any]] = {
    "small-cpu": {"blocks": 1, "lr": 1e-3, "penalty_every": 4, "ema_half_life": 20_000},
    "small": {
        "widths": (128, 128, 128, 128, 64, 32, 16), "blocks": 1, "lr": 2e-4, "penalty_every": 1,
        "ema_half_life": 100_000,
    },
    "cifar": PUBLISHED
    | {"size": 32, "penalty_weight": 0.05, "ema_half_life": 5_000_000, "batch_size": 512, "flip": True},
    "ffhq64": PUBLISHED | {"size": 64, "penalty_weight": 2.0, "ema_half_life": 500_000, "flip": True},
    "ffhq256": PUBLISHED | {"size": 256, "penalty_weight": 150.0, "ema_half_life": 500_000, "flip": True},
}  # fmt: skip
