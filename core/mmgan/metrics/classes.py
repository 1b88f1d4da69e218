"""Scores of each class, where a generator has learned classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from mmgan.data.tree import printable
from mmgan.metrics.distances import Metric
from mmgan.metrics.scores import Scores

#: With more classes than these, the list of scores would be too long to be of use.
MOST = 100
#: The metric of a class: it is unbiased, and so useful with the few examples of one class.
METRIC = "kernel"


@dataclass(frozen=True)
class Classes:
    """The classes of generated and of real examples, in the order in which the examples come.

    Args:
        names: The names of the classes.
        generated: int64 (n,), the labels that were asked for.
        real: int64 (m,).
    """

    names: Sequence[str]
    generated: Tensor
    real: Tensor


def add_classes(
    scores: Scores,
    metrics: Mapping[str, Metric],
    ending: str,
    names: Sequence[str],
    generated: tuple[Tensor, Tensor],
    real: tuple[Tensor, Tensor],
) -> None:
    """Add a score of each class, such as ``kernel_random/cat``, where there are at most 100 classes.

    Args:
        scores: The scores to add to.
        metrics: Metrics by name; nothing is added if none is called "kernel".
        ending: The end of the scores' names, before the class.
        names: The names of the classes.
        generated: Features (n, d) and labels (n,).
        real: Features (m, d) and labels (m,).
    """
    if METRIC not in metrics or len(names) > MOST:
        return
    for label, name in enumerate(names):
        mine, theirs = (features[labels == label] for features, labels in (generated, real))
        scores.add(f"{METRIC}_{ending}/{printable(name)}", partial(metrics[METRIC], mine, theirs))
