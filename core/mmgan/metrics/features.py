"""Features of pictures for metrics; the default ones need no download.

Image metrics compare features, not pixels. The usual ones come from an Inception network that must be
downloaded; here it is one choice of several, and the name of each score includes that of the features
("frechet_random"), since distances in different features can't be compared.
"""

from __future__ import annotations

import importlib
import math
import os
from abc import ABC, abstractmethod
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d, interpolate, leaky_relu, linear

from mmgan.errors import ConfigError, UsageError
from mmgan.extras import built_for_torch, need
from mmgan.storage.files import open_to_read

#: Most bytes of a file of Inception's weights; torchvision's has 109 million.
_WEIGHTS = 1 << 29


class Features(nn.Module, ABC):
    """A fixed map from pictures to feature vectors. Subclass it to measure in features of your own.

    Attributes:
        name: The end of each score's name, as in ``frechet_random``.
        sees: What they tell apart, such as "shapes and textures", for people; may stay empty.
        dimensions: D, the length of a picture's feature vector.
    """

    name: ClassVar[str]
    sees: ClassVar[str] = ""
    dimensions: int

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Turn float ``images`` (N, C, H, W) in [-1, 1] into float32 features (N, D)."""


class PooledPixels(Features):
    """The pixels themselves, averaged down to 8x8: layout and colour, no texture, no meaning.

    Args:
        channels: 3 (grey pictures are repeated to three channels), or 1 for grey pictures only: then no
            feature is a copy of another.

    Raises:
        ConfigError: ``channels`` is neither 1 nor 3.
    """

    name, sees = "pixels", "layout and colour"
    SIDE = 8

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ConfigError(
                f"pixel features can't have {channels} channels: 1 (grey) and 3 (colour) are allowed.",
                hint="choose 3: it takes grey pictures too",
            )
        self.channels = channels
        self.dimensions = channels * self.SIDE**2

    def forward(self, images: Tensor) -> Tensor:
        """Turn ``images`` (N, 1 or 3, H, W) in [-1, 1] into (N, channels x 64), in [-1, 1]."""
        return adaptive_avg_pool2d(with_channels(images, self.channels), self.SIDE).flatten(1)


class WithPixels(Features):
    """Features, and beside them the pixels, in which a copy with noise or blur is still near.

    Args:
        features: Theirs is the name.
    """

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features, self.name = features, features.name  # type: ignore[misc]
        self._widths = {features.name: features.dimensions}
        if features.name != PooledPixels.name:
            self._widths[PooledPixels.name] = 3 * PooledPixels.SIDE**2
        self.dimensions = sum(self._widths.values())

    def forward(self, images: Tensor) -> Tensor:
        """Turn ``images`` (N, C, H, W) into (N, D), of which :meth:`parts` are those of each."""
        seen: Tensor = self.features(images)
        if len(self._widths) == 1:
            return seen
        colours = images if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
        return torch.cat([seen, adaptive_avg_pool2d(colours[:, :3].float(), PooledPixels.SIDE).flatten(1)], 1)

    def parts(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the features of each by its name."""
        return dict(zip(self._widths, torch.split(rows, list(self._widths.values()), 1), strict=True))


class RandomFeatures(Features):
    """A small convolutional network with fixed random weights.

    Naeem et al. 2020 ("Reliable fidelity and diversity metrics for generative models", section 5) show that a
    random embedding judges pictures unlike ImageNet's, such as digits or spectrograms, at least as well as
    Inception. It responds to shapes and textures, not to objects.

    Pictures are resized to 64x64; four 3x3 convolutions of stride 2 (16, 32, 64, 128 channels) and a linear
    map follow. Weights are N(0, 2 / fan_in) (He et al. 2015), so that the signal keeps its size.
    """

    name, sees = "random", "shapes and textures"
    SIDE = 64
    WIDTHS = (3, 16, 32, 64, 128)
    SEED = 2020

    def __init__(self) -> None:
        super().__init__()
        self.dimensions = 128
        # Its own generator: measuring a run must not change the run's randomness.
        generator = torch.Generator().manual_seed(self.SEED)
        shapes: list[tuple[int, ...]] = [(out, into, 3, 3) for into, out in pairwise(self.WIDTHS)]
        side = self.SIDE // 2 ** len(shapes)
        shapes.append((self.dimensions, self.WIDTHS[-1] * side * side))
        for index, shape in enumerate(shapes):
            scale = math.sqrt(2 / math.prod(shape[1:]))
            self.register_buffer(f"weight{index}", torch.randn(shape, generator=generator) * scale)

    def forward(self, images: Tensor) -> Tensor:
        """Turn ``images`` (N, 1 or 3, H, W) in [-1, 1] into (N, 128), each of the order of 1."""
        *filters, projection = self.buffers()
        x = resized(with_channels(images, 3), self.SIDE)
        for weight in filters:
            x = leaky_relu(conv2d(x, weight, stride=2, padding=1), 0.2)
        return linear(x.flatten(1), projection)


