"""The rule for data."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch

from mmgan.backend import randomness
from mmgan.config import Config
from mmgan.data.loader import Loader
from mmgan.testing.bench import Bench
from mmgan.testing.compare import differences
from mmgan.testing.rules import rule, told

BATCHES = 4


@rule(
    "data",
    why="Worker processes get a copy of the data set, make batches in any order, and have other random "
    "numbers: the content of a batch must not depend on that.",
    mend="Store only what can be pickled (paths and arrays, not open files or lambdas), draw augmentation "
    "from `draw`, and don't change the data set in `batch`.",
)
def data(bench: Bench) -> Iterator[str]:
    """A pickled copy gives the same batches as the data set, in another order and under other seeds."""
    yield from unstable(bench.run.dataset, bench.config, *bench.authors)


def unstable(dataset: Any, config: Config, *authors: type | ModuleType) -> Iterator[str]:
    """Yield what is wrong with a data set: its batches must depend on their numbers only."""
    try:
        copy = pickle.loads(pickle.dumps(dataset))
    except Exception as error:  # Pickling calls the author's code.
        yield f"The data set can't be pickled: {told(error, type(dataset), *authors)}."
        return
    loader = Loader(dataset, config.batch_size, config.seed)
    batches = [next(loader) for _ in range(BATCHES)]
    # As a worker would: the copy, every other batch, and randomness of its own.
    worker = Loader(copy, config.batch_size, config.seed)
    with randomness.isolated(config.seed + 1, torch.device("cpu")):
        for number in range(BATCHES - 1, -1, -2):
            worker.position = number
            if list(differences(batches[number], next(worker))):
                yield f"Batch {number} differs between a worker process and the main one."
                return
