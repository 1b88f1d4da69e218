"""What is known of a data set without its examples: their number and shape, its classes, its words.

It is kept in a run's checkpoints, so that a network can be built, and a label be looked up, where the data is
gone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

#: The most classes and words that are kept: with more of them a state.json would grow too large.
MOST_CLASSES, MOST_WORDS = 1 << 16, 1 << 15
#: Characters of a class's or a column's name, and of a word. Where words are not parted by spaces, a word may
#: be a sentence.
LONGEST_NAME, LONGEST_WORD = 1_000, 50

Name = Annotated[str, Field(max_length=LONGEST_NAME)]
Count = Annotated[int, Field(ge=0, lt=1 << 62)]


class DataInfo(BaseModel):
    """What is known of a data set without its examples. ``run.data_info`` is one.

    Attributes:
        examples: How many there are.
        shape: Of one example, such as (channels, height, width); () where it is not known.
        classes: The names of the classes; a label is a position in them. () where there are none.
        counts: How many examples each class has.
        columns: What a batch can hold beside the examples: "label", "text", a column of a table.
        vocabulary: The words of the column "text", the most frequent first, in small letters; at most 32,768
            of at most 50 characters. () where a batch does not hold it.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    examples: Count
    shape: tuple[Count, ...] = Field(default=(), max_length=8, strict=False)
    classes: tuple[Name, ...] = Field(default=(), max_length=MOST_CLASSES, strict=False)
    counts: tuple[Count, ...] = Field(default=(), max_length=MOST_CLASSES, strict=False)
    columns: tuple[Name, ...] = Field(default=(), max_length=1_001, strict=False)
    vocabulary: tuple[Name, ...] = Field(default=(), max_length=MOST_WORDS, strict=False)


def info_of(dataset: Any) -> DataInfo:
    """Return what a data set says of itself by an attribute ``info``, or else its number of examples."""
    info = getattr(dataset, "info", None)
    return info if isinstance(info, DataInfo) else DataInfo(examples=len(dataset))


def words(text: str) -> list[str]:
    """Split a text into words and punctuation marks, in small letters."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def vocabulary(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the words of the texts, the most frequent first, and equally frequent ones by the alphabet."""
    counts = Counter(word for text in texts for word in words(text) if len(word) <= LONGEST_WORD)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(word for word, _ in ordered[:MOST_WORDS])
