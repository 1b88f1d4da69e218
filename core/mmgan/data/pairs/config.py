"""The settings of pictures of two domains."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from mmgan.data.image.dataset import ImageConfig


class PairConfig(ImageConfig):
    """The settings of a task that turns pictures of a domain A into those of a domain B."""

    flip: bool = Field(
        True, description="flip pictures horizontally with probability 0.5, both sides of a pair alike"
    )
    load_size: int = Field(
        0,
        ge=0,
        description="side that pictures are scaled to before a random crop of `size`; "
        "0: 286/256 of size, as in pix2pix; equal to size: no crop",
    )
    data_b: str = Field(
        "", description="the folder of domain B, where `data` has the pictures of domain A only"
    )
    derive: Literal["none", "edges", "colorize", "superres", "inpaint", "denoise", "recolor"] = Field(
        "none", description="make pairs from single pictures: what the network is to turn back into a picture"
    )
    superres_scale: Literal[2, 4, 8] = Field(4, description="derive = superres: how many times larger")
    noise: float = Field(
        0.5, gt=0, le=2, description="derive = denoise: greatest standard deviation, on a scale of -1 to 1"
    )
    holdout: float = Field(
        0.05, gt=0, lt=1, description="fraction held out to validate on, if the data has no validation part"
    )

    @property
    def side_before_crop(self) -> int:
        """The side of the square that the random crop is taken from, in pixels."""
        return self.load_size or round(self.size * 286 / 256)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sides that pictures are kept at: before the crop and, where that differs, after it."""
        return tuple(sorted({self.side_before_crop, self.size}, reverse=True))

    @field_validator("data_b")
    @classmethod
    def _b_wherever_it_is_resumed(cls, value: str) -> str:
        return str(Path(os.path.expanduser(value)).absolute()) if value else ""

    @model_validator(mode="after")
    def _agree(self) -> PairConfig:
        if self.side_before_crop < self.size:
            raise ValueError(
                f"load_size = {self.load_size} is less than size = {self.size}, which is cut out of it: "
                "give at least as much, or 0"
            )
        if self.data_b and self.derive != "none":
            raise ValueError(
                f"derive = {self.derive!r} makes both sides from data alone, so data_b must be empty"
            )
        return self
