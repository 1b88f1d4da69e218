"""Numbers with their nouns, for messages."""

from __future__ import annotations


def counted(n: int, noun: str, nouns: str = "") -> str:
    """Write ``"1 sample"``, ``"2,000 samples"``.

    Args:
        n: How many.
        noun: For one.
        nouns: For any other number; by default ``noun`` with an s.
    """
    return f"{n:,} {noun if n == 1 else nouns or noun + 's'}"
