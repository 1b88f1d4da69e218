"""How a game on pictures is judged: by pictures held out of training if there are any, else by the data."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mmgan.counting import counted
from mmgan.errors import ConfigError, PluginError
from mmgan.metrics.distances import MAX_PAIRED, plausible
from mmgan.metrics.features import Features, WithPixels
from mmgan.metrics.image import Gathered, feature_scores, gather
from mmgan.metrics.memorisation import memorisation
from mmgan.metrics.scores import Scores
from mmgan.metrics.words import in_words
from mmgan.tasks.classifying import add_cas
from mmgan.tasks.latent import chosen
from mmgan.tasks.watched import Told, pictures

if TYPE_CHECKING:
    from mmgan.data.image.sources import Judge
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
        Those of :func:`mmgan.metrics.image.image_scores`; ``plausible_{features}``, see
        :func:`mmgan.metrics.distances.plausible`; ``copied_{features}``, see
        :func:`mmgan.metrics.memorisation.memorisation`; with ``cas=true`` ``cas`` and ``cas_real``, see
        :func:`mmgan.metrics.cas.accuracy`; those of the data's own judge, if it has one. And what they say
        in words.

    Raises:
        ConfigError: ``cas`` is asked for, and no classes are learned.
        PluginError: ``holdout`` is set, and the task's data holds nothing out.
    """
    dataset = task.run.dataset
    held = getattr(dataset, "held_out", None)
    _check(task, held)
    own: Judge | None = getattr(dataset, "judge", None)
    judged = n or (own.samples if own else 0)
    n = n or min(len(dataset if held is None else held), MOST)
    features = task.features()
    both = WithPixels(features)
    which = chosen(len(dataset if held is None else held), n)
    # If none are held out, samples are compared with the first of these.
    known = chosen(len(dataset), max(n, MOST) if held is None else MOST)
    told = Told(task.run.progress, n + len(known) + (0 if held is None else len(which)))
    training = _real(task, "trained on", dataset, known, both, told)
    if held is None:
        real = Gathered(training.rows[:n], training.kept[:n])
    else:
        real = _real(task, "held out", held, which, both, told)
    label = task.labels_of(dataset if held is None else held, which)
    generated = gather(told(task.alike(n, label)), both, task.run.device.torch)
    ours, theirs = (Gathered(both.parts(each.rows)[features.name], each.kept) for each in (generated, real))
    classes = task.score_classes(n, label)
    scores = feature_scores(ours, theirs, features.name, task.run.metrics("images"), classes)
    scores.add(f"plausible_{features.name}", partial(plausible, ours.rows, theirs.rows))
    for name, part in both.parts(generated.rows).items():
        scores.add(f"copied_{name}", partial(memorisation, part, both.parts(training.rows[:MOST])[name]))
    whence = "it was trained on" if held is None else "were held out"
    against = f"{counted(len(which), 'picture')} that {whence}"
    scores.words += in_words(scores, features, min(n, MAX_PAIRED), against)
    if own:
        examples = task.alike(judged, label)
        scores.include(own.scores(examples, task.run.device.torch, task.run.progress))
    if getattr(task.config, "cas", False):
        add_cas(task, dataset, held, scores)
    return scores


def _real(
    task: ImageTask, what: str, dataset: Any, which: Tensor, features: Features, told: Told
) -> Gathered:
    """Return the features of real pictures. They stay as they are while a run trains, and so are kept."""
    shape = dataset.pictures(which[:1]).shape
    key = features.name, len(which), shape
    before = task.judged_by.get(what)
    if before is not None and before[0] == key:
        told.add(len(which))
        return before[1]
    found = gather(told(pictures(dataset, which, task.chunk)), features, task.run.device.torch)
    task.judged_by[what] = key, found
    return found


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
