"""Texts as rows of tokens, without the padding that would take most of the memory."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mmgan.data.tokenizers import BOUNDARY, UNKNOWN, Tokenizer

#: How many texts are encoded in one go.
_BATCH = 4_096


class TokenRows:
    """The tokens of texts, end to end.

    Args:
        tokenizer: What makes them.
        texts: The texts.
        length: How many tokens a text has at most; longer ones are cut.
        report: Told now and then how many texts are done.
    """

    def __init__(
        self, tokenizer: Tokenizer, texts: Sequence[str], length: int, report: Callable[[int], None]
    ) -> None:
        self._length = length
        #: How many texts were cut.
        self.cut = 0
        tokens, lengths = array("i"), array("i")
        for start in range(0, len(texts), _BATCH):
            for row in tokenizer.encode_all(texts[start : start + _BATCH]):
                self.cut += len(row) > length
                tokens.extend(row[:length])
                lengths.append(min(len(row), length))
            report(min(start + _BATCH, len(texts)))
        self._tokens = torch.from_numpy(np.array(tokens, dtype=np.int32))
        #: int64 (texts,): how many tokens each one has.
        self.lengths = torch.from_numpy(np.array(lengths, dtype=np.int64))
        self._starts = self.lengths.cumsum(0) - self.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def unknown(self) -> float:
        """The share of UNKNOWN among all tokens."""
        return float((self._tokens == UNKNOWN).sum() / len(self._tokens))

    def rows(self, indices: Tensor) -> Tensor:
        """Return texts with these indices, int64 (n,), padded with BOUNDARY: int32 (n, length)."""
        places = torch.arange(self._length)
        inside = places < self.lengths[indices, None]
        found = self._tokens[torch.where(inside, self._starts[indices, None] + places, 0)]
        return torch.where(inside, found, BOUNDARY)

    def decode(self, tokenizer: Tokenizer) -> list[str]:
        """Return the texts as their tokens tell them."""
        texts: list[str] = []
        for first in range(0, len(self), _BATCH):
            lengths = self.lengths[first : first + _BATCH]
            start = int(self._starts[first])
            tokens = iter(self._tokens[start : start + int(lengths.sum())].tolist())
            texts += [tokenizer.decode(itertools.islice(tokens, length)) for length in lengths.tolist()]
        return texts
