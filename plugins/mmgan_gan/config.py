"""The fully connected GAN's settings, and which of their defaults follow from the data."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from mmgan.augment import AugmentConfig
from mmgan.losses import ObjectiveConfig
from mmgan.tasks.adam import AdamConfig
from mmgan.tasks.image import ImageTaskConfig
from mmgan.tasks.latent import ConditionalConfig

#: Data sets of points, and the defaults that go with them: those of Lin et al. 2018 (PacGAN).
POINTS = ("ring", "grid")
POINTS_DEFAULTS: dict[str, Any] = {
    "latent": 2,
    "width": 400,
    "dropout": 0.0,
    "batch_size": 100,
    "lr": 1e-4,
    "betas": (0.8, 0.999),
    # As in the toy experiments of Gulrajani et al. 2017; their 10 for pictures loses modes of the ring.
    "penalty_weight": 0.1,
}


class GANConfig(ImageTaskConfig, ObjectiveConfig, AdamConfig, AugmentConfig, ConditionalConfig):
    """The settings. With ``ring`` and ``grid`` as data, some defaults are those of PacGAN's experiments."""

    data: str = Field(
        "digits", description="ring or grid (points); digits, torchvision:NAME or a folder of pictures"
    )
    steps: int = Field(
        3000, ge=1, description="length of the run; a step updates D critic_steps times, then G"
    )
    size: int = Field(28, ge=1, description="height and width of the pictures")
    channels: Literal[1, 3] = Field(1, description="1: grey, 3: colour")
    latent: int = Field(100, ge=1, description="length of the latent vector z; 2 by default for points")
    width: int = Field(
        256, ge=2, description="units of G's first layer; for points of all its layers, by default 400"
    )
    batch_norm: bool = Field(True, description="batch norm in G")
    dropout: float = Field(0.25, ge=0, lt=1, description="dropout in D; 0 by default for points")
    d_norm: Literal["none", "spectral"] = Field("none", description="normalisation in D")
    minibatch_stddev: bool = Field(False, description="let D see how varied a batch is")
    batch_size: int = Field(64, ge=1, description="examples in a batch; 100 by default for points")
    # Measured on a CPU: networks this small lose more time to conversions than bf16's products save. And to
    # bf16 1.000 and 1.003 are one number, while a mode of the ring is 0.01 wide.
    precision: str = Field("fp32", description="auto, fp32, bf16, fp16, or a plugin's precision")
    penalty_weight: float = Field(
        10.0, ge=0, description="weight of the penalty (lambda or gamma); 0.1 by default for points"
    )
    packing: int = Field(
        1, ge=1, description="examples that D judges together (PacGAN); must divide batch_size"
    )
    optimizer: Literal["adam", "rmsprop"] = Field("adam", description="rmsprop is WGAN's, with lr=5e-5")
    lr: float = Field(2e-4, gt=0, description="learning rate; 1e-4 by default for points")
    betas: tuple[float, float] = Field(
        (0.5, 0.999), description="Adam's decay rates; [0.8, 0.999] by default for points"
    )
    ema: float = Field(0.0, ge=0, lt=1, description="decay of G's moving average, used for samples; 0: none")

    @model_validator(mode="before")
    @classmethod
    def _follow_data(cls, values: dict[str, Any]) -> dict[str, Any]:
        return (POINTS_DEFAULTS if _is_points(values.get("data", "")) else {}) | values

    @field_validator("packing")
    @classmethod
    def _fills_the_batch(cls, packing: int, info: ValidationInfo) -> int:
        batch_size = info.data.get("batch_size", packing)
        if batch_size % packing:
            raise ValueError(f"It does not divide batch_size = {batch_size}")
        return packing

    @model_validator(mode="after")
    def _points_are_not_held_out(self) -> GANConfig:
        if self.holdout and self.on_points:
            raise ValueError(
                f"holdout = {self.holdout:g}: points are scored by their modes, and none is held out"
            )
        return self

    @model_validator(mode="after")
    def _one_class_in_a_pack(self) -> GANConfig:
        if self.conditional and self.packing > 1:
            raise ValueError(f"packing = {self.packing}: where classes are learned, D judges single examples")
        return self

    @model_validator(mode="after")
    def _single_pictures_are_augmented(self) -> GANConfig:
        if self.augment != "none" and (self.on_points or self.packing > 1):
            given = f"data = {self.data}" if self.on_points else f"packing = {self.packing}"
            raise ValueError(f"augment = {self.augment}: only single pictures are augmented, and {given}")
        return self

    @model_validator(mode="after")
    def _batches_have_statistics(self) -> GANConfig:
        if self.batch_norm and self.batch_size == 1 and not self.sync_batch_norm:
            raise ValueError(
                "batch_size = 1: batch norm in G needs batches of at least 2; or set batch_norm=false"
            )
        return self

    @property
    def on_points(self) -> bool:
        """Whether the data are points, and not pictures."""
        return _is_points(self.data)


def _is_points(data: object) -> bool:
    return str(data).partition(":")[0] in POINTS
