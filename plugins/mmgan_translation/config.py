"""The settings of pix2pix and CycleGAN, and the networks that they choose."""

from __future__ import annotations

from math import log2
from typing import Any, Literal

from pydantic import Field, model_validator
from torch import nn

from mmgan.augment import AugmentConfig
from mmgan.data.pairs import PairConfig
from mmgan.losses import LossName, ObjectiveConfig
from mmgan.nn import spectral
from mmgan_translation.patch import PatchDiscriminator, PixelDiscriminator
from mmgan_translation.resnet import ResNet
from mmgan_translation.unet import UNet


class TranslationConfig(PairConfig, ObjectiveConfig):
    """Settings of both games; the defaults are the papers', but for the embedded digits."""

    size: int = Field(256, ge=16, description="side of the square pictures; 32 by default for digits")
    batch_size: int = Field(1, ge=1, description="pictures of each side in a batch; more for digits")
    generator: Literal["unet", "resnet"] = Field("unet", description="G's architecture")
    width: int = Field(64, ge=1, description="feature maps of G's first layer")
    depth: int = Field(
        0, ge=0, le=10, description="how often a U-Net halves the picture; 0: down to one pixel (256: 8)"
    )
    blocks: int = Field(
        0, ge=0, le=32, description="residual blocks of a ResNet; 0: 9 from 256 pixels, 6 below"
    )
    discriminator: Literal["patch", "pixel"] = Field(
        "patch", description="what D judges: patches of the picture, or single pixels"
    )
    d_layers: int = Field(
        3, ge=1, le=5, description="layers of the PatchGAN: patches of 16, 34, 70, 142, 286 pixels"
    )
    d_width: int = Field(64, ge=1, description="feature maps of D's first layer")
    norm: Literal["batch", "instance", "none"] = Field(
        "batch", description="normalisation in G and D; with a penalty D has instance instead of batch"
    )
    dropout: Literal["always", "training", "none"] = Field(
        "always", description="dropout in G: always (as noise, also when used), in training only, or none"
    )
    d_norm: Literal["norm", "spectral"] = Field(
        "norm", description="normalisation in D: what norm says, or spectral instead"
    )
    lr: float = Field(2e-4, gt=0, description="Adam's learning rate")
    d_lr: float | None = Field(
        None, gt=0, description="D's learning rate, where it is another one (TTUR); by default lr"
    )
    betas: tuple[float, float] = Field((0.5, 0.999), description="Adam's decay rates")
    lr_constant: int = Field(
        100, ge=0, description="parts of the run (the papers' epochs) at the full learning rate"
    )
    lr_decay: int = Field(
        100, ge=0, description="parts of the run after those, in which the rate falls to 0; 0: none"
    )
    ema: float = Field(
        0.0, ge=0, lt=1, description="decay of a moving average of G's weights, used for results; 0: none"
    )

    @model_validator(mode="after")
    def _fits_the_networks(self) -> TranslationConfig:
        if self.lr_constant + self.lr_decay == 0:
            raise ValueError("lr_constant and lr_decay are both 0: the run needs at least one part")
        unread = "depth" if self.generator == "resnet" else "blocks"
        if getattr(self, unread):
            raise ValueError(
                f"{unread} = {getattr(self, unread)}: generator = {self.generator!r} has no such thing"
            )
        if self.generator == "resnet" and self.size % 4:
            raise ValueError(f"size = {self.size}: a ResNet takes multiples of 4")
        if self.generator == "unet":
            if not self.depth and self.size & (self.size - 1):
                raise ValueError(
                    f"size = {self.size}: a U-Net down to one pixel takes powers of 2; "
                    "another size needs depth, such as depth=5 for multiples of 32"
                )
            if self.unet_depth < 2 or self.size % 2**self.unet_depth:
                raise ValueError(
                    f"size = {self.size}, depth = {self.depth}: the size must be a multiple of 2^depth, "
                    "and the depth at least 2"
                )
        if self.discriminator == "patch" and self.size < (least := 3 * 2**self.d_layers):
            raise ValueError(
                f"d_layers = {self.d_layers}: its patches need pictures of at least {least} pixels, "
                f"and size = {self.size}"
            )
        return self

    @property
    def unet_depth(self) -> int:
        """How often a U-Net halves the picture."""
        return self.depth or int(log2(self.size))

    @property
    def multiple(self) -> int:
        """The sides of a picture to translate are padded to multiples of this."""
        # A ResNet halves twice, and then needs at least two pixels for reflection and normalisation.
        return 2**self.unet_depth if self.generator == "unet" else 8

    @property
    def running(self) -> bool:
        """Whether batch norm keeps running statistics: not at batch size 1, with a picture at a time."""
        return self.batch_size > 1

    def make_generator(self, inputs: int, outputs: int) -> nn.Module:
        """Make a generator from pictures of ``inputs`` channels to pictures of ``outputs``."""
        if self.generator == "unet":
            return UNet(inputs, outputs, self.width, self.unet_depth, self.norm, self.dropout, self.running)
        blocks = self.blocks or (9 if self.size >= 256 else 6)
        return ResNet(inputs, outputs, self.width, blocks, self.norm, self.dropout, self.running)

    def make_discriminator(self, inputs: int) -> nn.Module:
        """Make a discriminator of pictures of ``inputs`` channels."""
        # Gradient penalties are per-sample (Gulrajani et al. 2017, section 4), so no batch norm.
        norm = "instance" if self.norm == "batch" and self.penalty != "none" else self.norm
        if self.d_norm == "spectral":
            norm = "none"
        d: nn.Module
        if self.discriminator == "pixel":
            d = PixelDiscriminator(inputs, self.d_width, norm, self.running)
        else:
            d = PatchDiscriminator(inputs, self.d_width, self.d_layers, norm, self.running)
        return spectral(d) if self.d_norm == "spectral" else d


