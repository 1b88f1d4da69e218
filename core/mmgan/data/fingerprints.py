"""Fingerprints of a set of files: one that detects any change, and one by content, wherever the files lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

#: How many bytes of a data set are hashed. More would take seconds at each start.
_BUDGET = 1 << 30
#: Of each file at least that many are read, in as many blocks, the first and the last one among them.
_LEAST, _BLOCKS = 16 << 10, 4


def of_files(files: Iterable[tuple[str, Path]]) -> str:
    """Hash the metadata of each file. No file is opened.

    Size and time of change can stay as they were when a file is replaced (``cp -p``, ``rsync --times``). The
    time of the last change of the inode, and its number, do not: they can't be set.

    Args:
        files: The name and the place of each, in an order that stays. One that is gone counts by its name.
    """
    digest = hashlib.sha256()
    for name, path in files:
        try:
            status = path.stat()
        except OSError:
            digest.update(b"gone ")
        else:
            # The mode too: a file that may now be read is another file.
            known = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode)
            digest.update(f"{known} ".encode())
        digest.update(os.fsencode(name) + b"\0")
    return digest.hexdigest()


def of_content(files: Iterable[tuple[str, Path]]) -> str:
    """Hash the name, the size and the bytes of each file: equal wherever they lie, and whenever copied.

    Of 1 GiB of files, or less, every byte counts. Of more data each file has an equal share of that, at
    least 16 KiB; of a larger file four blocks count, from its beginning to its end.

    Args:
        files: The name and the place of each, in an order that stays. One that can't be read counts by its
            name.
    """
    files = list(files)
    sizes = [_size(path) for _, path in files]
    share = max(sizes, default=0) if sum(sizes) <= _BUDGET else max(_LEAST, _BUDGET // len(files))
    digest = hashlib.blake2b(digest_size=32)
    for (name, path), size in zip(files, sizes, strict=True):
        digest.update(os.fsencode(name) + f"\0{size} ".encode() + _content(path, size, share))
    return digest.hexdigest()


def content_of(source: object) -> str:
    """Return a source's ``content_fingerprint``, or "" where it has none."""
    return str(getattr(source, "content_fingerprint", ""))


def with_table(content: str, source: object, holds: Sequence[str]) -> str:
    """Return the fingerprint of examples together with the columns that a batch holds beside them.

    Args:
        content: That of the examples alone.
        source: May have a ``table`` of labels, captions and other columns.
        holds: What a batch holds; where that is one thing, no column counts.
    """
    table = str(getattr(getattr(source, "table", None), "fingerprint", "")) if len(holds) > 1 else ""
    return hashlib.sha256(f"{content} {table}".encode()).hexdigest() if content and table else content


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _content(path: Path, size: int, share: int) -> bytes:
    """Hash a file, or four blocks of it that have ``share`` bytes together."""
    starts, length = [0], size
    if size > share:
        length = share // _BLOCKS
        starts = [(size - length) * number // (_BLOCKS - 1) for number in range(_BLOCKS)]
    digest = hashlib.blake2b(digest_size=32)
    try:
        if not path.is_file():  # a pipe would block who opens it
            return b"unreadable"
        with path.open("rb") as file:
            for start in starts:
                file.seek(start)
                left = length
                while left and (data := file.read(min(left, 1 << 20))):
                    digest.update(data)
                    left -= len(data)
    except OSError:
        return b"unreadable"
    return digest.digest()
