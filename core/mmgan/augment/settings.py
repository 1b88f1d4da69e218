"""Settings of what the discriminator sees."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from pydantic import Field, model_validator

from mmgan.augment.ada import POLICIES
from mmgan.augment.diffaugment import listed
from mmgan.augment.diffusion import WEIGHTINGS
from mmgan.config import Config
from mmgan.errors import ConfigError
from mmgan.plugins.choices import Registered

#: What ``augment_policy`` may be, where it is one of several names.
_POLICIES: dict[str, Collection[str]] = {"ada": POLICIES, "diffusion": WEIGHTINGS, "apa": (), "noise": ()}


class AugmentConfig(Config):
    """Settings of what D sees. The config of a game on pictures inherits them."""

    augment: Annotated[str, Registered("augmentations", "images")] = Field(
        "none", description="how real and generated examples are changed before D sees them, for small data"
    )
    augment_p: float | None = Field(
        None, ge=0, le=1, description="the augmentation's probability, held fixed; unset: it is controlled"
    )
    augment_policy: str = Field(
        "",
        description="which changes: for ada blit, geom, color, bg, bgc, bgcf, bgcfn, bgcfnc or r3gan; for "
        "diffaugment some of color,translation,cutout; for diffusion priority or uniform; empty: the usual",
    )
    augment_target: float = Field(
        0.6, gt=-1, lt=1, description="the mean sign of D's scores of real examples that p is controlled by"
    )
    augment_images: float = Field(
        500_000.0, ge=1, description="real examples in which p may go from 0 to 1, where it is controlled"
    )
    augment_noise: float = Field(
        0.1, ge=0, le=10, description="for noise: its standard deviation at the first step"
    )

    @model_validator(mode="after")
    def _policy_is_known(self) -> AugmentConfig:
        name, policy = self.augment, self.augment_policy
        if name == "diffaugment":
            if self.augment_p is not None:
                raise ValueError(
                    f"augment_p = {self.augment_p}: diffaugment changes every picture, without a probability"
                )
            try:
                listed(policy)
            except ConfigError as error:
                raise ValueError(f"augment_policy = {policy!r}: {error.message}") from None
        elif policy and name in _POLICIES and policy not in _POLICIES[name]:
            allowed = f"allowed are {', '.join(_POLICIES[name])}" if _POLICIES[name] else f"{name} has none"
            raise ValueError(f"augment_policy = {policy!r}: {allowed}")
        return self


class SoundAugmentConfig(AugmentConfig):
    """Settings of what D hears. The config of a game on sounds inherits them."""

    augment: Annotated[str, Registered("augmentations", "sounds")] = Field(
        "none", description="how real and generated sounds are changed before D hears them, for small data"
    )
    augment_policy: str = Field(
        "", description="which changes: for diffusion priority or uniform; empty: the usual"
    )
