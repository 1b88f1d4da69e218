"""The frames of MPEG audio (MP3, and layers I and II).

Nothing need say how long such a file is. Some begin with a frame that holds no sound but a header for the
whole (Xing, Info or VBRI). Without it libsndfile guesses from the size of the file and the first frames, and
reads no further than it guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO

from mmgan.data.audio.contents import size_of

#: Four bytes that may be a frame's header: the sync word, a version, a layer, a bit rate and a sample rate.
_HEADER = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\xef]", re.DOTALL)
#: kbit/s by version 1 or 2, layer, and the header's number.
_BIT_RATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44100, 48000, 32000)
#: Bytes of a frame in which a header of the whole file begins: after the side information.
_TAGGED = 44
#: Bytes that may lie before the first frame, apart from tags.
_LEADING = 1 << 16
#: Bytes that are searched at once for the next frame.
_SEARCHED = 1 << 16


@dataclass
class Run:
    """Frames of one kind that follow each other without a gap.

    Attributes:
        start: The first byte.
        stop: The byte after the last whole frame.
        frames: Whole frames with sound.
        samples: Samples in a frame, in each channel.
        header: Bytes of the header of the whole file, if the run begins with one.
        said: The number of frames in that header.
    """

    start: int
    stop: int
    frames: int
    samples: int
    header: int = 0
    said: int | None = None

    @property
    def is_as_said(self) -> bool:
        """Whether there is a header that is right. Some programs count its own frame in."""
        return self.said is not None and self.frames <= self.said <= self.frames + 1


@dataclass
class Mpeg:
    """The frames of a file.

    Attributes:
        runs: All that can be decoded; more than one where files were put together, or bytes are damaged.
        lost: Bytes between them that are not tags.
        torn: Whether the file ends within a frame.
    """

    runs: list[Run]
    lost: int = 0
    torn: bool = False

    @property
    def missing(self) -> bool:
        """Whether a header gives more frames than follow up to the next header."""
        missing = 0
        for run in reversed(self.runs):
            missing -= run.frames
            if run.header:
                if run.said is not None and run.said + missing > 1:
                    return True
                missing = 0
        return False


@dataclass(frozen=True)
class _Frame:
    kind: tuple[int, int, bool]  # what can't change within a run: version and layer, sample rate, mono
    length: int
    samples: int


def look_through(file: IO[bytes]) -> Mpeg:
    """Go through the frames of a file, by their headers only. Other files than MPEG audio have no runs."""
    end = size_of(file)
    found = Mpeg([])
    kind = None  # of the run that may go on
    position = skipped = 0
    while position < end:
        file.seek(position)
        head = file.read(_TAGGED)
        frame = _parse(head)
        if frame and (frame.kind == kind or _is_followed(file, position, frame, end)):
            if position + frame.length > end:
                found.torn = True
                break
            told, said = _header_of_all(file, position, head)
            if told or frame.kind != kind:
                header = frame.length if told else 0
                found.runs.append(Run(position, position, 0, frame.samples, header, said))
                kind = frame.kind
                found.lost, skipped = found.lost + skipped, 0
            run = found.runs[-1]
            run.frames += not told
            position = run.stop = position + frame.length
        elif tag := _tag_length(head):
            kind = None
            position += tag
        else:
            if kind and len(head) < 4 and head[0] == 0xFF:
                found.torn = True
                break
            kind = None
            following = _next_frame(file, position + 1, end if found.runs else min(end, _LEADING + position))
            if following is None:
                break
            skipped += following - position if found.runs else 0
            position = following
    return found


def _parse(head: bytes) -> _Frame | None:
    if len(head) < 4 or not _HEADER.match(head) or head[2] & 0x0C == 0x0C:
        return None
    version = (head[1] >> 3) & 3  # 3: MPEG 1, 2: MPEG 2, 0: "MPEG 2.5"
    layer = 4 - ((head[1] >> 1) & 3)
    kilobits = _BIT_RATES[1 if version == 3 else 2, layer][(head[2] >> 4) - 1]
    rate = _RATES[(head[2] >> 2) & 3] // {3: 1, 2: 2, 0: 4}[version]
    padding = (head[2] >> 1) & 1
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    slot = 4 if layer == 1 else 1
    length = (samples // 8 // slot * kilobits * 1000 // rate + padding) * slot
    return _Frame((head[1] & 0xFE, rate, head[3] >> 6 == 3), length, samples)


def _is_followed(file: IO[bytes], position: int, frame: _Frame, end: int) -> bool:
    """Whether two more frames of the same kind follow, or fewer and then the end or a tag: no chance."""
    for _ in range(2):
        position += frame.length
        if position == end:
            return True
        file.seek(position)
        head = file.read(10)
        following = _parse(head)
        if not following or following.kind != frame.kind:
            return bool(_tag_length(head))
        frame = following
    return True


def _header_of_all(file: IO[bytes], position: int, head: bytes) -> tuple[bool, int | None]:
    """Whether a frame is a header of the whole file, and the number of frames in it."""
    for name, flags, count in ((b"Xing", 4, 8), (b"Info", 4, 8), (b"VBRI", None, 14)):
        at = head.find(name, 4)
        if at >= 0:
            file.seek(position + at)
            tag = file.read(18)
            told = flags is None or bool(tag[flags + 3 : flags + 4] and tag[flags + 3] & 1)
            return True, int.from_bytes(tag[count : count + 4], "big") if told else None
    return False, None


def _tag_length(head: bytes) -> int:
    """Return how long the tag is that begins here (ID3 or APE), or 0."""
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:3] == b"TAG":
        return 128
    if head[:8] == b"APETAGEX":
        return 32 + int.from_bytes(head[12:16], "little")
    return 0


def _next_frame(file: IO[bytes], position: int, end: int) -> int | None:
    """Find where the next frame or tag begins."""
    while position < end:
        file.seek(position)
        data = file.read(min(_SEARCHED, end - position))
        for match in re.finditer(rb"\xff[\xe2-\xff]|ID3|APETAGEX", data):
            at = position + match.start()
            file.seek(at)
            head = file.read(16)
            frame = _parse(head)
            if (frame and _is_followed(file, at, frame, size_of(file))) or (not frame and _tag_length(head)):
                return at
        if len(data) < _SEARCHED:
            return None
        position += _SEARCHED - 8
    return None