class Pix2PixConfig(TranslationConfig):
    """pix2pix's settings."""

    data: str = Field(
        "digits", description="pairs: pictures A|B side by side, or two folders; with derive any pictures"
    )
    direction: Literal["AtoB", "BtoA"] = Field("AtoB", description="which side is translated into the other")
    l1_weight: float = Field(100.0, ge=0, description="weight of the L1 distance to the target")

    @model_validator(mode="before")
    @classmethod
    def _fit_digits(cls, values: dict[str, Any]) -> dict[str, Any]:
        digits: dict[str, Any] = {
            "derive": "edges", "size": 32, "load_size": values.get("size", 32), "channels": 1, "flip": False,
            "batch_size": 16, "width": 32, "d_width": 32, "d_layers": 2,
        }  # fmt: skip
        return (digits if values.get("data", "digits") == "digits" else {}) | values

    @model_validator(mode="after")
    def _one_direction(self) -> Pix2PixConfig:
        if self.derive != "none" and self.direction == "BtoA":
            raise ValueError(
                f"direction = 'BtoA' with derive = {self.derive!r}: derived pairs go from A, what was "
                "derived, to B only"
            )
        return self


class CycleGANConfig(TranslationConfig, AugmentConfig):
    """CycleGAN's settings."""

    data: str = Field(
        "digits",
        description="a folder with trainA and trainB; or A's folder, with data_b; or with derive any",
    )
    generator: Literal["unet", "resnet"] = Field("resnet", description="the generators' architecture")
    norm: Literal["batch", "instance", "none"] = Field("instance", description="normalisation in G and D")
    dropout: Literal["always", "training", "none"] = Field(
        "none", description="dropout in G: always (as noise, also when used), in training only, or none"
    )
    loss: LossName = Field("lsgan", description="the adversarial loss; wgan needs a penalty or clip_weights")
    cycle_weight: float = Field(10.0, ge=0, description="weight of the cycle loss, in both directions")
    identity_weight: float = Field(
        0.5, ge=0, description="weight of the identity loss, as a part of cycle_weight; 0: none"
    )
    pool: int = Field(50, ge=0, description="generated pictures that each D's replay pool keeps; 0: none")

    @model_validator(mode="before")
    @classmethod
    def _fit_digits(cls, values: dict[str, Any]) -> dict[str, Any]:
        digits: dict[str, Any] = {
            "derive": "recolor", "size": 32, "load_size": values.get("size", 32), "flip": False,
            "batch_size": 4, "width": 16, "blocks": 2, "d_width": 16, "d_layers": 2,
        }  # fmt: skip
        return (digits if values.get("data", "digits") == "digits" else {}) | values

    @model_validator(mode="after")
    def _two_kinds_of_pictures(self) -> CycleGANConfig:
        if self.derive == "inpaint":
            raise ValueError("derive = 'inpaint': a hole can only be filled from pairs; train pix2pix")
        if self.derive in ("colorize", "edges") and (self.identity_weight and self.cycle_weight):
            raise ValueError(
                f"identity_weight = {self.identity_weight} with derive = {self.derive!r}: the two sides "
                "are too different for a picture to be its own translation; set identity_weight=0"
            )
        return self
