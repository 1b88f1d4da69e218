"""Where texts come from: a text file, or a folder of them. A plugin may bring other sources."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from mmgan.data.tree import FileTree

_SUFFIXES = {".txt", ".text"}
#: A longer line is no text but a file without line breaks, and would take the memory of the machine.
_LONGEST_LINE = 1_000_000
#: How many bytes of a file are looked at in one go.
_BLOCK = 1 << 20
#: Control characters and lone surrogates, but for white space; and the byte order mark, which also stands
#: where files were joined.
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff]+")


class TextSource(Protocol):
    """Texts in an order that stays. ``str(source)`` is what a person calls it."""

    #: How many files were passed over because their names are not those of texts.
    others: int
    #: How many lines had no text, and the name of what can't be read, and why. Of the last reading.
    blank: int
    skipped: list[tuple[str, str]]

    def texts(self) -> Iterator[str]:
        """Read the texts, each one not empty and as :func:`clean_text` leaves it."""


class TextFolder(FileTree):
    """The lines of all text files below a folder: each one is a text.

    A file is UTF-8, or UTF-16 with a byte order mark. Any other one is skipped as a whole.

    Args:
        path: A folder, or a single file, whatever its suffix.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SUFFIXES)
        #: How many lines had no text in the last reading.
        self.blank = 0
        #: The name of each file that was skipped in the last reading, or in which a line was, and why.
        self.skipped: list[tuple[str, str]] = []

    def texts(self) -> Iterator[str]:
        """Read the texts, file by file; one line at a time is in memory."""
        self.blank = 0
        self.skipped = []
        for index in range(len(self)):
            name = self.name(index)
            try:
                path = self.file(index)
                # The whole file is checked before its first text is given.
                for number, line in _lines(path, _encoding(path)):
                    if line is None:
                        reason = f"line {number:,} has more than {_LONGEST_LINE:,} characters"
                        self.skipped.append((name, reason))
                    elif text := clean_text(line):
                        yield text
                    else:
                        self.blank += 1
            except OSError as error:
                self.skipped.append((name, (error.strerror or str(error)).lower()))
            except ValueError as error:
                self.skipped.append((name, str(error)))


def clean_text(line: str) -> str:
    """Return a text as one line in Unicode's composed form (NFC).

    White space of any kind becomes a single space, and none is left at the ends. Control characters and
    lone surrogates are taken out.
    """
    return " ".join(_UNWANTED.sub("", unicodedata.normalize("NFC", line)).split())


def _encoding(path: Path) -> str:
    """Return the encoding of a file after a look at all of it, a block at a time.

    Raises:
        ValueError: It is binary, or in no known encoding.
        OSError: It can't be read.
    """
    with path.open("rb") as file:
        block = file.read(_BLOCK)
        encoding = "utf-16" if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
        decoder = codecs.getincrementaldecoder(encoding)()
        start = 0
        while True:
            if encoding == "utf-8" and b"\0" in block:
                raise ValueError("binary: it holds NUL bytes")
            # The last block may have ended within a character, which is decoded together with this one.
            left = len(decoder.getstate()[0])
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                where = start - left + error.start
                advice = "; convert it with iconv" if encoding == "utf-8" else ""
                raise ValueError(f"not {encoding.upper()} at byte {where}{advice}") from error
            if "\0" in text:
                raise ValueError("binary: it holds NUL characters")
            if not block:
                return encoding
            start += len(block)
            block = file.read(_BLOCK)


def _lines(path: Path, encoding: str) -> Iterator[tuple[int, str | None]]:
    """Yield a file's lines, numbered from 1; None for one that is too long to be held."""
    with path.open(encoding=encoding) as file:
        number = 0
        while line := file.readline(_LONGEST_LINE + 1):
            number += 1
            if len(line) <= _LONGEST_LINE or line.endswith("\n"):
                yield number, line
                continue
            while (rest := file.readline(_LONGEST_LINE)) and not rest.endswith("\n"):
                pass
            yield number, None
