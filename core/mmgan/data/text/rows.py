"""Compact storage of texts: each distinct one once, its tokens without padding."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmgan.data.text.tokenizers import BOUNDARY, UNKNOWN, Tokenizer

#: How many texts are encoded at once.
_BATCH = 4_096


class Repeated(Sequence[str]):
    """Texts, many of which may be equal.

    Args:
        distinct: The distinct ones.
        numbers: int32 (texts,): the number of each text among them.
    """

    def __init__(self, distinct: Sequence[str], numbers: NDArray[np.int32]) -> None:
        self.distinct = distinct
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Repeated: ...
    def __getitem__(self, index: int | slice) -> str | Repeated:
        if isinstance(index, slice):
            return Repeated(self.distinct, self.numbers[index])
        return self.distinct[int(self.numbers[index])]


class TokenRows:
    """The tokens of the distinct texts, end to end.

    Args:
        tokenizer: Encodes the texts.
        distinct: The distinct texts.
        length: The most tokens of a text; longer ones are cut.
        report: Called with the number of texts that are done.
    """

    def __init__(
        self, tokenizer: Tokenizer, distinct: Sequence[str], length: int, report: Callable[[int], None]
    ) -> None:
        self._tokenizer = tokenizer
        self._length = length
        tokens, lengths, cut = array("i"), array("i"), bytearray()
        for start in range(0, len(distinct), _BATCH):
            for row in tokenizer.encode_all(distinct[start : start + _BATCH]):
                tokens.extend(row[:length])
                lengths.append(min(len(row), length))
                cut.append(len(row) > length)
            report(len(lengths))
        self._tokens = torch.from_numpy(np.array(tokens, dtype=np.int32))
        #: int64 (distinct texts,): how many tokens each one has.
        self.lengths = torch.from_numpy(np.array(lengths, dtype=np.int64))
        #: bool (distinct texts,): whether it was cut.
        self.cut = torch.from_numpy(np.array(cut, dtype=bool))
        self._starts = self.lengths.cumsum(0) - self.lengths

    def rows(self, numbers: Tensor) -> Tensor:
        """Return texts by their numbers (n,), padded with BOUNDARY: int32 (n, length)."""
        places = torch.arange(self._length)
        inside = places < self.lengths[numbers, None]
        found = self._tokens[torch.where(inside, self._starts[numbers, None] + places, 0)]
        return torch.where(inside, found, BOUNDARY)

    def unknown(self, numbers: Tensor) -> float:
        """Return the fraction of UNKNOWN among the tokens of texts with these numbers (n,)."""
        times = torch.bincount(numbers, minlength=len(self.lengths))
        unknown = (self._tokens == UNKNOWN) * times.repeat_interleave(self.lengths)
        return float(unknown.sum() / (self.lengths * times).sum())

    def decode(self) -> list[str]:
        """Return the distinct texts, decoded from their tokens."""
        texts: list[str] = []
        for first in range(0, len(self.lengths), _BATCH):
            lengths, start = self.lengths[first : first + _BATCH], int(self._starts[first])
            tokens = iter(self._tokens[start : start + int(lengths.sum())].tolist())
            texts += [self._tokenizer.decode(itertools.islice(tokens, length)) for length in lengths.tolist()]
        return texts
