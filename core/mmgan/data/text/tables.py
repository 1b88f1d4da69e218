"""Texts in a named column: of CSV and TSV files, of JSON Lines, and of JSON files that hold a list."""

from __future__ import annotations

import csv
import itertools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmgan.data.text.feed import Feed, RecordTooLongError
from mmgan.data.text.lines import LONGEST, TOO_LONG, Lost, Placed, beginning, damage, is_damaged, raw_lines
from mmgan.errors import DataError, did_you_mean

#: How many records, and values of each, are examined to find the columns of texts.
_RECORDS, _VALUES = 1_000, 100_000
#: Most characters of a JSON list, which is in memory as a whole.
_LARGEST_LIST = 64 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
#: How many columns a message names, and how many characters of each.
_NAMED, _NAME = 20, 40
# An integer may have any number of digits, which int() would refuse.
_JSON = json.JSONDecoder(parse_int=float)


class Table(ABC):
    """A file of records that have columns, one of which holds the texts.

    Args:
        path: The file.
        column: Which column to read; "": the one named ``text``, or the only one that holds texts.

    Raises:
        DataError: The column is missing, or it is not clear which one to read.
        ValueError: The file can't be read at all.
        OSError: It is missing, or may not be read.
    """

    #: The noun for the place of a text.
    noun = "line"
    #: The names of columns in the first record, where it holds them.
    _header: Sequence[str] = ()

    def __init__(self, path: Path, column: str = "") -> None:
        self.path = path
        self._damage = damage(path)
        #: The column that is read; None where the records are texts and have no columns.
        self.column = self._choose(column)

    @abstractmethod
    def texts(self) -> Iterator[Placed]:
        """Yield the column's texts; "" where it is empty.

        Raises:
            ValueError: The file can't be read.
            OSError: The same.
        """

    @abstractmethod
    def _records(self) -> Iterator[tuple[int, Any]]:
        """Yield each record and its place, or a :class:`Lost`."""

    @abstractmethod
    def _values(self, record: Any) -> dict[str, Any]:
        """Return a record's columns by their names."""

    def _choose(self, column: str) -> str | None:
        columns = dict.fromkeys(self._header, False)
        values = 0
        for _, record in itertools.islice(self._records(), int(bool(self._header)), _RECORDS):
            for name, value in self._values(record).items():
                columns[name] = columns.get(name, False) or _is_text(value)
                values += 1
            if values > _VALUES:
                break
        if not columns or (column and column in columns):
            return column or None
        texts = [name for name, is_text in columns.items() if is_text]
        if not column and ("text" in columns or len(texts) == 1):
            return "text" if "text" in columns else texts[0]
        problem = "has several columns of texts." if texts else "has no column of texts."
        if column:
            names = [name[:_NAME] for name in itertools.islice(columns, 1_000)]
            problem = f"has no column {column[:_NAME]!r}. {did_you_mean(column[:_NAME], names)}".rstrip()
        raise self._unclear(problem, list(columns))

    def _unclear(self, problem: str, columns: list[str]) -> DataError:
        named = ", ".join(repr(name[:_NAME]) for name in columns[:_NAMED])
        more = f" and {len(columns) - _NAMED:,} more" if len(columns) > _NAMED else ""
        return DataError(
            f"{self.path.name!r} {problem} Its columns are {named}{more}.",
            hint="Name the column of texts by --set column=NAME.",
        )


