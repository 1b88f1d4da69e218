"""WaveGAN's settings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from mmgan.augment import SoundAugmentConfig
from mmgan.losses import LossName, ObjectiveConfig, PenaltyName
from mmgan.tasks.adam import AdamConfig
from mmgan.tasks.audio import AudioTaskConfig
from mmgan.tasks.latent import ConditionalConfig

#: A network that learns the synthesised drums in minutes, where the paper's takes a GPU and days. So small
#: a one bears six times the paper's learning rate.
DRUMS_DEFAULTS: dict[str, Any] = {"dim": 16, "batch_size": 32, "lr": 6e-4}


class WaveGANConfig(AudioTaskConfig, ObjectiveConfig, AdamConfig, SoundAugmentConfig, ConditionalConfig):
    """The settings; the defaults are the paper's, but for the synthesised drums a small network's."""

    data: str = Field("drums", description="a folder of sounds, or drums (synthesised); drums:5000 for more")
    length: Literal[16384, 32768, 65536] = Field(16384, description="samples in a sound")
    batch_size: int = Field(64, ge=1, description="sounds in a batch; 32 by default for drums")
    dim: int = Field(64, ge=1, description="channels of the layer next to the sound; 16 by default for drums")
    kernel: int = Field(25, ge=5, description="length of the filters, odd")
    phase_shuffle: int = Field(2, ge=0, lt=16, description="greatest shift of phase shuffle; 0: none")
    shuffle_each: Literal["batch", "sample"] = Field(
        "batch", description="what has a shift of its own: a batch, as in the paper's code, or each sound"
    )
    upsampling: Literal["zeros", "nearest", "linear"] = Field(
        "zeros", description="how G lengthens signals: transposed convolution, or interpolation before one"
    )
    post_filter: int = Field(
        0, ge=0, le=4096, description="length of a learned filter over G's output (paper: 512); 0: none"
    )
    loss: LossName = Field("wgan", description="the adversarial loss; wgan needs a penalty or clip_weights")
    penalty: PenaltyName = Field("wgan-gp", description="gradient penalty on the critic")
    d_norm: Literal["none", "spectral"] = Field("none", description="normalisation in the critic")
    minibatch_stddev: bool = Field(False, description="let the critic see how varied a batch is")
    critic_steps: int = Field(5, ge=1, description="updates of the critic for each of G")
    lr: float = Field(1e-4, gt=0, description="Adam's learning rate; 6e-4 by default for drums")
    betas: tuple[float, float] = Field((0.5, 0.9), description="Adam's decay rates")
    ema: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="decay of G's moving average, used for samples; 0: none, as in the paper",
    )

    @model_validator(mode="before")
    @classmethod
    def _fit_drums(cls, values: dict[str, Any]) -> dict[str, Any]:
        on_drums = str(values.get("data", "drums")).partition(":")[0] == "drums"
        return (DRUMS_DEFAULTS if on_drums else {}) | values

    @field_validator("kernel")
    @classmethod
    def _odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"It must be odd, such as {kernel + 1}")
        return kernel
