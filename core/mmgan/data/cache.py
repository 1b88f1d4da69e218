"""Decode once: arrays on disk that are mapped into memory, so that a batch costs a copy and no decoding.

An entry is one file, named after a hash of all that it depends on. It is written under another name and then
renamed, and what it holds is compared with its checksums when it is opened: one that is torn, altered or
another's is built again. The folder may be deleted at any time.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeGuard

import platformdirs
from numpy.typing import NDArray

from mmgan.data import cache_entry
from mmgan.errors import DataError
from mmgan.storage import files

log = logging.getLogger(__name__)

#: Raise it whenever the same key must stand for other bytes.
FORMAT = 2
_STALE_SECONDS = 24 * 60 * 60
_FULL = (errno.ENOSPC, errno.EDQUOT)


class CachedArray:
    """An array in a file, mapped read-only, and its metadata. Workers get its path, not a copy.

    Args:
        path: An entry that :func:`cached_array` wrote.
        compare: Compare the array with its checksums, which takes a second for a GiB, and never more.

    Raises:
        OSError: The file is missing, a link or a pipe, or can't be read.
        ValueError: The file is torn or altered, or not the entry that its name says.
    """

    def __init__(self, path: Path, compare: bool = True) -> None:
        self.path = path
        with files.open_to_read(path) as file:
            self.array, self.metadata = cache_entry.read(file, path.stem, compare=compare)

    def __reduce__(self) -> tuple[type[CachedArray], tuple[Path, bool]]:
        return CachedArray, (self.path, False)


def cache_key(*parts: object) -> str:
    """Hash everything that an entry depends on (values that JSON can hold) to 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps([FORMAT, *parts]).encode()).hexdigest()


def cached_array(
    key: str,
    build: Callable[[dict[str, Any]], Iterable[NDArray[Any]]],
    fits: Callable[[CachedArray], bool] = lambda entry: True,
) -> CachedArray:
    """Open the array of a key, and build it first where there is none, or only a damaged one.

    Several processes may do this at once: each writes a file of its own, and the last one renamed stays.
    The folder is ``$MMGAN_CACHE_DIR``, or the user's cache folder; where that can't be written, a temporary
    one serves this process, with a warning.

    Args:
        key: From :func:`cache_key`.
        build: Given an empty dict, yields the rows, all of one shape and dtype, and has filled the dict with
            metadata for JSON when it is through. One row at a time is held in memory.
        fits: Whether an entry that is there has the shape and the metadata that ``build`` makes. One that
            does not fit is built again.

    Raises:
        DataError: The disk is full. What ``build`` raises passes through, and nothing is kept.
        ValueError: ``build`` gave no rows, or rows that differ in shape or dtype.
    """
    path = cache_folder() / f"{key}.npy"
    try:
        entry = CachedArray(path)
        if fits(entry):
            return entry
        log.warning("The cache entry %s does not fit, and is built again.", path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        log.warning("The cache entry %s can't be used, and is built again: %s.", path, error)
    with contextlib.ExitStack() as unfinished:
        path, partial = _begin(path, unfinished)
        with _explained(path.parent):
            file = partial.open("r+b")
        unfinished.callback(_abandon, file)
        writer = cache_entry.Writer(file, key)
        metadata: dict[str, Any] = {}
        for row in build(metadata):
            with _explained(path.parent):
                writer.add(row)
        with _explained(path.parent):
            writer.finish(metadata)
            file.close()
            unfinished.pop_all().close()
    return CachedArray(path, compare=False)


def are_integers(value: object, least: int = -(2**63)) -> TypeGuard[list[int]]:
    """Whether metadata are a list of integers, from ``least`` on, that fit into 64 bits."""
    return isinstance(value, list) and all(type(item) is int and least <= item < 2**63 for item in value)


def are_skipped(value: object) -> bool:
    """Whether metadata are a list of pairs of texts: a name, and why it was skipped."""
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in value
    )


def cache_folder() -> Path:
    """Return the folder of the cache: ``$MMGAN_CACHE_DIR``, else the user's."""
    chosen = os.environ.get("MMGAN_CACHE_DIR")
    return Path(chosen) if chosen else platformdirs.user_cache_path("mmgan", appauthor=False)


@functools.cache
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mmgan-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _begin(path: Path, unfinished: contextlib.ExitStack) -> tuple[Path, Path]:
    """Make a new file that becomes an entry when all is written: return where it will be, and where it is."""
    if path.is_dir() and not path.is_symlink():
        raise DataError(
            f"In the cache there is a folder {str(path)!r}, where a file belongs.",
            hint="Remove it, or set MMGAN_CACHE_DIR to another folder.",
        )
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        return path, unfinished.enter_context(files.fresh(path, durable=True))
    except OSError as error:
        if error.errno in _FULL:
            raise _unwritable(folder, error) from error
        warnings.warn(
            f"The cache folder {str(folder)!r} can't be written ({error.strerror}); decoded data goes to a "
            "temporary folder. Set MMGAN_CACHE_DIR to a folder that can be.",
            stacklevel=3,
        )
    with _explained(folder):
        path = _temporary_folder() / path.name
        return path, unfinished.enter_context(files.fresh(path))


def _abandon(file: IO[bytes]) -> None:
    """Close a file that is given up, or was closed before."""
    # On a full disk what is still to be written fails once more.
    with contextlib.suppress(OSError):
        file.close()


def _sweep(folder: Path) -> None:
    """Remove what killed processes left. A young file may belong to a process that is still at work."""
    for old in folder.glob(f"{files.PARTIAL}*.npy"):
        with contextlib.suppress(OSError):
            if time.time() - old.lstat().st_mtime > _STALE_SECONDS:
                old.unlink()


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"Decoded data can't be written to the cache folder {str(folder)!r}: {error.strerror or error}.",
        hint="Make room there, or set MMGAN_CACHE_DIR to a folder on a larger disk.",
    )
