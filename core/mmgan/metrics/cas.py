"""What samples are worth as training data: the classification accuracy score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

#: Pictures of a set that are used at most, and their side in pixels.
MOST, SIDE = 20_000, 32
#: Updates of the classifier, pictures in each, and Adam's highest rate.
STEPS, BATCH, RATE = 600, 128, 2e-3


@dataclass(frozen=True)
class Labelled:
    """Pictures and their classes.

    Args:
        pictures: float32 (n, channels, side, side) in [-1, 1]; see :func:`small`.
        labels: int64 (n,).
    """

    pictures: Tensor
    labels: Tensor


def small(pictures: Tensor) -> Tensor:
    """Return pictures (n, channels, height, width) no larger than the classifier takes them, on the CPU."""
    pictures = pictures.float().cpu()
    if max(pictures.shape[2:]) <= SIDE:
        return pictures
    return interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)


def accuracy(
    training: Labelled,
    test: Labelled,
    classes: int,
    device: torch.device | str = "cpu",
    told: Callable[[], None] = lambda: None,
) -> float:
    """Train a small classifier, and return the share of the test pictures that it reads right.

    With samples to train on and real pictures to test on it is the classification accuracy score of Ravuri
    and Vinyals 2019, who trained a ResNet-50: scores compare runs with each other, not with papers. Three
    convolutions, 600 updates of 128 pictures, by Adam and a rate that rises and falls; the same each time.

    Args:
        training: What it learns from.
        test: What it reads.
        classes: How many there are.
        device: Where it is trained.
        told: Called after each update.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        network = _classifier(training.pictures.shape[1], classes).to(device)
        optimizer = torch.optim.Adam(network.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        for _ in range(STEPS):
            chosen = torch.randint(len(training.labels), (BATCH,), generator=generator)
            pictures, labels = training.pictures[chosen].to(device), training.labels[chosen].to(device)
            optimizer.zero_grad()
            cross_entropy(network(pictures), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            told()
    network.eval()
    with torch.inference_mode():
        read = [network(part.to(device)).argmax(1).cpu() for part in torch.split(test.pictures, 500)]
    return float((torch.cat(read) == test.labels).double().mean())


def _classifier(channels: int, classes: int) -> nn.Sequential:
    """Build a classifier of pictures of any size, with the same weights each time."""
    widths = (channels, 24, 48, 96)
    kernels, strides = (5, 3, 3), (2, 1, 1)
    layers: list[nn.Module] = []
    # Apart from the process's generator, which is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        for inputs, outputs, kernel, stride in zip(widths, widths[1:], kernels, strides, strict=False):
            layers += [
                nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2, ceil_mode=True) if stride == 1 else nn.Identity(),
            ]
        return nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * widths[-1], classes)
        )
