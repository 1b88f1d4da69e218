"""Image metrics: distances between the features of generated and of real pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import torch
from torch import Tensor

from mmgan.errors import DivergedError
from mmgan.metrics.distances import METRICS, Metric
from mmgan.metrics.features import Features
from mmgan.metrics.reservoir import Reservoir
from mmgan.metrics.scores import Scores

#: Most pictures of a set whose features are kept: the number that published Fréchet distances use.
MAX_SAMPLES = 50_000


def image_scores(
    generated: Iterable[Tensor],
    real: Iterable[Tensor],
    features: Features,
    device: torch.device | str = "cpu",
    metrics: Mapping[str, Metric] | None = None,
) -> Scores:
    """Measure generated pictures beside real ones.

    Memory is bounded: of more than 50,000 pictures in a set, a sample of 50,000 is kept, the same each time.

    Args:
        generated: Batches of generated pictures, float (N, C, H, W) in [-1, 1].
        real: Batches of real pictures, likewise.
        features: What turns pictures into vectors; it is moved to the device.
        device: Where the features are computed. The metrics themselves are computed on the CPU, in float64.
        metrics: Names and functions of two feature tensors; the default is
            :data:`mmgan.metrics.distances.METRICS`.

    Returns:
        The scores, as ``{metric}_{features.name}``: "frechet_random", "recall_random", and so on. Those for
        which there are too few pictures are ``missing``.

    Raises:
        UsageError: Pictures don't have 1 or 3 channels.
        DivergedError: A picture holds NaN or infinity.
    """
    features = features.to(device).eval()
    fake, true = _gather(generated, features, device), _gather(real, features, device)
    scores = Scores()
    for name, metric in (METRICS if metrics is None else metrics).items():
        scores.add(f"{name}_{features.name}", partial(metric, fake, true))
    return scores


@torch.inference_mode()
def _gather(batches: Iterable[Tensor], features: Features, device: torch.device | str) -> Tensor:
    """Return the features of all pictures, or of a fair sample of :data:`MAX_SAMPLES`: (N, D) on the CPU."""
    reservoir = Reservoir(MAX_SAMPLES, features.dimensions)
    for images in batches:
        found = features(images.to(device))
        if not found.isfinite().all():
            raise DivergedError(
                f"The {features.name!r} features of a batch of pictures are not finite: "
                "the pictures hold NaN or infinity.",
                hint="go back to an earlier checkpoint",
            )
        reservoir.add(found)
    return reservoir.rows
