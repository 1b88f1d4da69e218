"""Stdout is data, stderr is messages."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from mmgan.errors import MmganError, UsageError

#: Version of every JSON document that a command prints. Raised when a key is removed or changes its meaning.
SCHEMA = 1


def say(text: str) -> None:
    """Print ``text``, a message, to stderr."""
    # Not by click.echo, which writes past the progress bar (a stand-in for stderr) and is drawn over by it.
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def reserved() -> Iterator[None]:
    """Reserve stdout for :func:`emit`; what plugins and libraries print meanwhile goes to stderr."""
    with contextlib.redirect_stdout(_Aside(sys.stdout)):
        yield


class _Aside:
    """Stands in for stdout: writes to stderr, and holds the real stdout for data."""

    def __init__(self, data: TextIO) -> None:
        self.data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def emit(text: str) -> None:
    """Print ``text``, data, to stdout.

    Raises:
        UsageError: It has characters that stdout's encoding lacks.
        MmganError: stdout refused it.
        BrokenPipeError: The reader of the pipe is gone.
    """

    def encode(encoding: str) -> bytes:
        try:
            # File names that can't be decoded are written as the bytes that they are.
            return text.encode(encoding, "surrogateescape")
        except UnicodeEncodeError as error:
            raise UsageError(
                f"stdout is written in {error.encoding}, which has no {text[error.start]!r}.",
                hint="Set PYTHONIOENCODING=utf-8, or write to a file where the command has --out.",
            ) from None

    _write(text, encode)


def emit_paths(paths: Sequence[Path]) -> None:
    """Print ``paths`` to stdout, one a line: as raw bytes where stdout's encoding lacks a character.

    Raises:
        MmganError: stdout refused it.
        BrokenPipeError: The reader of the pipe is gone.
    """
    text = "\n".join(map(str, paths))
    _write(text, lambda encoding: os.fsencode(text))


def _write(text: str, encode: Callable[[str], bytes]) -> None:
    stream = getattr(sys.stdout, "data", sys.stdout)
    try:
        try:
            print(text, file=stream, flush=True)
        except UnicodeEncodeError as error:
            data = encode(error.encoding)
            stream.flush()
            stream.buffer.write(data + b"\n")
            stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MmganError(f"stdout can't be written: {error.strerror or error}.") from None


def emit_json(document: dict[str, Any]) -> None:
    """Print ``document`` to stdout as JSON. NaN and infinity, which JSON lacks, become null."""
    emit(json.dumps(_finite({"schema": SCHEMA, **document}), indent=2))


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return ``rows`` as lines, their columns aligned by spaces."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
