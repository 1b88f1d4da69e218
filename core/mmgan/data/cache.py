"""Decode once: arrays on disk that are mapped into memory, so that a batch costs a copy and no decoding.

An entry is one file, named after a hash of all that it depends on: an ordinary ``.npy`` array, and behind it
its metadata as JSON, which ``numpy.load`` ignores. One file can be renamed into place in one move, and since
the JSON is written last, an entry that is cut short anywhere can't be read and is built again.
The folder may be deleted at any time.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from mmgan.errors import DataError

#: Raise it whenever the same key must stand for other bytes.
FORMAT = 1
_STALE_SECONDS = 24 * 60 * 60


class CachedArray:
    """An array in a file, mapped read-only, and its metadata. Workers get its path, not a copy.

    Args:
        path: An entry that :func:`cached_array` wrote.

    Raises:
        OSError: The file is missing or can't be read.
        ValueError: The file is torn, or no entry of the cache.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        mapped = np.lib.format.open_memmap(path, mode="r")
        with path.open("rb") as file:
            file.seek(mapped.offset + mapped.nbytes)
            self.metadata: dict[str, Any] = json.load(file)
        # A plain array: indexing one is faster than indexing its subclass memmap.
        self.array: NDArray[Any] = np.asarray(mapped)

    def __reduce__(self) -> tuple[type[CachedArray], tuple[Path]]:
        return CachedArray, (self.path,)


def cache_key(*parts: object) -> str:
    """Hash everything that an entry depends on (values that JSON can hold) to 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps([FORMAT, *parts]).encode()).hexdigest()


def cached_array(key: str, build: Callable[[dict[str, Any]], Iterable[NDArray[Any]]]) -> CachedArray:
    """Open the array of a key, and build it first where there is none, or only a torn one.

    Several processes may do this at once: each writes a file of its own, and the last one renamed stays.
    The folder is ``$MMGAN_CACHE_DIR``, or the user's cache folder; where that can't be written, a temporary
    one serves this process, with a warning.

    Args:
        key: From :func:`cache_key`.
        build: Given an empty dict, yields the rows, all of one shape and dtype, and has filled the dict with
            metadata for JSON when it is through. One row at a time is held in memory.

    Raises:
        DataError: The disk is full. What ``build`` raises passes through, and nothing is kept.
        ValueError: ``build`` gave no rows, or rows that differ in shape or dtype.
    """
    folder = cache_folder()
    path = folder / f"{key}.npy"
    with contextlib.suppress(OSError, ValueError):
        return CachedArray(path)
    try:
        file = _new_file(folder)
    except OSError as error:
        warnings.warn(
            f"The cache folder {str(folder)!r} can't be written ({error.strerror}); decoded data goes to a "
            "temporary folder. Set MMGAN_CACHE_DIR to a folder that can be.",
            stacklevel=2,
        )
        folder = _temporary_folder()
        path = folder / f"{key}.npy"
        file = _new_file(folder)
    try:
        with file:
            _write(file, build, folder)
        os.replace(file.name, path)
    finally:
        Path(file.name).unlink(missing_ok=True)
    return CachedArray(path)


def cache_folder() -> Path:
    """Return the folder of the cache: ``$MMGAN_CACHE_DIR``, else the user's."""
    chosen = os.environ.get("MMGAN_CACHE_DIR")
    return Path(chosen) if chosen else platformdirs.user_cache_path("mmgan", appauthor=False)


@functools.cache
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mmgan-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _new_file(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    # A killed process leaves its file behind. A young one may belong to a process that is still at work.
    for old in folder.glob("*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > _STALE_SECONDS:
                old.unlink()
    return tempfile.NamedTemporaryFile(dir=folder, suffix=".tmp", delete=False)


def _write(file: IO[bytes], build: Callable[[dict[str, Any]], Iterable[NDArray[Any]]], folder: Path) -> None:
    """Write header, rows and metadata, then the header again, when the number of rows is known."""
    metadata: dict[str, Any] = {}
    first: NDArray[Any] | None = None
    rows = 0
    for row in build(metadata):
        with _explained(folder):
            if first is None:
                first = row
                _write_header(file, row, 0)
            if (row.shape, row.dtype) != (first.shape, first.dtype):
                raise ValueError(f"Row {rows} is {row.dtype} {row.shape}, not {first.dtype} {first.shape}.")
            file.write(np.ascontiguousarray(row).data)
        rows += 1
    if first is None:
        raise ValueError("There are no rows to cache.")
    with _explained(folder):
        file.write(json.dumps(metadata).encode())
        file.seek(0)
        # NumPy leaves room in the header for the first axis to grow.
        _write_header(file, first, rows)
        file.flush()
        os.fsync(file.fileno())


def _write_header(file: IO[bytes], row: NDArray[Any], rows: int) -> None:
    descr = np.lib.format.dtype_to_descr(row.dtype)
    header = {"descr": descr, "fortran_order": False, "shape": (rows, *row.shape)}
    np.lib.format.write_array_header_1_0(file, header)


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"Decoded data can't be written to the cache folder {str(folder)!r}: {error.strerror}.",
            hint="Make room there, or set MMGAN_CACHE_DIR to a folder on a larger disk.",
        ) from error
