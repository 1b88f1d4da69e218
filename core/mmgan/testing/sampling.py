"""The rules for samples and scores."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import MagicMock

import torch

from mmgan.backend import randomness
from mmgan.counting import counted, some
from mmgan.errors import DataError, UsageError
from mmgan.samples import Samples
from mmgan.task import Task
from mmgan.testing.bench import Bench
from mmgan.testing.compare import copied, differences, state, tensors
from mmgan.testing.rules import Skip, rule
from mmgan.testing.watch import modes

T = TypeVar("T")
#: How many samples are asked for: a number that is unlikely to be a default.
COUNT = 3


@rule(
    "samples",
    why="`mmgan sample`, sample files and TensorBoard take what `sample` returns, and a seed must mean the "
    "same samples each time.",
    mend="Return n examples in a subclass of mmgan.Samples, made of finite numbers, with latents from "
    "torch's default generator.",
)
def samples(bench: Bench) -> Iterator[str]:
    """`sample` returns n Samples, the same ones for the same seed, which can be saved."""
    run = bench.run
    first = aside(bench, "sample", lambda: run.sample(COUNT, seed=1))
    yield from faults("sample", first, bench.folder)
    if not isinstance(first, Samples):
        return
    if not of_core(first):
        first.to_tensorboard(MagicMock(), "samples", 0)
    second = run.sample(COUNT, seed=1)
    if different := list(differences(vars(first), vars(second))):
        yield f"sample({COUNT}) with the same seed gives other samples: {some(different)}."


@rule(
    "interpolate",
    why="`mmgan sample --interpolate` writes a walk through latent space.",
    mend="Return n examples in a subclass of mmgan.Samples with a `save_walk`.",
)
def interpolate(bench: Bench) -> Iterator[str]:
    """`interpolate`, if implemented, returns n samples, which can be saved as a walk."""
    run = bench.run
    if type(run.task).interpolate is Task.interpolate:
        raise Skip("the task has no `interpolate`")
    walk = aside(bench, "interpolate", lambda: run.interpolate(COUNT))
    yield from faults("interpolate", walk, bench.folder)
    if not isinstance(walk, Samples):
        return
    if type(walk).save_walk is Samples.save_walk:
        yield f"{type(walk).__name__} has no save_walk."
    elif not of_core(walk):
        folder = bench.folder / "walk"
        folder.mkdir()
        if not walk.save_walk(folder):
            yield "interpolate: save_walk wrote no file."


@rule(
    "complete",
    why="`mmgan sample --prompt` gives samples that begin with the prompt.",
    mend="Return n examples in a subclass of mmgan.Samples; texts begin with the prompt.",
)
def complete(bench: Bench) -> Iterator[str]:
    """`complete`, if implemented, returns n samples that begin with the prompt."""
    run = bench.run
    if type(run.task).complete is Task.complete:
        raise Skip("the task has no `complete`")
    words = " ".join(run.sample(COUNT).lines() or []).split()
    prompt = bench.prompt or next(iter(words), "")
    if not prompt:
        raise Skip("no prompt is known; check_task(…, prompt='…') gives one")
    begun = aside(bench, "complete", lambda: run.sample(COUNT, prompt=prompt))
    yield from faults("complete", begun, bench.folder)
    lines = begun.lines() if isinstance(begun, Samples) else None
    if lines and not all(line.startswith(prompt) for line in lines):
        yield f"Not all samples begin with the prompt {prompt!r}."


@rule(
    "conditions",
    why="`mmgan sample --label` gives samples of one class, and files and grids are named by the classes.",
    mend="Accept `label`, int64 (n,), in `sample`, and in `sample_chunks` and `interpolate` if implemented; "
    "let batches hold it: holds = (…, 'label').",
)
def of_a_class(bench: Bench) -> Iterator[str]:
    """A task with conditions can be sampled by them: a class that is asked for, at once and in chunks."""
    run = bench.run
    if not (takes := run.task.conditions):
        raise Skip("the task has no conditions")
    if "label" not in takes:
        raise Skip(f"its conditions are {some(takes)}; label can be tried")
    classes = run.data_info.classes
    if not classes:
        yield f"Its conditions are {some(takes)}, but its data has no classes: `info` of a data set has them."
        return
    label = bench.label or classes[-1]
    made = aside(bench, "sample", lambda: run.sample(COUNT, seed=1, label=label))
    yield from faults("label", made, bench.folder)
    chunks = aside(bench, "sample_chunks", lambda: list(run.sample_chunks(COUNT, seed=1, label=label)))
    if sum(map(len, chunks)) != COUNT:
        yield f"sample_chunks({COUNT}, label=…) gives {counted(sum(map(len, chunks)), 'sample')}."
    if type(run.task).interpolate is not Task.interpolate:
        aside(bench, "interpolate", lambda: run.interpolate(COUNT, label=label))


@rule(
    "evaluate",
    why="Scores are logged and drawn, and the best checkpoint is kept by one of them.",
    mend="Return a dict of names and finite numbers, in which best_score is a name.",
)
def evaluate(bench: Bench) -> Iterator[str]:
    """`evaluate`, if implemented, returns finite numbers, among them the best score."""
    run, best = bench.run, bench.run.task.best_score
    if type(run.task).evaluate is Task.evaluate:
        if best:
            yield f"best_score is {best!r}, but the task has no `evaluate`."
            return
        raise Skip("the task has no `evaluate`")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            scores: Any = aside(bench, "evaluate", run.evaluate)
        except (UsageError, DataError) as error:  # Mostly too few examples.
            raise Skip(f"with these settings there are no scores: {error.message}") from None
    if not isinstance(scores, dict):
        yield f"evaluate returns a {type(scores).__name__}, not a dict of scores."
        return
    for name, score in scores.items():
        if not isinstance(name, str) or not isinstance(score, int | float) or not math.isfinite(score):
            yield f"The score {name!r} is {score!r}, which is not a finite number."
    for warning in caught:
        if best and str(warning.message).startswith(f"{best} is left out"):
            raise Skip(f"with these settings there is no best score: {warning.message}")
    if best and best not in scores:
        yield f"best_score is {best!r}, and the scores are {some(scores)}."


@rule(
    "undisturbed",
    why="How often a run is sampled from or evaluated must not change what it learns.",
    mend="In `sample` and the like use networks as they are: don't call `.train()`, don't change weights or "
    "the task's state; draw from torch's default generator.",
)
def undisturbed(bench: Bench) -> list[str]:
    """Sampling and evaluating don't change weights, statistics, modes, state or randomness of the run."""
    _ = bench.run
    return bench.found["undisturbed"]