class Inception(Features):
    """Inception v3's 2,048 pooled features (Szegedy et al. 2016), with weights from a file.

    These are torchvision's weights and a resize by torch, not the TensorFlow graph that published FIDs come
    from: scores compare runs of mmgan with each other, not with papers.

    Args:
        path: A ``state_dict`` of ``torchvision.models.inception_v3``.

    Raises:
        ConfigError: The file is missing, can't be read, or holds something else.
        UsageError: torchvision is not installed.
    """

    name, sees = "inception", "what photographs show"
    SIDE = 299

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        need("torchvision", "torchvision", "features = inception")
        models = built_for_torch("torchvision", lambda: importlib.import_module("torchvision.models"))
        self.dimensions = 2048
        # On "meta" no weight is drawn: initialising 27 million takes seconds and global random numbers.
        with torch.device("meta"):
            self.network = models.inception_v3(weights=None, init_weights=False)
        try:
            with open_to_read(Path(os.path.realpath(path)), _WEIGHTS) as file:
                weights = torch.load(file, map_location="cpu", weights_only=True)
            self.network.load_state_dict(weights, assign=True)
        except Exception as error:  # a file of another kind can fail to load in any way
            problem = "there is no such file" if isinstance(error, FileNotFoundError) else _first_line(error)
            raise ConfigError(
                f"Inception weights {str(path)!r} can't be used: {problem}. "
                "A state_dict of torchvision's inception_v3 is needed.",
                hint="save one where there is a network: torch.save(torchvision.models.inception_v3("
                "weights='DEFAULT').state_dict(), 'inception.pt'); or choose the features 'random'",
            ) from error
        self.network.fc = nn.Identity()
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Inception:
        """Stay in evaluation mode whatever ``mode`` is: batch norm must not update its statistics."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Turn ``images`` (N, 1 or 3, H, W) in [-1, 1] into (N, 2048)."""
        # torchvision's recipe is ImageNet's normalisation and then ``transform_input``, which turns it back
        # into (x - 0.5) / 0.5: the range [-1, 1], which the images have already.
        features: Tensor = self.network(resized(with_channels(images, 3), self.SIDE))
        return features


def random_features(config: Any) -> Features:
    """Return the features that ``features = random`` names."""
    return RandomFeatures()


def pixel_features(config: Any) -> Features:
    """Return the features that ``features = pixels`` names, for pictures of ``config.channels``."""
    return PooledPixels(config.channels)


def inception_features(config: Any) -> Features:
    """Return the features that ``features = inception`` names, by ``config.inception_weights``."""
    return Inception(config.inception_weights)


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Return float32 images with ``channels`` channels; grey ones are repeated."""
    given = images.shape[1] if images.ndim == 4 else None
    if given not in (1, channels) or not images.is_floating_point():
        allowed = "1" if channels == 1 else f"1 or {channels}"
        raise UsageError(
            f"features can't be taken of a {images.dtype} tensor of shape {tuple(images.shape)}: "
            f"float images (N, {allowed}, H, W) in [-1, 1] are needed."
        )
    return images.float().expand(-1, channels, -1, -1)


def resized(images: Tensor, side: int) -> Tensor:
    """Resize images to side x side, antialiased: without that, a smaller picture is mostly noise."""
    return interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)


def _first_line(error: Exception) -> str:
    """Return the first line of what an error says, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".: ")
