"""The environment in which a task is checked: small runs, and a few steps of each stage."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgan import engine
from mmgan.config import Config
from mmgan.opening import load_run, new_run
from mmgan.plugins import Plugins
from mmgan.run import Run
from mmgan.task import Stage
from mmgan.testing.rules import Skip

#: Defaults of every run of a check.
SMALL: dict[str, Any] = {"batch_size": 4, "device": "cpu", "precision": "fp32", "tensorboard": False}


@dataclass
class Bench:
    """A task that is checked, the arguments of the check, and the findings so far.

    Args:
        name: The task's name.
        plugins: Where it is registered.
        config: Its settings.
        folder: An empty folder to write to.
        unused: Patterns of parameters that rightly never get a gradient.
        prompt: A prompt that a sample can begin with; "" if none is known.
        label: A class to sample, "" for any.
        ranks: How many processes train it together; 1 starts none.
    """

    name: str
    plugins: Plugins
    config: Config
    folder: Path
    unused: tuple[str, ...] = ()
    prompt: str = ""
    label: str = ""
    ranks: int = 1

    def __post_init__(self) -> None:
        #: Findings by rules' names, made while something else was checked.
        self.found: defaultdict[str, list[str]] = defaultdict(list)
        #: Names of rules that could be checked meanwhile.
        self.looked: set[str] = set()
        #: The run whose first steps were watched, and what ended them early.
        self.watched: Run | None = None
        self.error: Exception | None = None

    @property
    def authors(self) -> list[type]:
        """The objects in whose code an error's place is looked for."""
        return [self.plugins.task(self.name)]

    @property
    def run(self) -> Run:
        """A run that has played the first step of each of its stages.

        Raises:
            Skip: A first step could not be played.
        """
        if self.watched is None or self.error is not None:
            raise Skip("its first steps could not be played")
        return self.watched

    def new(self, folder: str = "", **changes: Any) -> Run:
        """Make a run, in a folder of this name if one is given."""
        config = self.config.model_copy(update=changes)
        return new_run(config, self.plugins, self.folder / folder if folder else None)

    def again(self, run: Run) -> Run:
        """Save a run that has a folder, and open it again as ``mmgan resume`` would."""
        run.save()
        return load_run(run.checkpoints.parent, self.plugins)


@dataclass(frozen=True)
class Span:
    """The steps of a stage.

    Args:
        stage: The stage.
        start: Its first step.
        end: The step after its last one.
    """

    stage: Stage
    start: int
    end: int


def spans(run: Run) -> list[Span]:
    """Return the steps of each of a run's stages, up to the first one without an end."""
    found, start = [], 0
    for stage in run.stages:
        end = sys.maxsize if stage.steps is None else start + stage.steps
        if end > start:
            found.append(Span(stage, start, end))
        if stage.steps is None:
            break
        start = end
    return found


def play(run: Run, start: int, until: int) -> None:
    """Play steps without listeners.

    Args:
        run: The run.
        start: The first; the run jumps to it. So a stage can be played without those before it, which may
            be long.
        until: The step after the last one.

    Raises:
        DivergedError: A loss or a gradient is not finite.
    """
    run.step = start
    with engine.playing(run):
        engine.play(run, until, heard=False)
        run.check_finite()
