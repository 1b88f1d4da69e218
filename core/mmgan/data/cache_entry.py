"""The file of a cache entry: an array, what belongs to it, and checksums of both.

It is an ordinary ``.npy`` file with more behind its array, which ``numpy.load`` ignores: a JSON object, the
length of that in 8 bytes, and the hash of header and object in 32. The object names the entry's key, the
array's dtype and shape, a CRC of each MiB of the array, and holds the metadata.

Nothing of a file is believed before it was checked: it may be torn, altered, or another one's.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import random
import re
import zlib
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

_BLOCK = 1 << 20
#: How many blocks are compared with their checksums when an entry is opened: 1 GiB, which takes a second. Of
#: a larger entry they are others each time.
_COMPARED = 1024
_LENGTH, _DIGEST = 8, 32
#: The JSON object is not longer: 100 million labels fit into it.
_LONGEST = 1 << 30
#: Numbers of a fixed size, as NumPy writes their dtype. Nothing else is cached, and no pickle is ever read.
_NUMBERS = re.compile(r"[<>|][biufc][0-9]{1,2}")


class _Facts(BaseModel):
    """The JSON object behind the array."""

    model_config = ConfigDict(strict=True, extra="forbid")

    key: str
    dtype: str
    shape: list[int]
    blocks: list[int]
    metadata: dict[str, Any]


class Writer:
    """Writes an entry row by row.

    Args:
        file: An empty file, open to write.
        key: The entry's.
    """

    def __init__(self, file: IO[bytes], key: str) -> None:
        self._file = file
        self._key = key
        self._first: NDArray[Any] | None = None
        self._rows = 0
        self._blocks: list[int] = []
        # How many bytes are still free in the last block.
        self._room = 0

    def add(self, row: NDArray[Any]) -> None:
        """Write a row.

        Raises:
            OSError: It can't be written.
            ValueError: It is not of the shape and dtype of the first one.
        """
        if self._first is None:
            self._first = row
            self._file.write(_header(row.dtype, (0, *row.shape)))
        first = self._first
        if (row.shape, row.dtype) != (first.shape, first.dtype):
            raise ValueError(f"Row {self._rows} is {row.dtype} {row.shape}, not {first.dtype} {first.shape}.")
        data = np.ascontiguousarray(row).reshape(-1).view(np.uint8).data
        self._file.write(data)
        self._rows += 1
        while len(data):
            if not self._room:
                self._blocks.append(0)
                self._room = _BLOCK
            part = data[: self._room]
            self._blocks[-1] = zlib.crc32(part, self._blocks[-1])
            self._room -= len(part)
            data = data[len(part) :]

    def finish(self, metadata: dict[str, Any]) -> None:
        """Write what stands behind the array, and the header again, since the number of rows is known now.

        Raises:
            OSError: It can't be written.
            ValueError: There are no rows.
        """
        if self._first is None:
            raise ValueError("There are no rows to cache.")
        dtype, shape = self._first.dtype, (self._rows, *self._first.shape)
        facts = _Facts(
            key=self._key, dtype=dtype.str, shape=list(shape), blocks=self._blocks, metadata=metadata
        )
        # Not by pydantic, since names of files may be no Unicode.
        text = json.dumps(facts.__dict__).encode()
        header = _header(dtype, shape)
        self._file.write(text + len(text).to_bytes(_LENGTH, "little") + _digest(header, text))
        self._file.seek(0)
        self._file.write(header)


def read(file: IO[bytes], key: str, *, compare: bool = True) -> tuple[NDArray[Any], dict[str, Any]]:
    """Map the array of an entry, read-only, and return it and the metadata.

    Args:
        file: The entry, open to read.
        key: The entry's.
        compare: Compare the array's checksums too: all of them up to 1 GiB, of a larger array that many.

    Raises:
        OSError: It can't be read.
        ValueError: It is torn or altered, or not the entry of this key.
    """
    size = os.fstat(file.fileno()).st_size
    end = size - _LENGTH - _DIGEST
    length = int.from_bytes(_at(file, end, _LENGTH), "little")
    if length > _LONGEST:
        raise ValueError("it has no metadata")
    text = _at(file, end - length, length)
    facts = _parse(text)
    dtype = _dtype(facts.dtype)
    header = _header(dtype, tuple(facts.shape))
    if _at(file, 0, len(header)) != header or _at(file, end + _LENGTH, _DIGEST) != _digest(header, text):
        raise ValueError("its header or its metadata were altered")
    if facts.key != key:
        raise ValueError("it belongs to other data")
    bytes_ = math.prod(facts.shape) * dtype.itemsize
    if len(header) + bytes_ + length != end or len(facts.blocks) != -(-bytes_ // _BLOCK):
        raise ValueError("its size is not that of its array")
    if compare:
        _compare(file, facts.blocks, len(header), bytes_)
    mapped = np.memmap(file, dtype, "r", offset=len(header), shape=tuple(facts.shape))
    # A plain array: indexing one is faster than indexing its subclass memmap.
    return np.asarray(mapped), facts.metadata


def _at(file: IO[bytes], start: int, length: int) -> bytes:
    """Read bytes that must be there."""
    if not 0 <= start <= start + length <= os.fstat(file.fileno()).st_size:
        raise ValueError("it is cut short")
    file.seek(start)
    return file.read(length)


def _parse(text: bytes) -> _Facts:
    try:
        facts = _Facts.model_validate(json.loads(text))
    except (ValueError, RecursionError):
        raise ValueError("its metadata can't be read") from None
    if not facts.shape or min(facts.shape) < 1:
        raise ValueError("its array is empty")
    return facts


def _dtype(name: str) -> np.dtype[Any]:
    try:
        if _NUMBERS.fullmatch(name):
            return np.dtype(name)
    except TypeError:
        pass  # such as numbers of three bytes
    raise ValueError("it does not hold an array of numbers")


def _compare(file: IO[bytes], blocks: list[int], start: int, bytes_: int) -> None:
    numbers = range(len(blocks))
    # A generator of its own, since a run's random numbers must not depend on the cache.
    chosen = random.Random().sample(numbers, _COMPARED) if len(blocks) > _COMPARED else numbers
    for number in sorted(chosen):
        length = min(_BLOCK, bytes_ - number * _BLOCK)
        if zlib.crc32(_at(file, start + number * _BLOCK, length)) != blocks[number]:
            raise ValueError("its array was altered")


def _digest(header: bytes, text: bytes) -> bytes:
    return hashlib.blake2b(header + text, digest_size=_DIGEST).digest()


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return a header of NumPy's, which leaves room for the first axis to grow."""
    file = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue()
