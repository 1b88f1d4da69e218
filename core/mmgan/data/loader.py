"""An endless stream of batches from a data set, which can be resumed anywhere.

Batch ``k`` is a function of (data set, batch size, seed, ``k``) and of nothing else. So the loader's whole
state is one integer, and neither worker processes nor a resumed run can change what a batch holds. Where the
batch size changes on the way, the state is two: the batches taken, and the example that the next begins with.
"""

from __future__ import annotations

import hashlib
import os
import reprlib
import signal
import warnings
from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils import data as torch_data

from mmgan.counting import counted
from mmgan.data.dataset import Dataset, Draw
from mmgan.errors import CheckpointError, DataError

#: Examples are counted in 64 bits, with room for what is still to come.
_LARGEST = 2**62 - 1


class Loader(Iterator[Any]):
    """An endless iterator over batches.

    The examples come as one permutation of the data set after another. With ``world`` ranks a batch takes
    ``batch_size * world`` of them, and rank ``r`` every ``world``-th. Nothing is dropped: a batch may
    straddle two epochs, and a data set smaller than a batch repeats.

    Args:
        dataset: What to draw from.
        batch_size: Examples in a batch, on each rank.
        seed: Of the order and of augmentation, at least 0 and below 2**63.
        workers: Processes that prepare batches; 0 prepares them in this one.
        rank: Which share of each batch is ours, below ``world``.
        world: Number of ranks.
        pin_memory: Give page-locked tensors, which copy to a GPU without waiting.

    Raises:
        DataError: The data set is empty.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        pin_memory: bool = False,
    ) -> None:
        if not len(dataset):
            raise DataError("The data set has no examples.", hint="Give --data something to train on.")
        #: What the batches are drawn from.
        self.dataset = dataset
        #: How many batches were taken so far.
        self.position = 0
        self._batches = _Batches(dataset, batch_size, seed, rank, world)
        #: Examples of all ranks in a batch of the size that was asked for first.
        self._usual = batch_size * world
        self._workers = workers
        self._pin_memory = pin_memory
        self._iterator: Iterator[Any] | None = None

    def __next__(self) -> Any:
        """Return the next batch, as the data set's ``batch`` made it."""
        if not self._workers and not self._pin_memory:
            # The same batch by the same function, without the machinery that workers need.
            batch = self._batches[self.position]
            self.position += 1
            return batch
        if self._iterator is None:
            self._iterator = iter(
                torch_data.DataLoader(
                    self._batches,
                    batch_size=None,
                    sampler=count(self.position),
                    num_workers=self._workers,
                    collate_fn=_unchanged,
                    pin_memory=self._pin_memory,
                    # Workers are seeded from this, and not from the global generator, whose state a resumed
                    # run must find as it left it.
                    generator=torch.Generator(),
                    worker_init_fn=_own_group,
                )
            )
        try:
            batch = next(self._iterator)
        except BaseException:
            # An error or Ctrl-C may have cost the iterator a batch: the next call starts again at `position`.
            self.close()
            raise
        self.position += 1
        return batch

    def reseed(self, seed: int) -> None:
        """Draw order and augmentation from another seed, from the next batch on."""
        self.close()
        self._batches.reseed(seed)

    def resize(self, batch_size: int) -> None:
        """Take another number of examples for each batch, on each rank, from the next one on.

        It begins with the example after the last one of the batch before: none is repeated or dropped.
        """
        if batch_size != self._batches.batch_size:
            self.close()
            self._batches.begin(self.position, self._batches.start(self.position), batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on from here.

        ``start``, the number of examples taken, is there where ``position`` batches of the size that the
        loader was made with are another number.
        """
        state: dict[str, Any] = {"position": self.position, "examples": len(self.dataset)}
        fingerprint, start = getattr(self.dataset, "fingerprint", ""), self._batches.start(self.position)
        state |= {"start": start} if start != self.position * self._usual else {}
        return state | ({"fingerprint": fingerprint} if fingerprint else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was taken.

        Raises:
            CheckpointError: It is not such a state: a number is missing, negative or too large to be counted.
        """
        position = _count(state, "position", _LARGEST // max(self._usual, self._batches.examples))
        start = _count({"start": position * self._usual, **state}, "start", _LARGEST)
        before = _count({"examples": len(self.dataset), **state}, "examples", _LARGEST)
        self.close()
        self.position = position
        self._batches.begin(position, start, self._batches.batch_size)
        if before != len(self.dataset):
            warnings.warn(
                f"The data had {counted(before, 'example')} when the run was saved, and now has "
                f"{len(self.dataset):,}: the run goes on, but not as if it had never stopped.",
                stacklevel=2,
            )

    def close(self) -> None:
        """Stop the workers. The next batch would start them again."""
        self._iterator = None


class _Batches(torch_data.Dataset[Any]):
    """Batches by their number: what a worker process gets a copy of."""

    def __init__(self, dataset: Dataset, batch_size: int, seed: int, rank: int, world: int) -> None:
        self._dataset = dataset
        self._seed = seed
        self._rank = rank
        self._world = world
        self.begin(0, 0, batch_size)
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def begin(self, number: int, start: int, batch_size: int) -> None:
        """Let batch ``number`` begin with example ``start``, and have it and all after it this size."""
        self.batch_size = batch_size
        #: How many examples the ranks take together for a batch.
        self.examples = batch_size * self._world
        self._first = number, start

    def start(self, number: int) -> int:
        """Return how many examples come before a batch."""
        first, start = self._first
        return start + (number - first) * self.examples

    def reseed(self, seed: int) -> None:
        self._seed, self._epoch = seed, -1

    def __getitem__(self, number: int) -> Any:
        size = len(self._dataset)
        start = self.start(number)
        stop = start + self.examples
        pieces = []
        position = start
        while position < stop:
            epoch, offset = divmod(position, size)
            pieces.append(self._permutation(epoch)[offset : offset + stop - position])
            position += len(pieces[-1])
        indices = torch.cat(pieces)[self._rank :: self._world]
        epochs = torch.arange(start, stop)[self._rank :: self._world] // size
        return self._dataset.batch(indices, Draw(self._seed, epochs, indices))

    def _permutation(self, epoch: int) -> Tensor:
        """Return the order of an epoch: int64 (size,). The latest is kept: batches come in order."""
        if epoch != self._epoch:
            digest = hashlib.blake2b(f"order/{self._seed}/{epoch}".encode(), digest_size=8).digest()
            # torch's CPU generator uses 32 bits of its seed; a hash spreads all of ours over them.
            generator = torch.Generator().manual_seed(int.from_bytes(digest, "little"))
            self._order = torch.randperm(len(self._dataset), generator=generator)
            self._epoch = epoch
        return self._order


def _count(state: dict[str, Any], name: str, most: int) -> int:
    """Return a number of a state, from 0 up to ``most``."""
    value = state.get(name)
    if type(value) is not int or not 0 <= value <= most:
        # Thousands of digits can't be shown.
        shown = "a huge number" if isinstance(value, int) and abs(value) > 2**64 else reprlib.repr(value)
        raise CheckpointError(
            f"In the checkpoint's place in the data {name} = {shown}, not a number from 0 to {most:,}.",
            hint="Remove the checkpoint, which was altered: `mmgan resume` takes the one before.",
        )
    return value


def _own_group(worker: int) -> None:
    """Leave Ctrl-C and ``kill``, which reach a whole process group, to the process that trains."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # Under torchrun a cluster's scheduler may send SIGTERM to every single process. A worker serves until
        # the run is saved, and ends with the process that trains.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _unchanged(batch: Any) -> Any:
    """Collate nothing: a data set makes whole batches. (By default DataLoader would convert some types.)"""
    return batch
