"""How many of the 1,000 modes of stacked digits a generator knows, and how evenly: a classifier reads them.

The protocol is that of Metz et al. 2017 (unrolled GANs), Srivastava et al. 2017 (VEEGAN) and Lin et al. 2018
(PacGAN): 26,000 pictures are generated, a classifier reads the digit in each channel, and the three digits
are the picture's mode.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, interpolate

from mmgan.data.cache import CachedArray, cache_key, cached_array
from mmgan.data.decoding import Progress
from mmgan.data.image.pixels import to_pixels
from mmgan.metrics.scores import Scores

log = logging.getLogger(__name__)

#: Raise it whenever another classifier is trained.
VERSION = 1
SIDE = 28
#: How often the classifier sees each digit.
EPOCHS = 6
#: Pictures (n, 28, 28), uint8, and their digits (n,), int64.
Digits = tuple[Tensor, Tensor]


class DigitJudge:
    """Reads stacked digits by a classifier, which is trained when it is first needed and kept in the cache.

    Args:
        key: Identifies the digits.
        training, test: Give digits to learn from, and others to count the classifier's errors on.
        size: Side of the pictures that are judged. The test digits go the same way to it and back.
    """

    #: How many pictures are judged where nobody says.
    samples = 26_000

    def __init__(
        self, key: str, training: Callable[[], Digits], test: Callable[[], Digits], size: int
    ) -> None:
        self._key, self._training, self._test, self._size = key, training, test, size

    def scores(
        self,
        pictures: Iterable[Tensor],
        device: torch.device | str = "cpu",
        progress: Progress | None = None,
    ) -> Scores:
        """Score pictures of three digits each.

        Args:
            pictures: Batches, float (n, 3, height, width) in [-1, 1].
            device: Where they are read.
            progress: Called now and then where the classifier is trained.

        Returns:
            ``modes``: how many of the 1,000 are seen; ``mode_kl``: see :func:`mode_scores`; and
            ``judge_error``: the share of the test digits that the classifier reads wrongly.
        """
        classifier = self.classifier(progress).to(device)
        modes = [read_stacks(classifier, part.to(device)).cpu() for part in pictures]
        scores = Scores(mode_scores(torch.cat(modes)))
        scores["judge_error"] = self.error(classifier, device)
        return scores

    def classifier(self, progress: Progress | None = None) -> Classifier:
        """Return the trained classifier, from the cache or after the minutes that its training takes."""
        key = cache_key("digit judge", VERSION, EPOCHS, self._key)
        entry = cached_array(key, functools.partial(_train, self._training, progress), _fits)
        classifier = _empty().to_empty(device="cpu")
        classifier.unflatten(torch.from_numpy(entry.array[0].copy()))
        return classifier.eval()

    def error(self, classifier: Classifier, device: torch.device | str = "cpu") -> float:
        """Return the share of the test digits that a classifier reads wrongly, in [0, 1]."""
        pictures, digits = self._test()
        pixels = np.stack([to_pixels(Image.fromarray(digit), self._size, 1) for digit in pictures.numpy()])
        seen = torch.split(torch.from_numpy(pixels).float() / 127.5 - 1, 1000)
        read = torch.cat([classifier.read(part.to(device)).cpu() for part in seen])
        return (read != digits).float().mean().item()


class Classifier(nn.Module):
    """A small convolutional network that reads digits: 61 thousand parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*convolutions(), nn.Flatten(), nn.Dropout(0.25), nn.Linear(96 * 9, 10))

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 1, 28, 28) in [-1, 1] to logits (n, 10)."""
        logits: Tensor = self.layers(pictures)
        return logits

    @torch.no_grad()
    def read(self, pictures: Tensor) -> Tensor:
        """Read pictures (n, 1, height, width) in [-1, 1]: int64 (n,), digits."""
        if pictures.shape[-2:] != (SIDE, SIDE):
            pictures = interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True)
        logits: Tensor = self(pictures)
        return logits.argmax(1)

    def flatten(self) -> Tensor:
        """Return all weights and statistics as one vector, float32."""
        return torch.cat([value.flatten().float() for value in self.state_dict().values()])

    @torch.no_grad()
    def unflatten(self, vector: Tensor) -> None:
        """Take what :meth:`flatten` gave."""
        values = list(self.state_dict().values())
        parts = torch.split(vector, [value.numel() for value in values])
        for value, part in zip(values, parts, strict=True):
            value.copy_(part.view_as(value))


def convolutions() -> list[nn.Module]:
    """Return layers from pictures (n, 1, height, width) to features (n, 96, height / 8, width / 8)."""
    layers: list[nn.Module] = []
    for into, out in ((1, 24), (24, 48), (48, 96)):
        layers += [nn.Conv2d(into, out, 3, padding=1, bias=False), nn.MaxPool2d(2)]
        layers += [nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
    return layers


def read_stacks(classifier: Classifier, pictures: Tensor) -> Tensor:
    """Return the mode 100 a + 10 b + c of pictures (n, 3, height, width): int64 (n,)."""
    digits = classifier.read(pictures.flatten(0, 1)[:, None].float()).view(-1, 3)
    return (digits * digits.new_tensor([100, 10, 1])).sum(1)


def mode_scores(modes: Tensor, count: int = 1000) -> dict[str, float]:
    """Return how many modes are seen, and how unevenly.

    Args:
        modes: int64 (n,): the mode of each sample, from 0.
        count: How many there are.

    Returns:
        ``modes``, and ``mode_kl``: KL(p ‖ uniform) = Σ p ln(count p) in nats, where p are the shares of the
        modes. Of n samples of a perfect sampler it is (count - 1) / 2n on average: 0.0192 for 26,000.
    """
    share = torch.bincount(modes, minlength=count).double() / len(modes)
    seen = share[share > 0]
    return {"modes": float(len(seen)), "mode_kl": float((seen * (seen * count).log()).sum())}


def distort(pictures: Tensor) -> Tensor:
    """Turn, stretch, slant and move pictures (n, 1, height, width) in [-1, 1] a little, each its own way."""

    def within(limit: float, *shape: int) -> Tensor:
        return (torch.rand(len(pictures), *shape) * 2 - 1) * limit

    angle, slant, stretch, shift = within(0.2), within(0.2), 1 + within(0.12, 2), within(1 / 7, 2)
    across = torch.stack([angle.cos() * stretch[:, 0], slant - angle.sin() * stretch[:, 1], shift[:, 0]], 1)
    down = torch.stack([angle.sin() * stretch[:, 0], angle.cos() * stretch[:, 1], shift[:, 1]], 1)
    grid = affine_grid(torch.stack([across, down], 1), list(pictures.shape), align_corners=False)
    return grid_sample(pictures + 1, grid, align_corners=False) - 1


def train_classifier(
    pictures: Tensor, digits: Tensor, epochs: int, progress: Progress | None = None
) -> Classifier:
    """Train a classifier, always from the same seed.

    Args:
        pictures: uint8 (n, 28, 28).
        digits: int64 (n,).
        epochs: How often each picture is seen, each time distorted otherwise.
        progress: Called now and then.
    """
    batch_size = min(128, len(pictures))
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        classifier = Classifier().to(memory_format=torch.channels_last)
        examples = pictures[:, None].float() / 127.5 - 1
        steps = epochs * (len(examples) // batch_size)
        optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
        for step, chosen in enumerate(_batches(len(examples), batch_size, steps)):
            batch = distort(examples[chosen]).contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(classifier(batch), digits[chosen]))
            optimizer.step()
            schedule.step()
            if progress and step % 50 == 0:
                progress(step, steps)
    return classifier.eval()


def _batches(count: int, batch_size: int, steps: int) -> Iterator[Tensor]:
    """Yield the examples of each step."""
    per_epoch = count // batch_size
    for _ in range(math.ceil(steps / per_epoch)):
        yield from torch.split(torch.randperm(count), batch_size)[:per_epoch]


def _train(
    training: Callable[[], Digits], progress: Progress | None, metadata: dict[str, Any]
) -> Iterable[NDArray[np.float32]]:
    log.info("a classifier of digits is trained, which takes some minutes, and kept in the cache")
    return [train_classifier(*training(), EPOCHS, progress).flatten().numpy()]


def _empty() -> Classifier:
    """Return a classifier without weights, for which nothing is drawn."""
    with torch.device("meta"):
        return Classifier()


def _fits(entry: CachedArray) -> bool:
    """Whether an entry of the cache holds what :func:`_train` makes."""
    return entry.array.dtype == np.float32 and entry.array.shape == (1, len(_empty().flatten()))
