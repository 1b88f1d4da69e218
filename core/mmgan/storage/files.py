"""Reading and writing the files of a run's folder, which may come from a stranger.

A file is read only if it is an ordinary file within a size limit: a link could lead anywhere, and a pipe
would never end. A file is written under an unpredictable name and then renamed into place, so that whatever
is there, even a link, is replaced and never followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel

M = TypeVar("M", bound="BaseModel")

#: The prefix of every unfinished file or folder; they are removed when their folder is next used.
PARTIAL = ".partial-"

# Windows has neither; there, links are detected by name.
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)


class UnsafeFileError(OSError):
    """A file is a link, a pipe, a device or too large, and not an ordinary file."""

    def __init__(self, what: str, path: Path) -> None:
        super().__init__(errno.EINVAL, what, str(path))


def open_regular(path: Path, flags: int = os.O_RDONLY, *, limit: int | None = None) -> int:
    """Open an ordinary file and return its descriptor. No link is followed, and no pipe is waited for.

    Args:
        path: The file.
        flags: As for ``os.open``.
        limit: Its greatest size in bytes; None: any.

    Raises:
        UnsafeFileError: It is a link, or not an ordinary file, or larger than ``limit``; or it is to be
            written and has another name elsewhere (a hard link).
        OSError: It is missing or may not be opened.
    """
    try:
        descriptor = os.open(path, flags | _NO_LINKS | _NO_WAITING, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK) or path.is_symlink():
            raise UnsafeFileError("Not followed, since it is a link", path) from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnsafeFileError("Not an ordinary file", path)
        if flags & (os.O_WRONLY | os.O_RDWR) and status.st_nlink > 1:
            raise UnsafeFileError("A hard link, which would be changed under its other name too", path)
        if limit is not None and status.st_size > limit:
            raise UnsafeFileError(
                f"Too large: {status.st_size:,} bytes, and at most {limit:,} are read", path
            )
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_to_read(path: Path, limit: int | None = None) -> BufferedReader:
    """Open an ordinary file to read its bytes; raises as :func:`open_regular`."""
    return os.fdopen(open_regular(path, limit=limit), "rb")


def read(path: Path, limit: int) -> bytes:
    """Return the content of an ordinary file; raises as :func:`open_regular`."""
    with open_to_read(path, limit) as file:
        # A file may grow while it is read.
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UnsafeFileError(f"Too large: more than {limit:,} bytes", path)
    return data


def read_model(path: Path, model: type[M], limit: int) -> M:
    """Return a JSON file as a pydantic model.

    Raises:
        OSError: As :func:`open_regular`.
        ValueError: It is not JSON, too deeply nested, or does not have the model's shape.
    """
    return model.model_validate_json(read(path, limit))


@contextlib.contextmanager
def fresh(path: Path, *, beside: Path | None = None, durable: bool = False) -> Iterator[Path]:
    """Yield a new empty file to write to, which is renamed to ``path`` at the end, or removed after an error.

    A reader sees the old file or the new one, never half.

    Args:
        path: The final path; the unfinished file has the same suffix.
        beside: The folder of the unfinished file, on the same disk; by default that of ``path``.
        durable: Flush it to the disk, so that it survives a power cut. That takes milliseconds.
    """
    partial = (beside or path.parent) / f"{PARTIAL}{uuid.uuid4().hex}{path.suffix}"
    try:
        # In here, since Ctrl-C may come while the file is made, too.
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINKS, 0o666))
        yield partial
        if durable:
            flush(partial)
        os.replace(partial, path)
        if durable:
            flush(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace a small text file atomically, as :func:`fresh` does."""
    with fresh(path, durable=durable) as partial:
        partial.write_text(text, encoding="utf-8")


def append_text(path: Path, text: str) -> None:
    """Append to a text file, or make it; raises as :func:`open_regular`."""
    descriptor = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(text)


def make_folder(path: Path) -> Path:
    """Make a folder if it does not exist, and return it.

    Raises:
        UnsafeFileError: It is a link.
        OSError: It can't be made.
    """
    refuse_link(path)
    path.mkdir(exist_ok=True)
    return path


def refuse_link(path: Path) -> None:
    """Refuse a link.

    Raises:
        UnsafeFileError: The path is one.
    """
    if path.is_symlink():
        raise UnsafeFileError("Not followed, since it is a link", path)


def sweep(folder: Path) -> None:
    """Remove the leftovers of unfinished writes in a folder."""
    for leftover in folder.glob(f"{PARTIAL}*"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                leftover.unlink()


def flush(path: Path) -> None:
    """Make the system write a file, or a folder's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
