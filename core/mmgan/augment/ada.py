"""ADA: a pipe of many changes to pictures, each with its own coin (Karras et al. 2020, appendix B)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mmgan.augment.base import Augmentation, coins, computed, need_pictures, normal, over, uniform, where_made
from mmgan.augment.colour import recoloured
from mmgan.augment.cutting import cut_out
from mmgan.augment.matrices import product, rotation, scaling, translation
from mmgan.augment.resampling import along_sides, moved, warped
from mmgan.augment.wavelets import band_matrices
from mmgan.errors import unknown_name

_BLIT = dict.fromkeys(("xflip", "rotate90", "xint"), 1.0)
_GEOM = dict.fromkeys(("scale", "rotate", "aniso", "xfrac"), 1.0)
_COLOR = dict.fromkeys(("brightness", "contrast", "lumaflip", "hue", "saturation"), 1.0)
_ALL = {**_BLIT, **_GEOM, **_COLOR, "filter": 1.0, "noise": 1.0, "cutout": 1.0}


def _without(*names: str) -> dict[str, float]:
    return {name: strength for name, strength in _ALL.items() if name not in names}


#: What each ``augment_policy`` of ``ada`` does: the factors of p for the changes that it makes. ``r3gan`` is
#: that of Huang et al. 2024.
POLICIES: dict[str, Mapping[str, float]] = {
    "blit": _BLIT,
    "geom": _GEOM,
    "color": _COLOR,
    "bg": {**_BLIT, **_GEOM},
    "bgc": {**_BLIT, **_GEOM, **_COLOR},
    "bgcf": _without("noise", "cutout"),
    "bgcfn": _without("cutout"),
    "bgcfnc": _ALL,
    "r3gan": {**_BLIT, **_GEOM, **dict.fromkeys(_COLOR, 0.5), "cutout": 1.0},
}
#: Expected power of pictures in the four octaves of :func:`mmgan.augment.wavelets.band_matrices`.
_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)


class Ada(Augmentation):
    """Adaptive discriminator augmentation (Karras et al. 2020), for pictures.

    In this order: flips, turns by 90° and shifts by whole pixels; scale, rotation, stretch, rotation and
    shifts, as one affine map with filters against aliasing; brightness, contrast, inverted brightness, hue
    and saturation, as one map of colours; frequencies; noise; a square cut out. Each picture tosses a coin
    for each of them, and where no coin of a group falls, the group leaves the picture as it is, to the byte.

    Args:
        config: The run's settings; ``augment_policy`` names one of :data:`POLICIES`, by default "bgc".
        strengths: The factors of p for each change, in [0, 1], instead of a policy's; others are not made.

    Raises:
        ConfigError: There is no such policy, or no such change.
    """

    adaptive = True

    def __init__(self, config: Any, strengths: Mapping[str, float] | None = None) -> None:
        super().__init__(config)
        policy = getattr(config, "augment_policy", "") or "bgc"
        if strengths is None and policy not in POLICIES:
            raise unknown_name("augment_policy of ada", policy, POLICIES)
        self.strengths = dict(POLICIES[policy] if strengths is None else strengths)
        for name in self.strengths:
            if name not in _ALL:
                raise unknown_name("change of ada", name, _ALL)

    def see(self, examples: Tensor, p: Tensor) -> Tensor:
        """Return pictures (batch, channels, height, width), with 1 or 3 channels, as D sees them.

        Raises:
            UsageError: These are not such pictures.
        """
        need_pictures(examples, "ada", (1, 3))
        return computed(partial(self._pipe, p=p), examples)

    def _pipe(self, pictures: Tensor, p: Tensor) -> Tensor:
        for names, change in (
            (_BLIT, self._blit),
            (_GEOM, self._geometry),
            (_COLOR, self._colour),
            (("filter",), self._filter),
            (("noise",), self._noise),
            (("cutout",), self._cutout),
        ):
            if any(name in self.strengths for name in names):
                pictures = change(pictures, p)
        return pictures

    def _coins(self, name: str, pictures: Tensor, p: Tensor) -> Tensor:
        """Return for which pictures a change is made, bool (batch,)."""
        p = p * self.strengths.get(name, 0.0)
        # Two rotations, before and after the stretch, that are made with probability p together.
        return coins(pictures, 1 - (1 - p).sqrt() if name == "rotate" else p)

    def _factor(self, name: str, pictures: Tensor, p: Tensor, deviation: float) -> tuple[Tensor, Tensor]:
        """Return the coins, and a factor 2^N(0, deviation²), which is 1 where they fell to the other side."""
        made = self._coins(name, pictures, p)
        return made, torch.where(made, normal(pictures, deviation).exp2(), 1.0)

    def _angle(self, name: str, pictures: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        made = self._coins(name, pictures, p)
        return made, torch.where(made, uniform(pictures, -math.pi, math.pi), 0.0)

    def _blit(self, pictures: Tensor, p: Tensor) -> Tensor:
        height, width = pictures.shape[2:]
        # As published, half of those that are tossed stay, since the direction is drawn from two.
        flipped = self._coins("xflip", pictures, p) & (uniform(pictures, 0, 1) < 0.5)
        turns = torch.where(self._coins("rotate90", pictures, p), uniform(pictures, 0, 4).floor(), 0.0)
        shifted = self._coins("xint", pictures, p)
        x, y = (
            torch.where(shifted, (uniform(pictures, -0.125, 0.125) * n).round(), 0.0) for n in (width, height)
        )
        sign = torch.where(flipped, -1.0, 1.0)
        angle = turns * (math.pi / 2)
        inverse = product(
            scaling(sign, torch.ones_like(sign)),
            rotation(angle.cos().round(), -angle.sin().round()),
            translation(-x, -y),
        )
        return where_made(flipped | shifted | (turns > 0), pictures, moved, inverse)

    def _geometry(self, pictures: Tensor, p: Tensor) -> Tensor:
        height, width = pictures.shape[2:]
        scaled, scale = self._factor("scale", pictures, p, 0.2)
        before, first = self._angle("rotate", pictures, p)
        stretched, stretch = self._factor("aniso", pictures, p, 0.2)
        after, second = self._angle("rotate", pictures, p)
        shifted = self._coins("xfrac", pictures, p)
        x, y = (torch.where(shifted, normal(pictures, 0.125) * n, 0.0) for n in (width, height))
        inverse = product(
            scaling(1 / scale, 1 / scale),
            rotation(first.cos(), -first.sin()),
            scaling(1 / stretch, stretch),
            rotation(second.cos(), -second.sin()),
            translation(-x, -y),
        )
        made = scaled | before | stretched | after | shifted
        return where_made(made, pictures, warped, inverse)

    def _colour(self, pictures: Tensor, p: Tensor) -> Tensor:
        brighter = self._coins("brightness", pictures, p)
        brightness = torch.where(brighter, normal(pictures, 0.2), 0.0)
        contrasted, contrast = self._factor("contrast", pictures, p, 0.5)
        flipped = self._coins("lumaflip", pictures, p) & (uniform(pictures, 0, 1) < 0.5)
        turned, hue = self._angle("hue", pictures, p)
        saturated, saturation = self._factor("saturation", pictures, p, 1.0)
        made = brighter | contrasted | flipped | turned | saturated
        return where_made(made, pictures, recoloured, brightness, contrast, flipped, hue, saturation)

    def _filter(self, pictures: Tensor, p: Tensor) -> Tensor:
        gains = torch.ones(len(pictures), len(_POWER), device=pictures.device, dtype=pictures.dtype)
        made = torch.zeros(len(pictures), device=pictures.device, dtype=torch.bool)
        for band, power in enumerate(_POWER):
            tossed, factor = self._factor("filter", pictures, p, 1.0)
            # The others are weakened, so that the expected power of a picture stays.
            others = (1 + power * (factor.square() - 1)).rsqrt()
            own = torch.arange(len(_POWER), device=pictures.device) == band
            gains = gains * torch.where(own, (factor * others)[:, None], others[:, None])
            made = made | tossed
        rows, columns = (
            (gains @ band_matrices(n, pictures.device, pictures.dtype).flatten(1)).view(-1, n, n)
            for n in pictures.shape[2:]
        )
        return where_made(made, pictures, along_sides, rows, columns)

    def _noise(self, pictures: Tensor, p: Tensor) -> Tensor:
        made = self._coins("noise", pictures, p)
        deviation = torch.where(made, normal(pictures, 0.1).abs(), 0.0)
        return pictures + over(deviation, pictures) * torch.randn_like(pictures)

    def _cutout(self, pictures: Tensor, p: Tensor) -> Tensor:
        made = self._coins("cutout", pictures, p)
        ranges = (self._range(pictures, n) for n in pictures.shape[2:])
        return where_made(made, pictures, cut_out, *(end for both in ranges for end in both))

    def _range(self, pictures: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Draw the half of a side that is cut out, around a point anywhere on it."""
        centre = uniform(pictures, 0, n) - 0.5
        return centre - n / 4, centre + n / 4
