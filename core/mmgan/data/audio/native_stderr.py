"""Capturing output of C libraries on the standard error stream."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from types import TracebackType

#: How libmpg123 writes what it finds wrong with an MP3.
_WARNINGS = re.compile(rb"^(?:(?:Note|Warning): |\[[^\]\n]*mpg123[^\]\n]*\] )([^\n]*)\n?", re.MULTILINE)


class Mpg123Warnings:
    """Redirects libmpg123's warnings away from the standard error stream inside a ``with``.

    libsndfile offers no way to silence them or to have them: they go to file descriptor 2, over the progress
    bar and past the log. Another decoder of MP3 would be a way around, but gives other samples. So the
    descriptor leads to a file for as long as one block is decoded, and what other threads write there
    meanwhile is written out afterwards.
    """

    #: One redirection at a time: a second one would take the first one's file for the true stream.
    _lock = threading.Lock()

    def __init__(self) -> None:
        #: What was found wrong, each thing once.
        self.messages: list[str] = []
        open_standard_streams()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> Mpg123Warnings:
        self._lock.acquire()
        self._stderr = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.dup2(self._stderr, 2)
        os.close(self._stderr)
        self._lock.release()
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(0)
            self._sort(self._file.read())
            self._file.seek(0)
            self._file.truncate()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _sort(self, written: bytes) -> None:
        for message in _WARNINGS.findall(written):
            text = message.decode(errors="replace").strip()
            if text not in self.messages:
                self.messages.append(text)
        # If Python began without such a stream, the descriptor may now be any file.
        if (others := _WARNINGS.sub(b"", written)) and sys.__stderr__ is not None:
            with contextlib.suppress(OSError):
                os.write(2, others)


def open_standard_streams() -> None:
    """Open what is closed of the descriptors 0 to 2, to nowhere.

    Else the next file that is opened becomes the standard error stream, and C libraries write into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
