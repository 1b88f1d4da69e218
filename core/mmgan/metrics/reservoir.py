"""A uniform sample of a stream of rows, in bounded memory."""

from __future__ import annotations

import random

import torch
from torch import Tensor


class Reservoir:
    """Keeps a uniform random sample of the rows that are added (reservoir sampling, Vitter 1985).

    So data that is sorted by class is sampled fairly too. The same stream gives the same sample.

    Args:
        size: The most rows that are kept.
        width: Numbers in a row.
    """

    def __init__(self, size: int, width: int) -> None:
        self._rows = torch.empty(size, width)  # untouched rows cost no memory
        self._kept = torch.empty(size, dtype=torch.int64)
        self._chance = random.Random(0)
        self._seen = 0

    def add(self, rows: Tensor) -> None:
        """Add rows (n, width)."""
        size = len(self._rows)
        for row in rows.float().cpu():
            place = self._seen if self._seen < size else self._chance.randrange(self._seen + 1)
            if place < size:
                self._rows[place], self._kept[place] = row, self._seen
            self._seen += 1

    @property
    def rows(self) -> Tensor:
        """The rows that were kept: (rows, width)."""
        return self._rows[: self._seen]

    @property
    def kept(self) -> Tensor:
        """Which of the rows that were added each of :attr:`rows` is, from 0: int64 (rows,)."""
        return self._kept[: self._seen]
