"""Stacked MNIST: three digits as the channels of one picture, a data set with exactly 1,000 modes."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image

from mmgan.data.image.sources import ImageSource, TorchvisionImages
from mmgan.errors import ConfigError, DataError, UsageError
from mmgan.metrics.digits import DigitJudge, Digits

if TYPE_CHECKING:
    from mmgan.data.image.dataset import ImageConfig


class StackedDigits:
    """128,000 pictures of three digits each, drawn once (Srivastava et al. 2017, Lin et al. 2018).

    The class of a picture is 100 a + 10 b + c for the digits a, b and c in red, green and blue.

    Args:
        digits: Grey pictures of the classes 0 to 9.
        judge: Counts modes; see :class:`mmgan.data.image.sources.ImageSource`.

    Raises:
        UsageError: The pictures are not of ten classes.
    """

    SIZE = 128_000
    others = 0
    classes = tuple(f"{number:03}" for number in range(1000))

    def __init__(self, digits: ImageSource, judge: DigitJudge | None = None) -> None:
        if len(classes := getattr(digits, "classes", ())) != 10:
            raise UsageError(f"Digits of ten classes are stacked; {digits} has {len(classes)}.")
        self._digits = digits
        self.judge = judge
        drawing = torch.Generator().manual_seed(0)
        self._drawn = torch.randint(len(digits), (self.SIZE, 3), generator=drawing)

    def __str__(self) -> str:
        return f"stacks of {self._digits}"

    def __len__(self) -> int:
        return self.SIZE

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        digits = [self._digits[number] for number in self._drawn[index].tolist()]
        label = 0
        for _, digit in digits:
            label = 10 * label + digit
        return Image.merge("RGB", [image.convert("L") for image, _ in digits]), label

    def name(self, index: int) -> str:
        """Return a picture's number."""
        return f"stack {index}"

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the digits' own and of how they are drawn."""
        return hashlib.sha256(f"stacked {self.SIZE} 0 {self._digits.fingerprint}".encode()).hexdigest()


def open_stacked(argument: str, config: ImageConfig) -> StackedDigits:
    """Open ``stacked-mnist``, made from torchvision's MNIST below ``config.data_root``.

    Raises:
        DataError: There is an argument, or no MNIST.
        ConfigError: Pictures are to be grey.
    """
    if argument:
        raise DataError(
            f"The data set stacked-mnist takes no argument, not {argument!r}.",
            hint="Try: --data stacked-mnist --set data_root=FOLDER, the folder that holds MNIST/.",
        )
    if config.channels != 3:
        raise ConfigError(
            f"channels = {config.channels}: stacked-mnist has three digits, in red, green and blue.",
            hint="--set channels=3",
        )
    digits = TorchvisionImages("MNIST", config.data_root, config.download)
    training, test = (functools.partial(mnist, config.data_root, train) for train in (True, False))
    return StackedDigits(digits, DigitJudge(digits.fingerprint, training, test, config.size))


def mnist(root: str | Path, train: bool) -> Digits:
    """Read MNIST's training or test digits: uint8 (n, 28, 28) and int64 (n,).

    Args:
        root: The folder that holds ``MNIST/``.
        train: Which part.

    Raises:
        DataError: It can't be read.
    """
    from torchvision.datasets import MNIST  # type: ignore[import-untyped]

    try:
        digits = MNIST(root, train=train)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"MNIST can't be read below {str(root)!r}: {error}") from error
    return digits.data, digits.targets
