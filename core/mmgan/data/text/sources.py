"""Sources of texts: a text file or a table, or a folder of them. A plugin may add others."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from mmgan.data.text.lines import Lines, Losses, Lost, check
from mmgan.data.text.tables import CsvTable, JsonTable, Table
from mmgan.data.tree import FileTree
from mmgan.errors import DataError

_LINES = {".txt", ".text"}
_CSV = {".csv", ".tsv"}
_JSON = {".json", ".jsonl", ".ndjson"}
#: Control characters and lone surrogates, except white space; and the byte order mark, which also occurs
#: where files were joined.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff]+")


class TextSource(Protocol):
    """Texts in a fixed order. ``str(source)`` is its name for messages."""

    #: How many files were skipped because their names are not those of texts.
    others: int
    #: Of the last reading: how many lines had no text; the names of unreadable parts, and why. A source may
    #: also have ``columns``: the name of each table that it read, and its column.
    blank: int
    skipped: list[tuple[str, str]]

    def texts(self) -> Iterator[str]:
        """Read the texts, each one not empty and as :func:`clean_text` leaves it."""


class TextFolder(FileTree):
    """The texts of all files below a folder: lines of text files, and a column of tables.

    A file is UTF-8, or UTF-16 with a byte order mark. A line or record that can't be read is skipped, and the
    whole file if that is most of it. In a folder with text files, tables (.csv, .tsv, .json, .jsonl, .ndjson)
    are read only if a column is named, since they may be metadata of the texts.

    Args:
        path: A folder, or a single file; one that is not a table has lines, whatever its suffix.
        column: The column of tables to read; "": the one named ``text``, or the only one that holds texts.
    """

    def __init__(self, path: Path, column: str = "") -> None:
        super().__init__(path, _LINES)
        if column or not len(self):
            super().__init__(path, _LINES | _CSV | _JSON)
        self._column = column
        #: How many lines or records had no text in the last reading.
        self.blank = 0
        #: What was skipped in the last reading, a file or a part of it, and why.
        self.skipped: list[tuple[str, str]] = []
        #: The name of each table and its column, in the last reading.
        self.columns: list[tuple[str, str]] = []

    def texts(self) -> Iterator[str]:
        """Read the texts, file by file. One line or record at a time is in memory, but .json files are whole.

        Raises:
            DataError: The source is a single table, and it is not clear which column to read; or a column is
                named, but there are no tables.
        """
        self.blank = 0
        self.skipped = []
        self.columns = []
        if self._column and not any(self._is_table(index) for index in range(len(self))):
            raise DataError(
                f"column = {self._column!r}, but in {self} there is no table that has columns.",
                hint="Tables are .csv, .tsv, .jsonl, .ndjson and .json. Of other files, lines are read: take "
                "--set column away.",
            )
        for index in range(len(self)):
            name = self.name(index)
            try:
                yield from self._read(name, index)
            except OSError as error:
                self.skipped.append((name, (error.strerror or str(error)).lower()))
            except ValueError as error:
                self.skipped.append((name, str(error)))
            except DataError as error:
                if self.path.is_file():
                    raise
                self.skipped.append((name, error.message))

    def _read(self, name: str, index: int) -> Iterator[str]:
        """Read a file; it is checked as a whole before the first text is yielded."""
        path = self.file(index)
        source = self._open(path)
        check(source.texts(), source.noun)
        if isinstance(source, Table) and source.column is not None:
            self.columns.append((name, source.column))
        losses = Losses(name, source.noun)
        try:
            for place, text in source.texts():
                if isinstance(text, Lost):
                    losses.add(place, text)
                elif cleaned := clean_text(text):
                    yield cleaned
                else:
                    self.blank += 1
        finally:
            self.skipped += losses

    def _open(self, path: Path) -> Lines | Table:
        suffix = path.suffix.lower()
        if suffix in _CSV:
            return CsvTable(path, self._column)
        return JsonTable(path, self._column) if suffix in _JSON else Lines(path)

    def _is_table(self, index: int) -> bool:
        return Path(self.name(index)).suffix.lower() in _CSV | _JSON


def clean_text(line: str) -> str:
    """Return a text as one line in Unicode's composed form (NFC).

    Each run of white space becomes a single space, and none is left at the ends. Control characters and lone
    surrogates are removed.
    """
    return " ".join(_UNWANTED.sub("", unicodedata.normalize("NFC", line)).split())
