"""What is asked of a run beside its training: samples, walks through latent space, scores.

All of it is computed aside: in float32, in eval mode, without gradients, and with randomness of its own, so
that training goes on as if nothing had been asked.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from mmgan.backend import randomness
from mmgan.conditions import conditions, names_of
from mmgan.data.dataset import Draw
from mmgan.errors import DataError, UsageError
from mmgan.plugins.blame import blaming
from mmgan.samples import Samples
from mmgan.task import Task

if TYPE_CHECKING:
    from mmgan.run import Run

T = TypeVar("T")

#: Seeds of side work, apart from training's so that neither repeats the other.
_SAMPLE_SEED, _EVALUATE_SEED = 0x5A3E, 0xE7A1


def sample(run: Run, n: int, seed: int | None = None, prompt: str = "", **asked: Any) -> Samples:
    """Generate ``n`` samples. The same seed gives the same latents.

    Args:
        run: The run.
        n: How many.
        seed: By default one that follows from the run's seed.
        prompt: What each sample shall begin with; or for a task that takes the condition ``text``, that.
        asked: Conditions that the task takes, such as ``label="cat"``: a class's name or number, or a list of
            n. Where the task takes labels and none is given, all classes get their share.

    Raises:
        UsageError: There is a prompt or another condition that the task does not take, or no such class.
    """
    prompt, given = _given(run, n, prompt, asked, run.task.sample)
    samples = aside(run, lambda: _all(run.task, n, prompt, given), seed)
    return _labelled(samples, names_of(run, given))


def sample_chunks(
    run: Run, n: int, seed: int | None = None, prompt: str = "", **asked: Any
) -> Iterator[Samples]:
    """Generate what :meth:`sample` does chunk by chunk, so that not all of it is in memory at once.

    A chunk is computed when it is asked for; in between nothing of the run is changed.

    Args:
        run, n, seed, prompt, asked: As for :meth:`sample`.
    """
    task: Any = run.task
    own = _has_own_chunks(type(task))
    prompt, given = _given(run, n, prompt, asked, task.sample_chunks if own else task.sample)
    side = _side(run, seed)
    labels = names_of(run, given)
    if own:
        return _one_by_one(run, iter(task.sample_chunks(n, prompt, **given)), n, side, labels)
    return _one_by_one(run, (_all(task, n, prompt, given) for _ in range(1)), None, side, labels)


def _all(task: Any, n: int, prompt: str, given: Mapping[str, Any]) -> Samples:
    """Generate all samples at once: the chunks of a task without chunks of its own."""
    samples: Samples = task.complete(n, prompt) if prompt else task.sample(n, **given)
    return samples


def _one_by_one(
    run: Run,
    chunks: Iterator[Samples],
    n: int | None,
    side: randomness.Aside | randomness.Own,
    labels: list[str] | None,
) -> Iterator[Samples]:
    """Compute each chunk aside, and tell it which of the ``n`` samples it holds (None: all), and of which
    classes.
    """
    done = 0
    while True:
        with _apart(run, side):
            samples = next(chunks, None)
        if samples is None:
            return
        if n is not None:
            samples.offset, samples.total = done, n
        _labelled(samples, labels and labels[done : done + len(samples)])
        done += len(samples)
        yield samples


def _labelled(samples: Samples, labels: list[str] | None) -> Samples:
    if labels:
        samples.labels = labels
    return samples


def _given(
    run: Run, n: int, prompt: str, asked: Mapping[str, Any], method: Callable[..., Any]
) -> tuple[str, dict[str, Any]]:
    """Return the prompt and the conditions that a method of the task gets."""
    if prompt and "text" in run.task.conditions:
        return "", conditions(run, n, {**asked, "text": prompt}, method)
    if prompt and type(run.task).complete is Task.complete:
        raise UsageError(f"{run.config.plugin} takes no prompts.")
    return prompt, conditions(run, n, asked, method)


def interpolate(run: Run, n: int, seed: int | None = None, **asked: Any) -> Samples:
    """Generate ``n`` samples along a walk through latent space, where the task has one.

    A walk is of one class: where the task takes labels and none is given, of the first.

    Args:
        run, n, seed, asked: As for :meth:`sample`.
    """
    if type(run.task).interpolate is Task.interpolate:
        raise UsageError(f"{run.config.plugin} has no walk through its latent space.")
    if "label" in run.task.conditions:
        asked = {**asked, "label": 0 if asked.get("label") is None else asked["label"]}
    given = conditions(run, n, asked, run.task.interpolate)
    task: Any = run.task
    walk: Samples = aside(run, lambda: task.interpolate(n, **given), seed)
    return _labelled(walk, names_of(run, given))


def evaluate(run: Run, n: int = 0) -> dict[str, float]:
    """Score ``n`` samples by the task's metrics; 0 lets the task choose.

    Returns:
        The scores; of a task of ours with a dict ``missing``: names of scores that can't be had, each with
        the reason, mostly that there are too few examples. A warning names them too.

    Raises:
        UsageError: The task has no metrics.
        DataError: No score can be had.
    """
    need_metrics(run)
    scores = aside(run, lambda: run.task.evaluate(n), _EVALUATE_SEED)
    missing: dict[str, str] = getattr(scores, "missing", {})
    if missing and not scores:
        raise DataError(
            f"No score can be had. {' '.join(dict.fromkeys(missing.values()))}",
            hint="Ask for more with -n, or train on more data.",
        )
    for name, reason in missing.items():
        warnings.warn(f"{name} is left out: {reason}", stacklevel=2)
    return scores


def examples(run: Run, n: int, seed: int = 0) -> Any:
    """Return ``n`` real examples as a batch like those of training, on the device.

    They are chosen at random, each once, and augmented by this seed as in a first epoch: the same ones each
    time, on every rank. Training goes on as if nothing had been asked.

    Args:
        run: The run.
        n: How many, at least 1; all there are, where the data has fewer.
        seed: At least 0, and below 2**63.

    Raises:
        UsageError: ``n`` or ``seed`` is not such a number.
    """
    if n < 1 or not 0 <= seed < 2**63:
        raise UsageError(
            f"run.examples({n}, seed={seed}): n must be at least 1, seed at least 0, below 2**63."
        )
    dataset = run.dataset
    indices = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:n]
    draw = Draw(seed, torch.zeros_like(indices), indices)
    # Aside, since a data set may draw from the process's generators, though it shouldn't.
    return run.device.move(aside(run, lambda: dataset.batch(indices, draw), seed))


def need_metrics(run: Run) -> None:
    """Raise UsageError where the task has no metrics."""
    if type(run.task).evaluate is Task.evaluate:
        raise UsageError(
            f"{run.config.plugin} has no metrics to evaluate.",
            hint="--set evaluate_every=0 trains without.",
        )


def generator(run: Run) -> torch.Generator | None:
    """What samples draw from: ``torch.randn(…, generator=self.run.generator)``.

    Only a task that is :attr:`~mmgan.Task.reentrant` needs it. None is torch's default generator.
    """
    return randomness.own_generator()


def aside(run: Run, work: Callable[[], T], seed: int | None, alone: bool = False) -> T:
    """Call ``work`` once, in float32, in eval mode, without gradients, and return what it returns.

    Args:
        run: The run.
        work: Samples or evaluates.
        seed: The same seed gives the same randomness, which is not that of training. None: that of samples.
        alone: Whether it may draw from the process's generators, even where the task does not.
    """
    with _apart(run, _side(run, seed, alone)):
        return work()


def _side(run: Run, seed: int | None, alone: bool = False) -> randomness.Aside | randomness.Own:
    # Hashed, so that no seed asked for repeats the randomness of training.
    text = f"{_SAMPLE_SEED if seed is None else seed}/{run.config.seed}".encode()
    own = int.from_bytes(hashlib.blake2b(text, digest_size=4).digest())
    kind = randomness.Own if run.reentrant and not alone else randomness.Aside
    return kind(own, run.device.torch)


@contextmanager
def _apart(run: Run, side: randomness.Aside | randomness.Own) -> Iterator[None]:
    modules = [m for p in run.players.values() for m in p.module.modules() if m.training]
    try:
        for module in modules:
            module.training = False
        with run.turn, side.drawn(), torch.no_grad(), blaming(type(run.task), run.config.plugin):
            yield
    finally:
        for module in modules:
            module.training = True


def _has_own_chunks(task_class: type[Task]) -> bool:
    """Whether a task's chunks are of the class that says how it samples, or of a later one."""
    ways = ("sample", "complete", "sample_chunks")
    latest = next(base for base in task_class.__mro__ if any(way in vars(base) for way in ways))
    return "sample_chunks" in vars(latest)
