"""R3GAN's settings: presets, and what follows from the pictures' size."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mmgan.augment import AugmentConfig
from mmgan.losses import LossName, ObjectiveConfig, PenaltyName
from mmgan.tasks.adam import AdamConfig
from mmgan.tasks.image import ImageTaskConfig, fit_small
from mmgan.tasks.latent import ConditionalConfig

#: The number of stages by the pictures' size: one at 4 pixels, and one more for each doubling.
STAGES = {32: 4, 64: 5, 128: 6, 256: 7}
#: What small networks begin with, by the pictures' size: the learning rate (of small-cpu), and the weight of
#: the penalties (gamma), which must grow with the number of pixels that a gradient is summed over.
RATES = {32: (2e-3, 2.0), 64: (1e-3, 10.0), 128: (5e-4, 40.0), 256: (2e-4, 150.0)}

#: What the paper's presets have in common. The schedules have reached their ends after `images` pictures.
_PUBLISHED: dict[str, Any] = {
    "widths": (768, 768, 768, 768, 384, 192, 96), "blocks": 2, "lr": 2e-4, "penalty_every": 1,
    "ema_half_life": 500_000, "ema_growth": "cosine", "images": 20_000_000, "batch_size": 256, "flip": True,
    "augment": "ada", "augment_policy": "r3gan", "augment_p_end": 0.3,
}  # fmt: skip
#: Settings by preset. `widths` are cut to the stages that a size has, from 4 pixels up.
PRESETS: dict[str, dict[str, Any]] = {
    "small-cpu": {},
    "small": {
        "widths": (128, 128, 128, 128, 64, 32, 16), "lr": 2e-4, "penalty_every": 1, "ema_half_life": 100_000,
    },
    "cifar": _PUBLISHED | {
        "size": 32, "penalty_weight": 0.05, "ema_half_life": 5_000_000, "batch_size": 512,
        "augment_p_end": 0.55,
    },
    "ffhq64": _PUBLISHED | {"size": 64, "penalty_weight": 2.0},
    "ffhq256": _PUBLISHED | {"size": 256, "penalty_weight": 150.0},
}  # fmt: skip


class R3GANConfig(ImageTaskConfig, ObjectiveConfig, AdamConfig, AugmentConfig, ConditionalConfig):
    """R3GAN's settings. Those that a preset has are the defaults where it is chosen."""

    preset: Literal["small-cpu", "small", "cifar", "ffhq64", "ffhq256"] = Field(
        "small-cpu", description="defaults of the settings below; small for a GPU, the others are the paper's"
    )
    size: Literal[32, 64, 128, 256] = Field(
        64, description="height and width; 32 by default for digits, MNIST, CIFAR"
    )
    channels: Literal[1, 3] = Field(3, description="1: grey, 3: colour; 1 by default for digits and MNIST")
    widths: tuple[int, ...] = Field(
        (128, 128, 64, 32, 16), description="channels of each stage, from 4 pixels up; by size and preset"
    )
    group: int = Field(16, ge=1, description="channels in a group of the 3x3 convolutions")
    blocks: int = Field(1, ge=1, le=64, description="residual blocks in each stage")
    latent: int = Field(64, ge=1, description="length of the latent vector z")
    loss: LossName = Field("rpgan", description="the adversarial loss")
    penalty: PenaltyName = Field("r1r2", description="gradient penalty on D")
    penalty_weight: float = Field(
        10.0, ge=0, description="weight of the penalty (gamma); by size 2, 10, 40 or 150 in small networks"
    )
    penalty_weight_end: float | None = Field(
        1.0, ge=0, description="its last value, reached by a cosine; by default a tenth of it"
    )
    penalty_every: int = Field(
        4, ge=1, description="compute the penalty only in every n-th step, n times as strong (lazily)"
    )
    lr: float = Field(1e-3, gt=0, description="Adam's learning rate; by size and preset")
    lr_end: float | None = Field(
        2.5e-4, ge=0, description="its last value, reached by a cosine; by default a quarter of it"
    )
    betas: tuple[float, float] = Field((0.0, 0.9), description="Adam's decay rates")
    beta2_end: float | None = Field(
        0.99, ge=0, lt=1, description="the last value of the second of betas, reached by a cosine"
    )
    ema: float = Field(
        0.0, ge=0, lt=1, description="decay of G's moving average, instead of ema_half_life; 0: none"
    )
    ema_half_life: float = Field(
        20_000, ge=0, description="half-life of G's moving average in examples, used for samples; 0: none"
    )
    augment_p_end: float | None = Field(
        None, ge=0, le=1, description="what the augmentation's p rises to by a cosine, from augment_p or 0"
    )

    @model_validator(mode="before")
    @classmethod
    def _lay_under(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Lay the defaults of preset, data and size under what was given."""
        preset = PRESETS.get(str(given.get("preset", "small-cpu")), {})
        if given.get("augment", "ada") != "ada":
            preset = {key: value for key, value in preset.items() if not key.startswith("augment")}
        values = fit_small(given) | preset | given
        if given.get("penalty") == "none":
            values["penalty_every"], values["penalty_weight_end"] = 1, None
            values |= given
        if given.get("ema") and "ema_half_life" not in given:
            values["ema_half_life"] = 0.0
        images = values.pop("images", 0)
        size = values.get("size", 64)
        # A size that is not allowed has its own message.
        if type(size) is int and size in STAGES:
            stages, (rate, gamma) = STAGES[size], RATES[size]
            values = {"lr": rate, "penalty_weight": gamma} | values
            # Towards the picture channels are halved: activations there take most of a CPU's time.
            narrowing = tuple(min(128, 16 * 2 ** (stages - 1 - stage)) for stage in range(stages))
            values["widths"] = given.get("widths", preset.get("widths", narrowing)[:stages])
        for key, part in (("lr", 4), ("penalty_weight", 10)):
            if isinstance(start := values.get(key), int | float):
                values.setdefault(f"{key}_end", start / part)
        if images and type(batch_size := values.get("batch_size")) is int and batch_size > 0:
            values.setdefault("decay_steps", images // batch_size)
        return values

    @model_validator(mode="after")
    def _has_a_probability(self) -> R3GANConfig:
        if self.augment_p_end is not None and self.augment in ("none", "diffaugment"):
            raise ValueError(f"augment_p_end = {self.augment_p_end}: augment = {self.augment} has no p")
        return self

    @model_validator(mode="after")
    def _widths_fit(self) -> R3GANConfig:
        stages = STAGES[self.size]
        if len(self.widths) != stages:
            raise ValueError(
                f"widths = {list(self.widths)}: pictures of {self.size} pixels have {stages} stages, from 4 "
                f"pixels to {self.size}"
            )
        for width in self.widths:
            if width < 1 or 2 * width % self.group:
                raise ValueError(
                    f"widths = {list(self.widths)}: twice a width must be a multiple of group = {self.group}"
                )
        return self
