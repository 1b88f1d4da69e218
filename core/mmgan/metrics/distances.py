"""Distances between two sets of feature vectors, and measures of fidelity and diversity.

Each is a function of two tensors, features of generated examples (N, D) and of real ones (M, D), that returns
a float; a plugin adds one by ``register_metrics``.

torchmetrics' Fréchet and kernel distances take a feature module too, but are not used here: the first takes
the eigenvalues of a non-symmetric matrix and silently accepts too few samples, the second warns at every
construction and draws its subsets from the global generator, so that measuring a run would change it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmgan.counting import counted
from mmgan.errors import UsageError

Metric = Callable[[Tensor, Tensor], float]

#: The most examples of a set in metrics that compare all pairs.
MAX_PAIRED = 5_000
#: Rows of such a comparison that are in memory at once.
CHUNK = 1_000
#: Which neighbour sets a ball's radius: Kynkäänniemi et al. 2019 take the third, Naeem et al. 2020 the fifth.
NEIGHBOUR_OF_RECALL = 3
NEIGHBOUR_OF_COVERAGE = 5
#: The part of the balls, the smallest ones, that say what looks real.
KEPT = 0.75


def frechet_distance(generated: Tensor, real: Tensor) -> float:
    """Fréchet distance of two Gaussians with the features' means m and covariances C (Heusel et al. 2017).

    |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½); 0 for equal sets, lower is better. It is an FID only in the
    features of that paper's Inception network.

    Args:
        generated: (N, D).
        real: (M, D).

    Raises:
        UsageError: N or M is not greater than D: a covariance would be singular and the distance meaningless.
    """
    dimensions = generated.shape[1]
    _need(
        dimensions + 1, generated, real, f"The Fréchet distance in {counted(dimensions, 'feature dimension')}"
    )
    (mean1, cov1), (mean2, cov2) = _moments(generated), _moments(real)
    # With S = C1^½, the eigenvalues of C1 C2 are those of S C2 S, which is symmetric: they come out real.
    values, vectors = torch.linalg.eigh(cov1)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov2 @ root).clamp(min=0).sqrt().sum()
    distance = (mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * cross
    return float(distance.clamp(min=0))


def kernel_distance(generated: Tensor, real: Tensor) -> float:
    """Unbiased squared MMD under the kernel (x·y / D + 1)³ (Bińkowski et al. 2018).

    About 0 for samples of one distribution, and then below 0 half of the time; lower is better. It needs
    fewer samples than the Fréchet distance. All pairs among 5,000 of each set are compared, where the paper
    averages over subsets of 1,000: the same mean, with less noise. It is a KID only in Inception's features.

    Args:
        generated: (N, D).
        real: (M, D).

    Raises:
        UsageError: N or M is less than 2.
    """
    _need(2, generated, real, "The kernel distance")
    x, y = some_of(generated).double(), some_of(real).double()
    n, m = len(x), len(y)
    # The unbiased estimate leaves out each example's product with itself.
    within_x = (_kernel_sum(x, x) - _kernel(x.square().sum(1), x.shape[1]).sum()) / (n * (n - 1))
    within_y = (_kernel_sum(y, y) - _kernel(y.square().sum(1), y.shape[1]).sum()) / (m * (m - 1))
    return float(within_x + within_y - 2 * _kernel_sum(x, y) / (n * m))


def precision(generated: Tensor, real: Tensor) -> float:
    """Fraction of the generated examples among the real ones (Kynkäänniemi et al. 2019): fidelity.

    "Among" means nearer to some real example than its third neighbour is. In [0, 1], higher is better.

    Args:
        generated: (N, D).
        real: (M, D).

    Raises:
        UsageError: N or M is not greater than 3.
    """
    _need(NEIGHBOUR_OF_RECALL + 1, generated, real, "Precision and recall")
    return _part_among(generated, real)


def recall(generated: Tensor, real: Tensor) -> float:
    """Fraction of the real examples among the generated ones (Kynkäänniemi et al. 2019): variety.

    Precision with the two sets swapped. In [0, 1], higher is better.

    Args:
        generated: (N, D).
        real: (M, D).

    Raises:
        UsageError: N or M is not greater than 3.
    """
    _need(NEIGHBOUR_OF_RECALL + 1, generated, real, "Precision and recall")
    return _part_among(real, generated)


def density(generated: Tensor, real: Tensor) -> float:
    """How many real examples' balls hold a generated one, over the number expected (Naeem et al. 2020).

    A measure of fidelity, less misled by outliers among the real examples than precision. At least 0; about
    1 for samples of one distribution, and more where generated examples crowd where real ones are dense;
    higher is better.

    Args:
        generated: (N, D).
        real: (M, D).

    Raises:
        UsageError: N or M is not greater than 5.
    """
    _need(NEIGHBOUR_OF_COVERAGE + 1, generated, real, "Density and coverage")
    balls = _balls_around(some_of(generated), some_of(real), NEIGHBOUR_OF_COVERAGE)
    return float(balls.double().mean() / NEIGHBOUR_OF_COVERAGE)


def coverage(generated: Tensor, real: Tensor) -> float:
    """Fraction of real examples with a generated one nearer than their fifth neighbour (Naeem et al. 2020).

    A measure of variety, less misled by outliers among the generated examples than recall. In [0, 1], higher
    is better.

    Args:
        generated: (N, D).
        real: (M, D).

    Raises:
        UsageError: N or M is not greater than 5.
    """
    _need(NEIGHBOUR_OF_COVERAGE + 1, generated, real, "Density and coverage")
    fake, true = some_of(generated), some_of(real)
    nearest = torch.cat([distances(rows, fake).amin(1) for rows in torch.split(true, CHUNK)])
    return float((nearest < _radii(true, NEIGHBOUR_OF_COVERAGE)).double().mean())


def plausible(generated: Tensor, real: Tensor) -> float:
    """Share of the generated examples that look real: as precise as new real examples would be, is 1.

    Precision is misled by outliers, whose balls hold nearly everything: so of the real examples' balls the
    quarter that is largest is left out. (The realism score of Kynkäänniemi et al. 2019 leaves out half.) What
    new real examples would have, is found by leaving out each of the real ones in turn; the share is divided
    by that, and is at most 1.

    Args:
        generated: (N, D).
        real: (M, D).

    Raises:
        UsageError: N or M is not greater than 3.
    """
    _need(NEIGHBOUR_OF_RECALL + 1, generated, real, "Which ones look real")
    points, centres = some_of(generated), some_of(real)
    radii = _radii(centres, NEIGHBOUR_OF_RECALL)
    used = centres[kept := radii <= torch.quantile(radii, KEPT)]
    among = [(distances(rows, used) < radii[kept]).any(1) for rows in torch.split(points, CHUNK)]
    # A real example that is left out is in a ball just if it is one of its centre's three nearest.
    near = [
        distances(rows, centres).topk(NEIGHBOUR_OF_RECALL + 1, largest=False).indices
        for rows in torch.split(used, CHUNK)
    ]
    others = torch.cat(near) != kept.nonzero()
    new = len(set(torch.cat(near)[others].tolist())) / len(centres)
    return min(1.0, float(torch.cat(among).double().mean()) / new)


#: mmgan's own metrics on features, by name. ``register_metrics`` adds others.
METRICS: dict[str, Metric] = {
    "frechet": frechet_distance,
    "kernel": kernel_distance,
    "precision": precision,
    "recall": recall,
    "density": density,
    "coverage": coverage,
}


def _need(least: int, generated: Tensor, real: Tensor, what: str) -> None:
    """Raise UsageError unless both sets have enough examples."""
    if min(len(generated), len(real)) < least:
        raise UsageError(
            f"{what} can't be computed from {len(generated)} generated and "
            f"{counted(len(real), 'real example')}: at least {least} of each are needed.",
            hint=f"ask for {least} or more of each (ten times as many give a steadier figure), or choose "
            "features with fewer dimensions",
        )


def some_of(features: Tensor) -> Tensor:
    """Return :data:`MAX_PAIRED` rows at most, the same each time."""
    if len(features) <= MAX_PAIRED:
        return features
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))
    return features[order[:MAX_PAIRED]]


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (D,) and covariance (D, D) in float64."""
    features = features.double()
    centred = features - features.mean(0)
    return features.mean(0), centred.T @ centred / (len(features) - 1)  # torch.cov makes a scalar of D = 1


