"""The classification accuracy score of a game on pictures that has learned classes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from mmgan.counting import counted
from mmgan.metrics import cas
from mmgan.metrics.scores import Scores
from mmgan.tasks.latent import chosen
from mmgan.tasks.watched import Told, pictures

if TYPE_CHECKING:
    from mmgan.tasks.image import ImageTask


def add_cas(task: ImageTask, dataset: Any, held: Any, scores: Scores) -> None:
    """Add ``cas``, the accuracy of a classifier that learns from samples, and ``cas_real``, that of the same
    one where it learns from real pictures. Where none are held out to test it on, a fifth of the data is.

    Args:
        task: It has learned classes.
        dataset: What it was trained on.
        held: What was held out, or None.
        scores: The scores to add to.
    """
    order = chosen(len(dataset), cas.MOST)
    if held is None:
        fifth = len(order) // 5
        test, tested, learned = dataset, order[:fifth], order[fifth:]
    else:
        test, tested, learned = held, chosen(len(held), cas.MOST), order
    labels = dataset.labels[learned]
    told = Told(task.run.progress, len(learned) + 2 * cas.STEPS)

    def measure(batches: Any) -> float:
        training = cas.Labelled(torch.cat([cas.small(batch) for batch in batches]), labels)
        return cas.accuracy(training, reading, task.classes, task.run.device.torch, told.add)

    real = partial(pictures, chunk=task.chunk)
    reading = cas.Labelled(torch.cat([cas.small(batch) for batch in real(test, tested)]), test.labels[tested])
    scores.add("cas", lambda: measure(told(task.alike(len(learned), labels))))
    scores.add("cas_real", lambda: measure(real(dataset, learned)))
    if {"cas", "cas_real"} <= scores.keys():
        scores.words.append(
            f"A classifier that learns from {counted(len(learned), 'sample')} reads {scores['cas']:.1%} of "
            f"{counted(len(tested), 'real picture')} right; from as many real ones, {scores['cas_real']:.1%}."
        )
