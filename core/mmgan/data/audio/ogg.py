"""The pages of an Ogg file (RFC 3533)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from mmgan.data.audio.contents import size_of

#: Bytes of a page before its table of segments.
_HEADER = 27
#: Bytes that are searched at once for the next page.
_SEARCHED = 1 << 16


@dataclass(frozen=True)
class Ogg:
    """How an Ogg file is made up.

    Attributes:
        links: The first byte and the one after the last of each stream that follows another (a chain).
            libsndfile reads no further than the first.
        torn: Whether the file ends within a page.
        ended: Whether the last whole page is marked as the last one.
    """

    links: list[tuple[int, int]]
    torn: bool
    ended: bool


def look_through(file: IO[bytes]) -> Ogg:
    """Go through the pages of an Ogg file, by their headers only."""
    end = size_of(file)
    starts: list[int] = []
    position = stop = 0
    begins = ended = torn = False
    while position < end:
        file.seek(position)
        header = file.read(_HEADER)
        if header[:4] != b"OggS":
            if b"OggS".startswith(header):
                torn = True
                break
            position = _next_page(file, position + 1)
            continue
        segments = file.read(header[26]) if len(header) == _HEADER else b""
        length = _HEADER + len(segments) + sum(segments)
        torn = len(header) < _HEADER or len(segments) < header[26] or position + length > end
        if torn:
            break
        # The first pages of streams that run side by side, as of sound and picture, come together.
        if header[5] & 2 and not begins:
            starts.append(position)
        begins, ended = bool(header[5] & 2), bool(header[5] & 4)
        position = stop = position + length
    return Ogg(list(zip(starts, [*starts[1:], stop], strict=True)) if starts else [], torn, ended)


def _next_page(file: IO[bytes], position: int) -> int:
    """Find where the next page begins, or the end of the file."""
    while True:
        file.seek(position)
        data = file.read(_SEARCHED)
        found = data.find(b"OggS")
        if found >= 0:
            return position + found
        if len(data) < _SEARCHED:
            return position + len(data)
        position += _SEARCHED - 3