def _kernel(products: Tensor, dimensions: int) -> Tensor:
    """Return the cubic kernel of inner products."""
    return (products / dimensions + 1) ** 3


def _kernel_sum(x: Tensor, y: Tensor) -> Tensor:
    """Return the sum of the kernel over all pairs."""
    return torch.stack([_kernel(rows @ y.T, x.shape[1]).sum() for rows in torch.split(x, CHUNK)]).sum()


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Return squared Euclidean distances in float64: (N, M), the same for (x, y) and (y, x)."""
    # torch.cdist is five times slower by differences (for 2,048 dimensions), and not symmetric by matrix
    # product: by rounding, a centre's k-th neighbour would be in its ball half of the time.
    x, y = x.double(), y.double()
    return x.square().sum(1)[:, None] + y.square().sum(1) - 2 * (x @ y.T)


def _radii(points: Tensor, k: int) -> Tensor:
    """Return each point's squared distance to its k-th neighbour among the others: (N,)."""
    # k + 1, since the nearest is the point itself.
    return torch.cat([distances(rows, points).kthvalue(k + 1).values for rows in torch.split(points, CHUNK)])


def _balls_around(points: Tensor, centres: Tensor, k: int) -> Tensor:
    """Return how many balls hold each point: (N,). A centre's ball ends just before its k-th neighbour."""
    radii = _radii(centres, k)
    return torch.cat([(distances(rows, centres) < radii).sum(1) for rows in torch.split(points, CHUNK)])


def _part_among(points: Tensor, centres: Tensor) -> float:
    """Return the fraction of the points that lie in a ball around some centre."""
    balls = _balls_around(some_of(points), some_of(centres), NEIGHBOUR_OF_RECALL)
    return float((balls > 0).double().mean())
