"""Pairs made from single pictures: the input is what a network should turn back into the target.

Pictures are float32 (n, channels, height, width) in [-1, 1], of 1 or 3 channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mmgan.data.dataset import Draw
from mmgan.errors import ConfigError, UsageError, did_you_mean

if TYPE_CHECKING:
    from mmgan.data.pairs.config import PairConfig

#: Weights of red, green and blue in grey (ITU-R BT.601), as in torchvision's ``rgb_to_grayscale``.
_LUMA = (0.2989, 0.587, 0.114)


class Derivation(ABC):
    """A way to make an input and its target from a picture, and an input from a user's own picture."""

    #: How many times larger the output is than the user's picture.
    scale: int = 1
    #: Whether :meth:`prepare` and :meth:`finish` need a mask.
    takes_mask: bool = False

    def input_channels(self, channels: int) -> int:
        """Return the channels of the network's input for pictures of ``channels``."""
        return channels

    @abstractmethod
    def derive(self, pictures: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Make inputs and targets for training.

        Args:
            pictures: (n, channels, height, width) in [-1, 1]. Not changed.
            draw: The source of all randomness.

        Returns:
            Inputs (n, ``input_channels``, height, width) and targets (n, channels, height, width), both
            float32 in [-1, 1].
        """

    def prepare(self, pictures: Tensor, mask: Tensor | None = None) -> Tensor:
        """Make the network's input from a user's pictures, which are degraded already.

        Args:
            pictures: (n, channels, height, width) in [-1, 1].
            mask: If :attr:`takes_mask`: (n, 1, height, width), 1 in the hole and 0 elsewhere.

        Returns:
            (n, ``input_channels``, ``scale * height``, ``scale * width``).

        Raises:
            UsageError: The mask is missing, or of another size.
        """
        return pictures

    def finish(self, outputs: Tensor, pictures: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the result, from the network's ``outputs`` and :meth:`prepare`'s ``pictures`` and ``mask``.

        Raises:
            UsageError: The mask is missing, or of another size.
        """
        return outputs

    def show(self, inputs: Tensor) -> Tensor:
        """Return ``inputs`` of the network as pictures of 1 or 3 channels, for display."""
        return inputs


class Edges(Derivation):
    """From outlines, dark lines on white, to the picture. The user's input is a drawing."""

    def input_channels(self, channels: int) -> int:
        """Return 1: outlines are grey."""
        return 1

    def derive(self, pictures: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Compute the outlines of the picture: Sobel's gradient of its luma."""
        return _outlines(_luma(pictures)), pictures

    def prepare(self, pictures: Tensor, mask: Tensor | None = None) -> Tensor:
        """Convert a drawing to grey."""
        return _luma(pictures)


class Colorize(Derivation):
    """From grey to colour."""

    def input_channels(self, channels: int) -> int:
        """Return 1: the input is grey."""
        return 1

    def derive(self, pictures: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Convert the picture to grey."""
        return _luma(pictures), pictures

    def prepare(self, pictures: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the luma; a grey picture has nothing else."""
        return _luma(pictures)


class Superres(Derivation):
    """Superresolution: from a smoothly enlarged small picture to a sharp one of ``scale`` times its size.

    Args:
        scale: How many times larger.
    """

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def derive(self, pictures: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Shrink the picture and enlarge it again."""
        height, width = pictures.shape[-2:]
        small = (height // self.scale, width // self.scale)
        reduced = F.interpolate(pictures, small, mode="bicubic", antialias=True).clamp_(-1, 1)
        return _enlarge(reduced, height, width), pictures

    def prepare(self, pictures: Tensor, mask: Tensor | None = None) -> Tensor:
        """Enlarge a small picture as in training."""
        height, width = pictures.shape[-2:]
        return _enlarge(pictures, height * self.scale, width * self.scale)


class Inpaint(Derivation):
    """Inpainting: from a picture with a hole to a whole one. The input has the mask as one more channel."""

    takes_mask = True

    def input_channels(self, channels: int) -> int:
        """Return ``channels`` + 1, for the mask."""
        return channels + 1

    def derive(self, pictures: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Cut one to three rectangles out, each side between 1/8 and 1/2 of the picture's."""
        height, width = pictures.shape[-2:]
        return self.prepare(pictures, _rectangles(height, width, draw)), pictures

    def prepare(self, pictures: Tensor, mask: Tensor | None = None) -> Tensor:
        """Fill the hole with grey (0), whatever was there, and append the mask."""
        mask = _checked(mask, pictures)
        return torch.cat([pictures * (1 - mask), mask.expand(len(pictures), -1, -1, -1)], 1)

    def finish(self, outputs: Tensor, pictures: Tensor, mask: Tensor | None = None) -> Tensor:
        """Keep the input's own pixels outside of the hole."""
        return torch.where(_checked(mask, pictures) > 0, outputs, pictures)

    def show(self, inputs: Tensor) -> Tensor:
        """Leave the mask out: the hole is grey."""
        return inputs[:, :-1]


class Denoise(Derivation):
    """From a noisy picture to a clean one.

    Args:
        noise: The greatest standard deviation, where pictures range from -1 to 1.
    """

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def derive(self, pictures: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Add Gaussian noise with a standard deviation from U[0, ``noise``), and clip."""
        deviation = draw.uniform("deviation").float() * self.noise
        # Draw's own normal numbers take 100 ms for 256x256x3; a generator that it seeds takes 2 ms.
        seeds = (draw.uniform("noise").numpy() * 2.0**53).astype(np.uint64).tolist()
        noise = np.empty(pictures.shape, dtype=np.float32)
        for values, seed in zip(noise, seeds, strict=True):
            np.random.default_rng(seed).standard_normal(out=values, dtype=np.float32)
        return (pictures + torch.from_numpy(noise) * deviation[:, None, None, None]).clamp_(-1, 1), pictures


class Recolor(Derivation):
    """From a picture to its negative in ink on paper: bright becomes ink.

    A toy for unpaired translation, whose right answer is known.
    """

    #: RGB in [0, 1] of what black becomes, and of what white becomes.
    paper, ink = (0.98, 0.92, 0.78), (0.10, 0.16, 0.48)

    def derive(self, pictures: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Draw the negative: blend paper and ink by the luma."""
        paper, ink = (torch.tensor(colour).view(3, 1, 1) * 2 - 1 for colour in (self.paper, self.ink))
        return pictures, torch.lerp(paper, ink, (_luma(pictures) + 1) / 2)


_TABLE: dict[str, Callable[[PairConfig], Derivation]] = {
    "edges": lambda config: Edges(),
    "colorize": lambda config: Colorize(),
    "superres": lambda config: Superres(config.superres_scale),
    "inpaint": lambda config: Inpaint(),
    "denoise": lambda config: Denoise(config.noise),
    "recolor": lambda config: Recolor(),
}

#: What the setting ``derive`` may be, beside ``"none"``.
DERIVATIONS = tuple(_TABLE)


def derivation(config: PairConfig) -> Derivation:
    """Return the derivation that ``config`` chooses.

    Raises:
        ConfigError: The name is unknown, or its other settings don't allow the derivation.
    """
    name = config.derive
    if name not in _TABLE:
        raise ConfigError(
            f"derive = {name!r} makes no pairs. {did_you_mean(name, DERIVATIONS)}".rstrip(),
            hint=f"One of: {', '.join(DERIVATIONS)}.",
        )
    if name in ("colorize", "recolor") and config.channels != 3:
        raise ConfigError(
            f"derive = {name!r} makes coloured pictures, which have 3 channels, not channels = "
            f"{config.channels}.",
            hint="Train with --set channels=3.",
        )
    if name == "superres" and config.size % config.superres_scale:
        raise ConfigError(
            f"size = {config.size} is not a multiple of superres_scale = {config.superres_scale}, so that no "
            "small picture has exactly that size once it is enlarged.",
            hint=f"Train with --set size={-(-config.size // config.superres_scale) * config.superres_scale}.",
        )
    return _TABLE[name](config)


def _luma(pictures: Tensor) -> Tensor:
    """Return pictures in grey: (n, 1, height, width)."""
    if pictures.shape[1] == 1:
        return pictures
    weights = torch.tensor(_LUMA, device=pictures.device).view(1, 3, 1, 1)
    return (pictures * weights).sum(1, keepdim=True)


def _outlines(luma: Tensor) -> Tensor:
    """Draw the outlines of grey pictures (n, 1, height, width): -1 on a strong edge, 1 where it is flat."""
    derivative, average = torch.tensor([-0.5, 0.0, 0.5]), torch.tensor([0.25, 0.5, 0.25])
    blur, horizontal = torch.outer(average, average), torch.outer(average, derivative)
    # A blur of one pixel, so that single noisy pixels draw nothing.
    smooth = F.conv2d(F.pad(luma, (1, 1, 1, 1), mode="replicate"), blur.view(1, 1, 3, 3))
    sobel = torch.stack([horizontal, horizontal.T]).unsqueeze(1)
    gradient = F.conv2d(F.pad(smooth, (1, 1, 1, 1), mode="replicate"), sobel)
    magnitude = gradient.square().sum(1, keepdim=True).sqrt()
    # The strongest fiftieth is black. At least 0.1, a twentieth of the range within one pixel: weaker edges
    # are not outlines, and a flat picture has none.
    flat = magnitude.flatten(1)
    strong = flat.kthvalue(max(1, round(0.98 * flat.shape[1])), dim=1).values.clamp_(min=0.1)
    return 1 - 2 * (magnitude / strong.view(-1, 1, 1, 1)).clamp_(max=1)


def _enlarge(pictures: Tensor, height: int, width: int) -> Tensor:
    # Enlarging needs no antialiasing; but with it, this is Pillow's bicubic, which keeps a ramp a ramp.
    return F.interpolate(pictures, (height, width), mode="bicubic", antialias=True).clamp_(-1, 1)


def _rectangles(height: int, width: int, draw: Draw) -> Tensor:
    """Return masks (n, 1, height, width), 1 in one to three rectangles and 0 elsewhere."""
    uniform = draw.uniform("rectangles", 3, 4)
    drawn = torch.arange(3) < 1 + (draw.uniform("number of rectangles", 1) * 3).floor()
    rows = _stretches(uniform[..., 0], uniform[..., 1], height)
    columns = _stretches(uniform[..., 2], uniform[..., 3], width)
    holes = rows[..., :, None] & columns[..., None, :] & drawn[..., None, None]
    return holes.any(1, keepdim=True).float()


def _stretches(length: Tensor, position: Tensor, side: int) -> Tensor:
    """Return (n, 3, side): true on a stretch of 1/8 to 1/2 of the side, by two numbers in [0, 1) for each."""
    pixels = (side * (1 + 3 * length) / 8).round().clamp(min=1)
    start = (position * (side - pixels + 1)).floor()
    places = torch.arange(side)
    return (places >= start[..., None]) & (places < (start + pixels)[..., None])


def _checked(mask: Tensor | None, pictures: Tensor) -> Tensor:
    if mask is None:
        raise UsageError(
            "Filling in a picture needs a mask that says where.",
            hint="Give a picture of the same size that is white where the hole is and black elsewhere.",
        )
    if mask.shape[-2:] != pictures.shape[-2:]:
        (height, width), (tall, wide) = mask.shape[-2:], pictures.shape[-2:]
        raise UsageError(
            f"The mask is {width}x{height} and the picture is {wide}x{tall}.",
            hint="Give a mask of the picture's size.",
        )
    return mask
