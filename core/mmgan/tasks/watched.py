"""Batches of pictures, and how many of them are done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor


def pictures(dataset: Any, which: Tensor, chunk: int) -> Iterator[Tensor]:
    """Return pictures of a data set in batches.

    Args:
        dataset: Its ``pictures`` takes int64 (batch,).
        which: int64 (n,).
        chunk: Of how many a batch is.
    """
    return (dataset.pictures(part) for part in torch.split(which, chunk))


class Told:
    """Counts what is done, and tells it.

    Args:
        progress: Told (done, total); None: nobody.
        total: How many there will be.
    """

    def __init__(self, progress: Callable[[int, int], None] | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pass batches on, and count what they hold."""
        for batch in batches:
            yield batch
            self.add(len(batch))

    def add(self, count: int = 1) -> None:
        """Count some more."""
        self._done += count
        if self._progress is not None:
            self._progress(self._done, max(self._total, self._done))
