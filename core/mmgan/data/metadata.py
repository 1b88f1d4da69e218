"""``metadata.jsonl`` and ``metadata.csv``, as Hugging Face's ImageFolder and AudioFolder have them.

Each line describes one file: ``file_name``, its path below the metadata file's own folder, and columns of any
other names. Files and lines are bounded. A line that can't be read is noted and passed over; a file of which
nothing can be used is an error.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmgan.data.files import open_data
from mmgan.errors import DataError, line, shown

Value = str | int | float | bool

#: The names that metadata files have, in small letters.
METADATA = ("metadata.csv", "metadata.jsonl")
#: What is read at most: bytes of a file, a line and a text; columns; characters of a column's name.
FILE_SIZE, LINE_SIZE, TEXT_SIZE, COLUMNS, _NAME_LENGTH = 1 << 30, 1 << 20, 64 << 10, 1000, 200

_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LISTED = 100


class Problems:
    """What is wrong with lines and files: the first hundred problems, and how many more there are."""

    def __init__(self) -> None:
        self._listed: list[tuple[str, str]] = []
        self._more = 0
        self._told: set[tuple[str, ...]] = set()

    def add(self, where: str, what: str, *, once: tuple[str, ...] = ()) -> None:
        """Note what is wrong, and where; of all problems with an equal ``once`` only the first one."""
        if once and once in self._told:
            return
        if len(self._listed) >= _LISTED:
            self._more += 1
            return
        if once:
            self._told.add(once)
        self._listed.append((where, what))

    def listed(self) -> list[tuple[str, str]]:
        """Return where each problem is (``metadata.csv:17``: the line), and what is wrong."""
        return self._listed + [("others", f"{self._more:,} more problems")] * bool(self._more)


Row = tuple[str, str, dict[str, Any]]


def read_rows(path: Path, name: str, problems: Problems) -> Iterator[Row]:
    """Read a metadata file, line by line.

    Args:
        path: Where it is. By its suffix it holds comma-separated values, or a JSON object a line.
        name: What problems call it.
        problems: Gains what can't be read.

    Yields:
        Where it is written (``metadata.csv:17``); the ``file_name``; the other columns. The values of CSV are
        texts, and the empty ones are left out. They are not checked: see :func:`checked`.

    Raises:
        DataError: It can't be read or is too large, or nothing in it names a file.
    """
    try:
        file = open_data(path)
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else line(error)
        raise DataError(f"{str(path)!r} can't be read: {what}.") from None
    with file:
        if (size := os.fstat(file.fileno()).st_size) > FILE_SIZE:
            raise DataError(f"{str(path)!r} has {size:,} bytes; at most {FILE_SIZE:,} are read.")
        lines = _lines(file, name, problems)
        rows = _csv_rows if path.suffix == ".csv" else _json_rows
        yield from rows(lines, path, problems)


def checked(value: object) -> Value | None:
    """Return a value of a column; ValueError says why it is none that a column can have."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if -(1 << 63) <= value < 1 << 63:
            return value
        raise ValueError("an integer of more than 64 bits")
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise ValueError("not a finite number")
    if isinstance(value, str):
        return checked_text(value)
    raise ValueError("a list or an object, which is not read")


def checked_text(text: str) -> str:
    """Return a text; ValueError says what is wrong with it."""
    if "\0" in text:
        raise ValueError("not text, but bytes with zeros")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # what was decoded with "surrogateescape", or written as \ud800
        raise ValueError("not UTF-8") from None
    if size > TEXT_SIZE:
        raise ValueError(f"longer than {TEXT_SIZE >> 10} KiB")
    return text


def column_name(name: str) -> str:
    """Return a column's name; ValueError says what is wrong with it."""
    if not 0 < len(name) <= _NAME_LENGTH:
        raise ValueError(f"a column's name has 1 to {_NAME_LENGTH} characters")
    return checked_text(name)


