"""What the discriminator sees: augmentations, against learning small data by heart, and how much of them."""

from __future__ import annotations

from mmgan.augment.ada import POLICIES, Ada
from mmgan.augment.apa import Apa
from mmgan.augment.augment import Augment, Host, augment_for
from mmgan.augment.base import Augmentation, Schedule
from mmgan.augment.controller import INTERVAL, LIMIT, Controller
from mmgan.augment.diffaugment import DiffAugment
from mmgan.augment.diffusion import Diffusion
from mmgan.augment.noise import InstanceNoise
from mmgan.augment.settings import AugmentConfig, SoundAugmentConfig

__all__ = [
    "INTERVAL",
    "LIMIT",
    "POLICIES",
    "Ada",
    "Apa",
    "Augment",
    "AugmentConfig",
    "Augmentation",
    "Controller",
    "DiffAugment",
    "Diffusion",
    "Host",
    "InstanceNoise",
    "Schedule",
    "SoundAugmentConfig",
    "augment_for",
]
