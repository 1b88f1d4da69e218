"""Image metrics: distances between the features of generated and of real pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mmgan.errors import DivergedError
from mmgan.metrics.classes import Classes, add_classes
from mmgan.metrics.distances import METRICS, Metric
from mmgan.metrics.features import Features
from mmgan.metrics.reservoir import Reservoir
from mmgan.metrics.scores import Scores

#: The most pictures of a set that are compared: the number of published Fréchet distances.
MAX_SAMPLES = 50_000


@dataclass(frozen=True)
class Gathered:
    """The features of a set of pictures, or of a uniform sample of 50,000 of them.

    Attributes:
        rows: float32 (N, D), on the CPU.
        kept: int64 (N,), which of the pictures that were given each one is of.
    """

    rows: Tensor
    kept: Tensor


def image_scores(
    generated: Iterable[Tensor],
    real: Iterable[Tensor],
    features: Features,
    device: torch.device | str = "cpu",
    metrics: Mapping[str, Metric] | None = None,
    classes: Classes | None = None,
) -> Scores:
    """Compare generated pictures with real ones.

    Memory is bounded: of more than 50,000 pictures in a set, a sample of 50,000 is kept, the same each time.

    Args:
        generated: Batches of generated pictures, float (N, C, H, W) in [-1, 1].
        real: Batches of real pictures, likewise.
        features: Turns pictures into vectors; it is moved to the device.
        device: Where the features are computed. The metrics themselves are computed on the CPU, in float64.
        metrics: Names and functions of two feature tensors; the default is
            :data:`mmgan.metrics.distances.METRICS`.
        classes: Labels of the pictures, for a score of each class too: "kernel_random/cat".

    Returns:
        The scores, as ``{metric}_{features.name}``: "frechet_random", "recall_random", and so on. Scores
        for which there are too few pictures are ``missing``.

    Raises:
        UsageError: Pictures don't have 1 or 3 channels.
        DivergedError: A picture holds NaN or infinity.
    """
    fake, true = gather(generated, features, device), gather(real, features, device)
    return feature_scores(fake, true, features.name, metrics, classes)


def feature_scores(
    generated: Gathered,
    real: Gathered,
    name: str,
    metrics: Mapping[str, Metric] | None = None,
    classes: Classes | None = None,
) -> Scores:
    """Compare features of generated pictures with those of real ones; see :func:`image_scores`.

    Args:
        generated, real: From :func:`gather`.
        name: The features' own.
        metrics, classes: As for :func:`image_scores`.
    """
    metrics = METRICS if metrics is None else metrics
    scores = Scores()
    for metric, function in metrics.items():
        scores.add(f"{metric}_{name}", partial(function, generated.rows, real.rows))
    if classes:
        ours = generated.rows, classes.generated[generated.kept]
        theirs = real.rows, classes.real[real.kept]
        add_classes(scores, metrics, name, classes.names, ours, theirs)
    return scores


@torch.inference_mode()
def gather(pictures: Iterable[Tensor], features: Features, device: torch.device | str = "cpu") -> Gathered:
    """Compute the features of all pictures, or keep those of a uniform sample of :data:`MAX_SAMPLES`.

    Args:
        pictures: Batches, float (N, C, H, W) in [-1, 1].
        features: Turns them into vectors; it is moved to the device.
        device: Where they are computed.

    Raises:
        UsageError: Pictures don't have 1 or 3 channels.
        DivergedError: A picture holds NaN or infinity.
    """
    features = features.to(device).eval()
    reservoir = Reservoir(MAX_SAMPLES, features.dimensions)
    for images in pictures:
        found = features(images.to(device))
        if not found.isfinite().all():
            raise DivergedError(
                f"The {features.name!r} features of a batch of pictures are not finite: "
                "the pictures hold NaN or infinity.",
                hint="go back to an earlier checkpoint",
            )
        reservoir.add(found)
    return Gathered(reservoir.rows, reservoir.kept)
