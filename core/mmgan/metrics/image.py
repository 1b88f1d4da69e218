"""Image metrics: distances between the features of generated and of real pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    features = features.to(device).eval()
    metrics = METRICS if metrics is None else metrics
    fake, fake_kept = _gather(generated, features, device)
    true, true_kept = _gather(real, features, device)
    scores = Scores()
    for name, metric in metrics.items():
        scores.add(f"{name}_{features.name}", partial(metric, fake, true))
    if classes:
        ours, theirs = (fake, classes.generated[fake_kept]), (true, classes.real[true_kept])
        add_classes(scores, metrics, features.name, classes.names, ours, theirs)
    return scores


@torch.inference_mode()
def _gather(
    batches: Iterable[Tensor], features: Features, device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """Return the features (N, D) of all pictures, or of a uniform sample of :data:`MAX_SAMPLES`, on the CPU;
    and which pictures they are of, int64 (N,).
    """
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
    return reservoir.rows, reservoir.kept
