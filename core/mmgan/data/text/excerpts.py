"""An excerpt of the texts that sentencepiece can be trained on in a few seconds."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

# What sentencepiece is trained on. Its time grows with the characters of the different words, and faster than
# they do where words are long and repeat themselves: one word of a million letters takes it many minutes.
_TRAINING_CHARACTERS = 10_000_000
_TRAINING_TEXTS = 1_000_000
_TRAINING_WORDS = 500_000
TEXT_CHARACTERS = 2_000
#: The longest piece. Longer words are cut into parts; scripts without spaces have many.
_WORD_CHARACTERS = 16
#: What sentencepiece writes for a space and for an unknown character: texts that hold them would confuse it.
SPACE, UNSEEN = "\u2581", "\u2585"

T = TypeVar("T")


def excerpts(texts: Sequence[str], vocabulary: int) -> Iterator[str]:
    """Return what sentencepiece is trained on: no more of the texts than it can process in a few seconds.

    Of too many texts, an evenly spaced part is taken. If the alphabet would fill more than half of the
    vocabulary, its rarest characters are removed: they will be UNKNOWN.
    """
    characters = sum(min(len(text), TEXT_CHARACTERS) for text in texts)
    times = max(characters / _TRAINING_CHARACTERS, len(texts) / _TRAINING_TEXTS)
    chosen = [text[:TEXT_CHARACTERS] for text in _evenly(texts, times)]
    counts = Counter(itertools.chain.from_iterable(chosen))
    for reserved in (SPACE, UNSEEN, " "):
        del counts[reserved]
    alphabet = sorted(counts, key=lambda character: (-counts[character], character))
    # One of the pieces is the space's.
    rare = dict.fromkeys(map(ord, [*alphabet[vocabulary // 2 - 1 :], SPACE, UNSEEN]), " ")

    # Made twice and never kept: a list of all words would take more memory than everything else.
    def words(text: str) -> list[str]:
        return _short_words(text.translate(rare))

    characters = sum(map(len, set(itertools.chain.from_iterable(map(words, chosen)))))
    return filter(None, (" ".join(words(text)) for text in _evenly(chosen, characters / _TRAINING_WORDS)))


def _evenly(items: Sequence[T], times: float) -> Sequence[T]:
    """Return evenly spaced items: one of every ``times``."""
    return items[:: max(1, math.ceil(times))]


def _short_words(text: str) -> list[str]:
    return [
        word[start : start + _WORD_CHARACTERS]
        for word in text.split()
        for start in range(0, len(word), _WORD_CHARACTERS)
    ]
