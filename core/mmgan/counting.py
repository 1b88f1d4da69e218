"""Numbers with their nouns, for messages."""

from __future__ import annotations

import itertools
from collections.abc import Collection


def counted(n: int, noun: str, nouns: str = "") -> str:
    """Write ``"1 sample"``, ``"2,000 samples"``.

    Args:
        n: How many.
        noun: For one.
        nouns: For any other number; by default ``noun`` with an s.
    """
    return f"{n:,} {noun if n == 1 else nouns or noun + 's'}"


def some(names: Collection[str], most: int = 3) -> str:
    """Write a few names, and how many more there are."""
    more = len(names) - most
    return ", ".join(itertools.islice(names, most)) + (f" and {more} more" if more > 0 else "")
