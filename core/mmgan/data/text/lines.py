"""The lines of a text file with any content: of lines that can't be read, only those are skipped."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: A longer line is not a text but a file without line breaks, and would take the memory of the machine.
LONGEST = 1_000_000
#: How many places of lost texts are named.
_NAMED = 10

#: Stands for bytes that can't be decoded. No decoder produces it, since it is half a character.
_DAMAGE = "\udcff"
_HALF_CHARACTERS = re.compile("[\ud800-\udfff]")


def _mark(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return _DAMAGE, error.end
    raise error


codecs.register_error("mmgan.damage", _mark)


@dataclass(frozen=True)
class Lost:
    """Stands for a text that can't be read.

    Args:
        reason: Why, in a few words.
    """

    reason: str


#: A place in a file, counted from 1, and the text there.
Placed = tuple[int, str | Lost]

TOO_LONG = Lost(f"more than {LONGEST:,} characters")


class Losses:
    """The lost texts of a file: their number, and the places of the first ones.

    Args:
        file: The file's name.
        noun: The noun for a place: ``"line"``.
    """

    def __init__(self, file: str, noun: str) -> None:
        self._file, self._noun = file, noun
        self._counts: Counter[Lost] = Counter()
        self._places: dict[Lost, list[list[int]]] = {}

    def add(self, place: int, lost: Lost) -> None:
        """Count a loss."""
        self._counts[lost] += 1
        ranges = self._places.setdefault(lost, [])
        if ranges and ranges[-1][1] == place - 1:
            ranges[-1][1] = place
        elif len(ranges) <= _NAMED:
            ranges.append([place, place])

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield what was lost and why, for each reason: ``("line 5 of a.txt", "not UTF-8")``."""
        for lost, count in self._counts.items():
            ranges = self._places[lost][:_NAMED]
            if count == 1:
                yield f"{self._noun} {ranges[0][0]:,} of {self._file}", lost.reason
                continue
            named = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)
            more = "" if len(self._places[lost]) <= _NAMED else ", …"
            yield f"{count:,} {self._noun}s of {self._file}", f"{lost.reason}: {self._noun}s {named}{more}"


def is_damaged(text: str) -> bool:
    """Whether a text from :func:`raw_lines` holds bytes that can't be decoded."""
    return not text.isascii() and _HALF_CHARACTERS.search(text) is not None


def damage(path: Path) -> Lost:
    """Describe the damage of texts of a file."""
    return Lost(f"not {encoding(path).upper()}")


def encoding(path: Path) -> str:
    """Return UTF-16 if a file has its byte order mark, else UTF-8.

    Raises:
        ValueError: It is not an ordinary file.
        OSError: It can't be read.
    """
    if not path.is_file():  # a pipe can't be read twice, and may never end
        raise ValueError("not an ordinary file")
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"


def raw_lines(path: Path) -> Iterator[Placed]:
    """Yield a file's lines with their ends; damaged ones are marked, see :func:`is_damaged`.

    Raises:
        ValueError: It is binary.
        OSError: It can't be read.
    """
    with path.open(encoding=encoding(path), errors="mmgan.damage") as file:
        number = 0
        while line := file.readline(LONGEST + 1):
            number += 1
            whole = len(line) <= LONGEST or line.endswith("\n")
            _refuse_binary(line)
            if whole:
                yield number, line
                continue
            while (rest := file.readline(LONGEST)) and not rest.endswith("\n"):
                _refuse_binary(rest)
            _refuse_binary(rest)
            yield number, TOO_LONG


def beginning(path: Path, length: int = 10_000) -> str:
    """Return the first characters of a file; damaged ones are marked. Raises as :func:`raw_lines`."""
    with path.open(encoding=encoding(path), errors="mmgan.damage") as file:
        text = file.read(length)
    _refuse_binary(text)
    return text


class Lines:
    """A file whose lines are texts.

    Args:
        path: The file.
    """

    noun = "line"

    def __init__(self, path: Path) -> None:
        self._path = path

    def texts(self) -> Iterator[Placed]:
        """Yield the lines; raises as :func:`raw_lines`."""
        damaged = damage(self._path)
        for number, line in raw_lines(self._path):
            yield number, damaged if isinstance(line, str) and is_damaged(line) else line


def check(texts: Iterable[Placed], noun: str) -> None:
    """Refuse a file as a whole if most of it is lost: it is then not the kind of file that it seems to be.

    Args:
        texts: All of its texts.
        noun: The noun for a place.

    Raises:
        ValueError: More than half of those that are not blank are lost.
    """
    found = 0
    lost: Counter[Lost] = Counter()
    for _, text in texts:
        if isinstance(text, Lost):
            lost[text] += 1
        elif not text.isspace():
            found += 1
    if lost.total() > found:
        (most, count), total = lost.most_common(1)[0], found + lost.total()
        advice = "; convert it with iconv" if most.reason.startswith("not UTF") else ""
        raise ValueError(f"{most.reason} in {count:,} of {total:,} {noun}{'s' * (total > 1)}{advice}")


def _refuse_binary(text: str) -> None:
    if "\0" in text:
        raise ValueError("binary: it holds NUL bytes")