class CsvTable(Table):
    """A CSV or TSV file, with ``,`` ``;`` ``|`` or a tab between fields, which may be quoted.

    Its first record names the columns. If ``column`` is a number and not such a name, the file has no header,
    and the number counts the columns from 1.
    """

    def __init__(self, path: Path, column: str = "") -> None:
        # The length of records is bounded below.
        csv.field_size_limit(max(csv.field_size_limit(), 2 * LONGEST))
        self.path = path
        self._delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(path)
        head = next(self._records(), (0, Lost("empty")))[1]
        if isinstance(head, Lost):
            raise ValueError(f"its header is {head.reason}")
        self._header = [name.strip("\ufeff \t\n") for name in head]
        self._width = len(head)
        super().__init__(path, column)
        chosen = self.column or ""
        self._index = self._header.index(chosen) if self._header else int(chosen) - 1

    def texts(self) -> Iterator[Placed]:
        """Yield the column's texts; see :class:`Table`."""
        for number, fields in itertools.islice(self._records(), int(bool(self._header)), None):
            if isinstance(fields, Lost):
                yield number, fields
            elif any(fields[self._width :]):
                yield number, Lost("more fields than columns: quotes are missing")
            elif self._index >= len(fields):
                yield number, Lost("too few fields")
            else:
                text = fields[self._index]
                yield number, self._damage if is_damaged(text) else text

    def _choose(self, column: str) -> str:
        numbers = map(str, range(1, self._width + 1))
        if column not in self._header and column in numbers:
            self._header = ()
            return column
        chosen = super()._choose(column) or ""
        if (count := self._header.count(chosen)) > 1:
            raise self._unclear(f"has {count} columns {chosen[:_NAME]!r}.", list(self._header))
        return chosen

    def _unclear(self, problem: str, columns: list[str]) -> DataError:
        error = super()._unclear(problem, columns)
        error.hint += " Of a CSV file without a header give its number, from 1."
        return error

    def _values(self, record: list[str] | Lost) -> dict[str, Any]:
        return {} if isinstance(record, Lost) else dict(zip(self._header, record, strict=False))

    def _records(self) -> Iterator[tuple[int, list[str] | Lost]]:
        feed = Feed(raw_lines(self.path))
        reader = csv.reader(feed, delimiter=self._delimiter, skipinitialspace=True, strict=True)
        while True:
            feed.begin()
            try:
                if record := next(reader):
                    yield feed.first, record
            except StopIteration:
                return
            except csv.Error:
                yield from feed.lose(Lost("not CSV: a quote too many or too few"))
            except RecordTooLongError:
                yield from feed.lose(TOO_LONG)


class JsonTable(Table):
    """JSON Lines, or a JSON list: of objects, whose keys are the columns, or of texts."""

    def __init__(self, path: Path, column: str = "") -> None:
        # A file of lines may be called .json too.
        start = beginning(path).lstrip("\ufeff \t\r\n")
        self._is_list = path.suffix.lower() == ".json" and start.startswith("[")
        if self._is_list:
            self.noun = "item"
        super().__init__(path, column)

    def texts(self) -> Iterator[Placed]:
        """Yield the column's texts; see :class:`Table`."""
        for number, record in self._records():
            text = record.get(self.column) if isinstance(record, dict) else record
            if text is None:
                yield number, ""
            elif isinstance(text, str | Lost):
                yield number, text
            else:
                yield number, Lost("not a text")

    def _values(self, record: Any) -> dict[str, Any]:
        return record if isinstance(record, dict) else {}

    def _records(self) -> Iterator[tuple[int, Any]]:
        return self._items() if self._is_list else self._lines()

    def _lines(self) -> Iterator[tuple[int, Any]]:
        for number, line in raw_lines(self.path):
            if isinstance(line, Lost):
                yield number, line
            elif is_damaged(line):
                yield number, self._damage
            elif text := line.strip("\ufeff \t\r\n"):
                value, end = _parse(text, 0)
                yield number, value if end == len(text) else Lost("not JSON")

    def _items(self) -> Iterator[tuple[int, Any]]:
        text = beginning(self.path, _LARGEST_LIST + 1)
        if len(text) > _LARGEST_LIST:
            raise ValueError(f"longer than {_LARGEST_LIST >> 20} MiB: make it .jsonl, with one object a line")
        position = text.index("[") + 1
        if text.startswith("]", _behind_space(text, position)):
            return
        # If an item can't be read, the start of the next one is unknown.
        broken = Lost("not JSON, and what follows is lost")
        for number in itertools.count(1):
            start = position
            item, end = _parse(text, _behind_space(text, start))
            if isinstance(item, Lost):
                yield number, broken
                return
            yield number, self._damage if is_damaged(text[start:end]) else item
            end = _behind_space(text, end)
            position = end + 1
            if text[end:position] != ",":
                break
        if text[end:position] != "]" or _behind_space(text, position) != len(text):
            yield number + 1, broken


def _parse(text: str, start: int) -> tuple[Any, int]:
    """Return a JSON value, or the reason why it is invalid, and where it ends."""
    try:
        return _JSON.raw_decode(text, start)
    except ValueError:
        return Lost("not JSON"), len(text)
    except RecursionError:
        return Lost("nested too deeply"), len(text)


def _behind_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _delimiter(path: Path) -> str:
    """Return the delimiter that divides the first line into the most fields; by default a comma."""
    line = next(iter(beginning(path).lstrip("\ufeff\r\n").splitlines()), "")
    return max(",;\t|", key=lambda delimiter: len(next(csv.reader([line], delimiter=delimiter), [])))


def _is_text(value: object) -> bool:
    """Whether a value is a text, and not a number written as text."""
    if not isinstance(value, str) or not value.strip():
        return False
    try:
        float(value[:_NAME])
    except ValueError:
        return True
    return len(value) > _NAME
