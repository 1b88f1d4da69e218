"""How a game on pictures is judged: by pictures held out of training if there are any, else by the data."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from mmgan.counting import counted
from mmgan.errors import ConfigError, PluginError
from mmgan.metrics.distances import MAX_PAIRED, expected_precision
from mmgan.metrics.features import WithPixels
from mmgan.metrics.image import Gathered, feature_scores, gather
from mmgan.metrics.memorisation import memorisation
from mmgan.metrics.scores import Scores
from mmgan.metrics.words import in_words
from mmgan.tasks.classifying import add_cas
from mmgan.tasks.latent import chosen
from mmgan.tasks.watched import Told, pictures

if TYPE_CHECKING:
    from mmgan.tasks.image import ImageTask

#: Real pictures that samples are compared with, unless more are asked for; and of those that were trained on,
#: how many a sample may be a copy of.
MOST = 10_000


def judge(task: ImageTask, n: int) -> Scores:
    """Score ``n`` samples: against pictures that are held out if there are any, else against the data.

    Args:
        task: A game on pictures, its data open.
        n: How many; 0: as many as there are real ones, at most 10,000.

    Returns:
        Those of :func:`mmgan.metrics.image.image_scores`; ``copied_{features}``, see
        :func:`mmgan.metrics.memorisation.memorisation`; with ``cas=true`` ``cas`` and ``cas_real``, see
        :func:`mmgan.metrics.cas.accuracy`. And what they say in words.

    Raises:
        ConfigError: ``cas`` is asked for, and no classes are learned.
        PluginError: ``holdout`` is set, and the task's data holds nothing out.
    """
    dataset = task.run.dataset
    held = getattr(dataset, "held_out", None)
    _check(task, held)
    n = n or min(len(dataset if held is None else held), MOST)
    features, device = task.features(), task.run.device.torch
    both = WithPixels(features)
    told = Told(task.run.progress, n + len(dataset) + len(held or ()))
    take = partial(pictures, chunk=task.chunk)
    if held is None:
        # One pass: the first of those that were trained on are what samples are compared with.
        which = chosen(len(dataset), max(n, MOST))
        known = gather(told(take(dataset, which)), both, device)
        real, training, which = Gathered(known.rows[:n], known.kept[:n]), known.rows[:MOST], which[:n]
    else:
        which = chosen(len(held), n)
        real = gather(told(take(held, which)), both, device)
        training = gather(told(take(dataset, chosen(len(dataset), MOST))), both, device).rows
    label = task.labels_of(dataset if held is None else held, which)
    generated = gather(told(task.alike(n, label)), both, device)
    ours, theirs = (Gathered(both.parts(each.rows)[features.name], each.kept) for each in (generated, real))
    classes = task.score_classes(n, label)
    scores = feature_scores(ours, theirs, features.name, task.run.metrics("images"), classes)
    for name, part in both.parts(generated.rows).items():
        scores.add(f"copied_{name}", partial(memorisation, part, both.parts(training)[name]))
    whence = "it was trained on" if held is None else "were held out"
    hope = expected_precision(theirs.rows) if f"precision_{features.name}" in scores else None
    against = f"{counted(len(which), 'picture')} that {whence}"
    scores.words += in_words(scores, features, min(n, MAX_PAIRED), against, hope)
    if getattr(task.config, "cas", False):
        add_cas(task, dataset, held, scores)
    return scores


def _check(task: ImageTask, held: Any) -> None:
    # Settings of a stranger's may be of before these were there.
    holdout, cas = getattr(task.config, "holdout", 0), getattr(task.config, "cas", False)
    if holdout and held is None:
        raise PluginError(
            f"holdout = {holdout:g}: the data of {task.config.plugin} holds nothing out.",
            hint="`data` of its task may call the data set's hold_out, as ImageTask does.",
        )
    if cas and "label" not in task.conditions:
        raise ConfigError(
            "cas = true: a classifier learns classes from samples, and this run has learned none.",
            hint="Leave it out, or train with --set conditional=true.",
        )
