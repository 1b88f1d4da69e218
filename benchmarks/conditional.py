"""What the benchmarks of conditional GANs share: training for a time, and what a judge says of labels."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from torch import Tensor

import mmgan
from mmgan.config import check
from mmgan.listeners.progress import Progress
from mmgan.plugins import Plugins
from mmgan.storage.folder import CONFIG


class Timer:
    """A listener that ends training when a run has spent so much time in steps, resumed runs included.

    Args:
        seconds: The time. What logging, samples and checkpoints take is not counted.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    @mmgan.hookimpl(trylast=True)
    def after_step(self, run: mmgan.Run) -> None:
        """End training where the time is over."""
        if run.seconds >= self.seconds:
            run.finish(f"{self.seconds / 60:g} minutes of training are over")


def trained(settings: dict[str, Any], folder: Path, minutes: float | None = None) -> mmgan.Run:
    """Train a run in a folder, or go on with the one that is there, and return it.

    Args:
        settings: Of a new run.
        folder: Where the run is kept. One that was stopped is resumed; one that is whole is only opened.
        minutes: Time to spend in steps. None: until ``steps`` of the settings are done.
    """
    listeners: list[Any] = [Progress(sys.stderr, 30.0)]
    if minutes is not None:
        listeners.append(Timer(60 * minutes))
    plugins = Plugins(*listeners)
    if (folder / CONFIG).exists():
        run = mmgan.load_run(folder, plugins)
        run.seconds = json.loads((folder / "status.json").read_text())["seconds"]
    else:
        run = mmgan.new_run(check(plugins.task(settings["plugin"]).Config, settings), plugins, folder)
    whole = run.step >= run.config.steps if minutes is None else run.seconds >= 60 * minutes
    if not whole:
        print(f"{folder}: {run.dataset.description}", file=sys.stderr)
        mmgan.train(run)
    return run


def agreement(read: Tensor, asked: Tensor, names: list[str]) -> dict[str, Any]:
    """Return how often a judge reads the label that was asked for.

    Args:
        read: int64 (n,), what the judge reads.
        asked: int64 (n,), likewise.
        names: The name of each class.

    Returns:
        ``agreement``, the mean over the classes that were asked for; ``least``, that of the worst of them;
        and ``per_class``.
    """
    per_class = {
        name: round((read[asked == number] == number).float().mean().item(), 4)
        for number, name in enumerate(names)
        if (asked == number).any()
    }
    shares = list(per_class.values())
    return {"agreement": round(sum(shares) / len(shares), 4), "least": min(shares), "per_class": per_class}
