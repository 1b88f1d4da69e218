"""Sounds that libsndfile does not read: AAC, ALAC, WMA, the sound tracks of videos, … by PyAV (FFmpeg).

PyAV is an extra, ``pip install 'mmgan[audio]'``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgan.data.audio.contents import Window, size_of

#: The suffixes of what is left to PyAV.
AV_SUFFIXES = {
    *(".m4a", ".m4b", ".aac", ".ac3", ".eac3", ".dts", ".wma", ".asf", ".amr", ".ape", ".wv", ".tta", ".spx"),
    *(".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".mka", ".webm", ".avi", ".flv", ".mpg", ".mpeg"),
}
#: How such files begin, whatever they are called.
_BEGINNING = re.compile(
    rb"....(ftyp|moov|mdat|free|skip|wide)|\x1aE\xdf\xa3|0&\xb2u|(ID3.{7,})?\xff[\xf0\xf1\xf8\xf9]|\x0b\x77|"
    rb"#!AMR|MAC |wvpk|TTA1|FLV|RIFF....AVI |\x7f\xfe\x80\x01|\xfe\x7f\x01\x80|\x00\x00\x01\xba",
    re.DOTALL,
)
#: What an MP4 or MOV file may begin with.
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"moof", b"sidx")
#: FFmpeg's names of formats that say how long they are; of others it guesses.
_TIMED = ("mov", "matroska", "asf", "ape", "wv", "tta", "avi", "flv", "wav", "w64", "aiff", "caf")
#: All that are opened: those of AV_SUFFIXES, and those in which a codec may be that libsndfile lacks. Some of
#: the others are lists of further files and addresses.
_FORMATS = (*_TIMED, "aac", "ac3", "eac3", "dts", "amr", "mpeg", "ogg")
#: Seconds by which a track may be shorter than its file says, and the part of its length: some are rounded.
_SHORTER, _SHORTER_PART = 0.25, 0.01
#: Values that are given at once, where they come in smaller packets.
_BLOCK = 1 << 16


def has_av() -> bool:
    """Whether PyAV is installed."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def is_for_av(beginning: bytes) -> bool:
    """Whether a file that begins so is of a kind that PyAV reads."""
    return _BEGINNING.match(beginning) is not None


def decode_with_av(file: Window) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Decode a file, or the sound track of a video; of several tracks the one that FFmpeg prefers.

    Yields:
        Samples (channels, frames), and the frames per second.

    Raises:
        ValueError: It holds no sound, is damaged, or shorter than it says.
    """
    import av

    _check_index(file)
    file.seek(0)
    try:
        options = {"format_whitelist": ",".join(_FORMATS)}
        opened: Any = av.open(file, options=options, **_any_metadata(av.__version__))
        with opened as container:
            stream = container.streams.best("audio")
            if stream is None:
                raise ValueError("no sound in it")
            to_float: Any = av.AudioResampler(format="fltp")
            seconds = 0.0
            parts: list[NDArray[np.float32]] = []
            rate = stream.rate
            for decoded in container.decode(stream):
                rate = decoded.sample_rate
                seconds += decoded.samples / rate
                parts += [frame.to_ndarray() for frame in to_float.resample(decoded)]
                if sum(part.size for part in parts) >= _BLOCK:
                    yield np.concatenate(parts, axis=1), rate
                    parts = []
            if parts:
                yield np.concatenate(parts, axis=1), rate
            if seconds + _SHORTER < _said_seconds(container, stream) * (1 - _SHORTER_PART):
                raise ValueError("truncated")
    except av.error.FFmpegError as error:
        raise ValueError(f"damaged: {error.strerror}") from error


def _any_metadata(version: str) -> dict[str, Any]:
    """Return how PyAV is told not to fail for metadata that is not UTF-8; from release 19 on it does not."""
    return {"metadata_errors": "ignore"} if int(version.partition(".")[0]) < 19 else {}


def _check_index(file: Window) -> None:
    """Refuse an MP4 or MOV file whose index tells of more packets than the file can hold.

    FFmpeg makes room for each: of a file of 90 kB it has been seen to take gigabytes.
    """
    size = size_of(file)
    position = told = 0
    while position < size:
        length, name = struct.unpack(">I4s", _read(file, position, 8).ljust(8, b"\0"))
        if length == 1:
            length = int.from_bytes(_read(file, position + 8, 8), "big")
        length = length or size - position
        if length < 8 or (position == 0 and name not in _FIRST_BOXES):
            return
        if name in (b"moov", b"moof"):
            box = _read(file, position, min(length, size - position))
            # How long each packet is, or 0 where a table follows, and how many there are.
            for match in re.finditer(rb"stsz.{4}(.{4})(.{4})", box, re.DOTALL):
                each, count = (int.from_bytes(field, "big") for field in match.groups())
                told += count * (each or 4)
            # In fragments a table follows as well, unless all packets are alike.
            for match in re.finditer(rb"trun..(.).(.{4})", box, re.DOTALL):
                fields, count = (int.from_bytes(field, "big") for field in match.groups())
                told += count * max(1, 4 * (fields & 0xF).bit_count())
        position += length
    if told > size:
        raise ValueError("damaged: it tells of more than it holds")


def _read(file: Window, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count) or b""


def _said_seconds(container: Any, stream: Any) -> float:
    """Return how long a track is said to be, or 0 if nothing is said."""
    if not set(container.format.name.split(",")) & set(_TIMED):
        return 0
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # Matroska: in the words of most programs that write it, hh:mm:ss.
    if match := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)\0*", stream.metadata.get("DURATION", "")):
        hours, minutes, rest = match.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(rest)
    return container.duration / 1_000_000 if container.duration and len(container.streams) == 1 else 0
