"""Lines for a CSV reader, which are read again if a record turns out to be malformed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from mmgan.data.text.lines import LONGEST, Lost, Placed

#: How many characters of a CSV file may be read again after an unclosed quote swallowed them.
_READ_AGAIN = 20 * LONGEST


class RecordTooLongError(Exception):
    """A record is longer than a line may be."""


class Feed:
    """Feeds lines to a CSV reader, and keeps those of the current record."""

    def __init__(self, lines: Iterator[Placed]) -> None:
        self._lines = lines
        self._again: deque[Placed] = deque()
        self._left = _READ_AGAIN
        self.begin()

    def begin(self) -> None:
        """Begin a record."""
        self._taken: list[Placed] = []
        self._length = 0

    @property
    def first(self) -> int:
        """The number of the record's first line."""
        return self._taken[0][0]

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> str:
        number, line = self._again.popleft() if self._again else next(self._lines)
        self._taken.append((number, line))
        if isinstance(line, Lost):
            raise RecordTooLongError
        self._length += len(line)
        if self._length > LONGEST:
            raise RecordTooLongError
        return line

    def lose(self, why: Lost) -> list[tuple[int, Lost]]:
        """Give up the record's first line, and return it. The others are read again.

        There is a limit, after which all are given up: a hostile file could take hours otherwise.
        """
        self._left -= self._length
        count = 1 if self._left > 0 else len(self._taken)
        self._again.extendleft(reversed(self._taken[count:]))
        return [(number, why) for number, _ in self._taken[:count]]