def as_text(value: Value | None) -> str | None:
    """Return a label or a caption as text, without white space around it; None where there is nothing.

    A whole number has no fraction: a column of integers in which some are missing is often written as floats.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        value = int(value)
    return (str(value).strip() or None) if value is not None else None


def as_numbers(values: Iterable[Value]) -> list[Value]:
    """Return a column of CSV: all integers, or else all finite floats, or else the texts."""
    texts = [str(value) for value in values]
    if all(_INTEGER.fullmatch(text) for text in texts):
        integers = [int(text) for text in texts]
        if all(-(1 << 63) <= integer < 1 << 63 for integer in integers):
            return [*integers]
    elif all(_NUMBER.fullmatch(text) for text in texts):
        numbers = [float(text) for text in texts]
        if all(map(math.isfinite, numbers)):
            return [*numbers]
    return [*texts]


def _lines(file: Any, name: str, problems: Problems) -> Iterator[tuple[str, str]]:
    """Yield where each line is, and its text. Bytes that are not UTF-8 become surrogates, to be refused."""
    number = 0
    while data := file.readline(LINE_SIZE + 1):
        number += 1
        where = f"{name}:{number}"
        if len(data) > LINE_SIZE:
            problems.add(where, f"a line of more than {LINE_SIZE >> 20} MiB")
            while not data.endswith(b"\n") and (data := file.readline(LINE_SIZE)):
                pass
            continue
        text = data.decode(errors="surrogateescape")
        yield where, text.removeprefix("\ufeff") if number == 1 else text


def _json_rows(lines: Iterator[tuple[str, str]], path: Path, problems: Problems) -> Iterator[Row]:
    first, named = "", False
    for where, text in lines:
        if not text.strip():
            continue
        first = first or text.strip()
        try:
            row = json.loads(text)
        except RecursionError:
            problems.add(where, "nested too deeply")
            continue
        except ValueError:  # not JSON, or an integer of thousands of digits
            problems.add(where, "not JSON")
            continue
        if not isinstance(row, dict):
            problems.add(where, "not a JSON object")
            continue
        name = row.pop("file_name", None)
        if not isinstance(name, str):
            problems.add(where, "no file_name" if name is None else "file_name is not a text")
            continue
        named = True
        yield where, name, row
    if not named:
        raise DataError(
            f"{str(path)!r} names no file: none of its lines is a JSON object with a file_name; "
            f"the first is {shown(first)}.",
            hint='A line is such as {"file_name": "cat/1.png", "label": "cat"}.',
        )


def _csv_rows(lines: Iterator[tuple[str, str]], path: Path, problems: Problems) -> Iterator[Row]:
    places: list[str] = []  # of the lines of a record, which are several where a value in quotes has several

    def texts() -> Iterator[str]:
        for where, text in lines:
            places.append(where)
            yield text

    # Strict, so that a quotation mark that is never closed is told of.
    reader = csv.reader(texts(), strict=True)
    header = [column.strip() for column in _record(reader) or []]
    hint = "The first line names the columns, with commas between them, such as file_name,label."
    if "file_name" not in header:
        raise DataError(
            f"{str(path)!r} has no column file_name; its first line is {shown(','.join(header))}.",
            hint=hint,
        )
    twice = [column for column, count in Counter(header).items() if column and count > 1]
    if twice:
        raise DataError(f"{str(path)!r} has two columns {shown(twice[0])}.", hint=hint)
    places.clear()
    while (fields := _record(reader)) != []:
        where = places[0]
        places.clear()
        if fields is None:
            problems.add(where, "not CSV: see its quotation marks")
        elif len(fields) > len(header):
            problems.add(where, f"{len(fields)} fields where the first line names {len(header)} columns")
        else:
            row: dict[str, Any] = dict(zip(header, fields, strict=False))
            name = row.pop("file_name", "")
            # A column without a name is an index, as pandas writes it.
            row = {column: value for column, value in row.items() if column and value}
            if name:
                yield where, name, row
            else:
                problems.add(where, "no file_name")


def _record(reader: Iterator[list[str]]) -> list[str] | None:
    """Return the fields of the next line that is not blank: none at the end, None if it is not CSV."""
    try:
        return next((fields for fields in reader if fields), [])
    except csv.Error:
        return None