def of_core(samples: Samples) -> bool:
    """Whether samples are of one of mmgan's own kinds: drawing them works, and may take seconds."""
    return type(samples).__module__.startswith("mmgan.samples.")


def aside(bench: Bench, name: str, work: Callable[[], T]) -> T:
    """Sample or evaluate, and record what that changes in the run."""

    def whole() -> Any:
        process = {"the process": randomness.get_state(bench.run.device.torch)}
        return copied({**process, **state(bench.run), **modes(bench.run)})

    before = whole()
    result = work()
    if changed := list(differences(before, whole())):
        bench.found["undisturbed"].append(f"{name} changed {some(changed)}.")
    return result


def faults(name: str, made: Any, folder: Path) -> Iterator[str]:
    """Yield what is wrong with samples: their number, their values, or how they are saved and shown.

    (Whether they are in [-1, 1] can't be seen: samples of pictures and sounds clip them.)
    """
    if not isinstance(made, Samples):
        yield f"{name} returns a {type(made).__name__}, which is not an mmgan.Samples."
        return
    if len(made) != COUNT:
        yield f"{name}({COUNT}) gives {counted(len(made), 'sample')}."
    for key, tensor in tensors(vars(made)):
        if not bool(torch.isfinite(tensor).all()):
            yield f"{name}: NaN or infinity in {key}."
        if tensor.requires_grad:
            yield f"{name}: {key} has a graph, which keeps everything that it was computed from in memory."
    file = folder / f"{name}{made.suffix}"
    made.save(file)
    if not file.is_file() or not file.stat().st_size:
        yield f"{name}: save wrote no file, or an empty one."
    each = folder / f"{name}-each"
    each.mkdir()
    if missing := [path.name for path in made.save_each(each) if not path.is_file()]:
        yield f"{name}: save_each names files that it did not write: {some(missing)}."
