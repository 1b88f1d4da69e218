"""Stdout and stderr that always exist, and whose failures do not stop the program."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO


@contextlib.contextmanager
def sound() -> Iterator[None]:
    """Make stdin, stdout and stderr usable, whatever the process was started with.

    A closed one (``2>&-``) is opened to the null device: otherwise the next file that is opened would take
    its number, and libraries would write their messages into it. What stderr can't take is dropped: its
    reader or its terminal may be gone, or its disk full, and the run must be saved all the same.
    """
    _open_closed()
    for name in ("COLUMNS", "LINES"):
        # Rich fails on digits that are not numbers, such as "²".
        if not re.fullmatch("[0-9]{1,9}", os.environ.get(name, "0")):
            del os.environ[name]
    before = sys.stderr
    sys.stderr = _Talk(before)
    try:
        yield
    finally:
        sys.stderr = before
        for stream in (sys.stdout, sys.stderr):
            _finish(stream)


class _Talk:
    """Stands in for stderr, and drops what can't be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop the text."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write, or drop the lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, if the stream can."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def _open_closed() -> None:
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The system assigns the lowest free number: this one, since those before it are taken.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            stream = os.fdopen(number, mode, encoding="utf-8", errors="replace", closefd=False)
            setattr(sys, name, stream)


def _finish(stream: TextIO) -> None:
    """Avoid an error at exit about output that a stream could not take, such as BrokenPipeError."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
