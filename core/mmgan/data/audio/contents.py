"""A file-like part of a file with a corrected header, for libsndfile and FFmpeg.

Where a program writes into a pipe it can't go back to the header when it knows how much it wrote. It leaves a
size of 0 or the largest number there; libsndfile understands some of these, and takes the rest for empty.
"""

from __future__ import annotations

import io
import struct
from typing import IO

#: What an endless window says of its length, in bytes: more than any file has, less than overflows.
_ENDLESS = 1 << 45
#: The furthest position to seek to, from which none can overflow.
_FURTHEST = 1 << 60
#: Chunks of a header that are looked at. Files have a handful.
_CHUNKS = 1000


class Window(io.RawIOBase):
    """A part of a file, as a file of its own.

    A seek to where nothing can be stays where it is, and a failure to read ends the file and is kept in
    ``error``: an exception could not pass through the C code that calls.

    Args:
        file: The file. Its position must not be changed by others meanwhile.
        start: The first byte.
        stop: The byte after the last one; None: to the end.
        endless: Claim to go on for ever, though it does not.
        patches: Bytes to be read instead of those in the file, by their positions in it.
    """

    def __init__(
        self,
        file: IO[bytes],
        start: int = 0,
        stop: int | None = None,
        *,
        endless: bool = False,
        patches: dict[int, bytes] | None = None,
    ) -> None:
        self.error: OSError | None = None
        self._file = file
        self._start = start
        self._stop = size_of(file) if stop is None else stop
        self._length = _ENDLESS if endless else self._stop - start
        self._patches = patches or {}
        self._position = 0

    def readable(self) -> bool:
        """Return True: it can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: it is seekable."""
        return True

    def tell(self) -> int:
        """Return the position after the start."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, and return the new position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        if 0 <= base + offset <= _FURTHEST:
            self._position = base + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as the part goes, and return how many bytes that are."""
        first = self._start + self._position
        count = min(len(buffer), max(0, self._stop - first))
        if self._position >= self._length - 128 and self._length == _ENDLESS:
            # libmpg123 looks for a tag at the end, and gives up where it can't read there.
            count = min(len(buffer), max(0, self._length - self._position))
            buffer[:count] = bytes(count)
        elif count:
            try:
                self._file.seek(first)
                data = self._file.read(count)
            except OSError as error:
                self.error = error
                return 0
            count = len(data)
            buffer[:count] = data
            for position, patch in self._patches.items():
                for number, value in enumerate(patch, position - first):
                    if 0 <= number < count:
                        buffer[number : number + 1] = bytes([value])
        self._position += count
        return count


def size_of(file: IO[bytes] | Window) -> int:
    """Return how many bytes a file has."""
    return file.seek(0, io.SEEK_END)


def unknown_size(file: IO[bytes]) -> dict[int, bytes]:
    """Find the size in the header of a WAV, RF64, AU or CAF file that could not be known when it was written.

    Returns:
        The bytes to be read instead, by position; none where the header is right or of another kind.
    """
    end = size_of(file)
    kind = _read(file, 0, 12)
    if kind[:4] == b".snd":
        # libsndfile knows the largest number, and not 0.
        (offset, size) = struct.unpack(">II", kind[4:12].ljust(8, b"\0"))
        return {8: b"\xff\xff\xff\xff"} if size == 0 and end > offset else {}
    if kind[:4] == b"caff":
        return _unknown_size_of_caf(file, end)
    if kind[:4] in (b"RIFF", b"RF64") and kind[8:] == b"WAVE":
        return _unknown_size_of_wav(file, end, kind[:4] == b"RF64")
    return {}


def _unknown_size_of_wav(file: IO[bytes], end: int, large: bool) -> dict[int, bytes]:
    position = 12
    sizes = None  # where RF64 keeps its large ones
    for _ in range(_CHUNKS):
        name, size = struct.unpack("<4sI", _read(file, position, 8).ljust(8, b"\0"))
        if name == b"ds64":
            sizes = position + 16
        elif name == b"data":
            there = end - position - 8
            if large and sizes:
                (said,) = struct.unpack("<Q", _read(file, sizes, 8))
                return {sizes: struct.pack("<Q", there)} if said in (0, 2**64 - 1) and there else {}
            if size == 0 and there and not _is_chunks(file, position + 8, end):
                return {position + 4: b"\xff\xff\xff\xff"}
            return {}
        position += 8 + size + size % 2
        if position >= end:
            return {}
    return {}


def _is_chunks(file: IO[bytes], position: int, end: int) -> bool:
    """Whether chunks follow, up to the end, as behind sound that is really empty."""
    for _ in range(_CHUNKS):
        name, size = struct.unpack("<4sI", _read(file, position, 8).ljust(8, b"\0"))
        position += 8 + size + size % 2
        if not (name.isascii() and name.decode("ascii").isprintable()) or position > end + 1:
            return False
        if position >= end:
            return True
    return False


def _unknown_size_of_caf(file: IO[bytes], end: int) -> dict[int, bytes]:
    position = 8
    for _ in range(_CHUNKS):
        name, size = struct.unpack(">4sq", _read(file, position, 12).ljust(12, b"\0"))
        if name == b"data" or size < 0:
            known = size >= 0 or name != b"data"
            return {} if known else {position + 4: struct.pack(">q", end - position - 12)}
        position += 12 + size
        if position >= end:
            return {}
    return {}


def _read(file: IO[bytes], position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)
