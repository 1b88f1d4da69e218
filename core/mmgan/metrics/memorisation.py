"""Whether generated examples are copies of those that were trained on."""

from __future__ import annotations

import torch
from torch import Tensor

from mmgan.counting import counted
from mmgan.errors import UsageError
from mmgan.metrics.distances import CHUNK, distances, some_of

#: The share of new real examples that is called memorised too: where the threshold is put.
BY_CHANCE = 0.01
#: Examples are equal if their distance is below this part of the data's standard deviation: the same picture
#: in another batch has features that are rounded differently.
EQUAL = 1e-4


def memorisation(generated: Tensor, training: Tensor) -> float:
    """Share of the generated examples that are copies of training examples, or nearly so.

    They are nearer to a training example than 99% of the training examples are to their nearest other one.
    So about 1% of new real examples are called copies too, however many there are, and all copies are. Equal
    training examples count once. In [0, 1], lower is better.

    Args:
        generated: Features (N, D).
        training: Features of what was trained on, (M, D).

    Raises:
        UsageError: There are none, or the training examples are all equal.
    """
    return float(memorised(generated, training).double().mean())


def memorised(generated: Tensor, training: Tensor) -> Tensor:
    """Return which examples :func:`memorisation` counts: bool, (N,), or for 5,000 of more than 5,000.

    Args:
        generated: Features (N, D).
        training: Features of what was trained on, (M, D).

    Raises:
        UsageError: There are none, or the training examples are all equal.
    """
    if not len(generated):
        raise UsageError("Of no generated examples none can be a copy: at least 1 is needed.")
    own = _nearest(some_of(training), training, _rounding(training)) if len(training) else training[:, 0]
    own = own[own.isfinite()]
    if not len(own):
        raise UsageError(
            f"What a copy is can't be told by {counted(len(training), 'training example')} that are all "
            "equal: at least 2 different ones are needed."
        )
    # The lower of two neighbours, so that few examples make no threshold that none of them has.
    return _nearest(some_of(generated), training) < torch.quantile(own, BY_CHANCE, interpolation="lower")


def _rounding(training: Tensor) -> Tensor:
    """Return the squared distance below which examples are equal."""
    values = training.double()
    spread = (values - values.mean(0)).square().sum(1).mean()
    # The second term: where all are equal, what the product of matrices leaves of their distances.
    return EQUAL**2 * spread + 1e-12 * values.square().sum(1).mean()


def _nearest(points: Tensor, others: Tensor, beyond: Tensor | float = -torch.inf) -> Tensor:
    """Return each point's least squared distance to one of the others that is farther than ``beyond``, (N,):
    infinity where there is none.
    """
    found = []
    for rows in torch.split(points, CHUNK):
        squares = distances(rows, others)
        found.append(torch.where(squares > beyond, squares, torch.inf).amin(1))
    return torch.cat(found)
