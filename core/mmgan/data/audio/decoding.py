"""A file of sound to samples, block by block: what libsndfile reads, and what is left to PyAV."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mmgan.data.audio import mpeg, ogg
from mmgan.data.audio.av_decoding import decode_with_av, has_av, is_for_av
from mmgan.data.audio.contents import Window, size_of, unknown_size
from mmgan.data.audio.native_stderr import Mpg123Warnings

log = logging.getLogger(__name__)

#: Samples (channels, frames), and frames per second.
Block = tuple[NDArray[np.float32], int]

#: Values (frames times channels) that are decoded at once: 2 MiB.
_BLOCK = 1 << 19
#: Formats that say how many bytes of sound follow: how libsndfile notes in its log that there are fewer.
_TOO_FEW_BYTES = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE
)
#: Sizes from here on are placeholders, which ffmpeg, sox and others write into a pipe for unknown sizes.
_UNKNOWN_BYTES = 0x7FFFF000
#: Bytes that may be missing: some programs count the header in.
_HEADER_BYTES = 64
#: libsndfile's number of frames where it is unknown.
_UNKNOWN_FRAMES = 2**63 - 1
#: libsndfile's code for an unknown format.
_NOT_A_SOUND = 1
#: Its code for an MP3 that breaks off in its first frames. It says that there is no such file.
_NO_SUCH_FILE = 7
#: Its codes for codecs that it lacks in formats that it reads: ALAC in CAF, Speex in Ogg, G.722 in WAV, …
_NO_SUCH_CODEC = (4, 29, 64, 161)
#: Frames that libmpg123 may leave out at the start of MPEG audio: they build on earlier ones.
_LEFT_OUT = 3
#: Values that any file may hold: those of a day of mono at 48 kHz. A larger file may hold so many for each of
#: its bytes; the leanest codecs of speech have 130. What holds more was made to fill a disk.
_DAY = 1 << 32
_VALUES_PER_BYTE = 256


class CutShortError(Exception):
    """The decoded sound is incomplete: the file is truncated."""


def decode(file: IO[bytes], name: str) -> Iterator[Block]:
    """Decode a file of sound.

    Args:
        file: It, opened in binary mode.
        name: What the log calls it, which is told what libmpg123 has to say.

    Yields:
        Samples (channels, frames) in [-1, 1], or beyond in files of floats, and the frames per second.

    Raises:
        ValueError: It is not a sound, damaged, or shorter than it says.
        CutShortError: After the last block: something is missing, but the file does not say how much.
        OSError: It can't be read.
    """
    size = size_of(file)
    values = 0.0
    with contextlib.closing(Mpg123Warnings()) as warnings:
        try:
            for samples, rate in _Decoder(file, name, warnings).blocks():
                # A low rate counts as 48 kHz, which it may become.
                values += samples.size * max(1, 48_000 / rate)
                if values > max(_DAY, _VALUES_PER_BYTE * size):
                    raise ValueError(f"more than a day of sound in only {size:,} bytes")
                yield samples, rate
        finally:
            for message in warnings.messages:
                log.info("%s: %s", name, message)


class _Decoder:
    def __init__(self, file: IO[bytes], name: str, warnings: Mpg123Warnings) -> None:
        self._file = file
        self._name = name
        self._warnings = warnings

    def blocks(self) -> Iterator[Block]:
        self._file.seek(0)
        if self._file.read(4) == b"OggS":
            yield from self._ogg()
            return
        window = Window(self._file, patches=unknown_size(self._file))
        try:
            with self._open(window) as sound:
                if not sound.subtype.startswith("MPEG"):
                    yield from self._read(sound, window)
                    if _breaks_off(sound):
                        raise ValueError("truncated")
                    return
        except _UnreadableError as error:
            reason = error
        else:
            reason = _UnreadableError(_NOT_A_SOUND)
        found = mpeg.look_through(self._file)
        if found.runs:
            yield from self._mpeg(found)
        else:
            yield from self._av(reason)

    def _ogg(self) -> Iterator[Block]:
        found = ogg.look_through(self._file)
        if found.torn or not found.links:
            raise ValueError("truncated")
        for start, stop in found.links:
            window = Window(self._file, start, stop)
            try:
                with self._open(window) as sound:
                    yield from self._read(sound, window)
            except _UnreadableError as error:
                yield from self._av(error)
                break
        if not found.ended:
            raise CutShortError("its last page is missing")

    def _mpeg(self, found: mpeg.Mpeg) -> Iterator[Block]:
        if found.torn or (found.missing and not found.lost):
            raise ValueError("truncated")
        for run in found.runs:
            window = Window(self._file, run.start, run.stop)
            if not run.is_as_said:
                # libmpg123 would stop at a wrong number of frames. Without one it guesses from the size.
                window = Window(self._file, run.start + run.header, run.stop, endless=True)
            with self._open(window) as sound:
                frames = 0
                for samples, rate in self._read(sound, window, whole=False):
                    frames += samples.shape[1]
                    yield samples, rate
                wanted = min(sound.frames, run.frames * run.samples)
                if frames < wanted - _LEFT_OUT * run.samples:
                    there, said = (f"{count / sound.samplerate:.1f}" for count in (frames, wanted))
                    raise ValueError(f"damaged: only {there} of {said} s can be decoded")
        if found.lost:
            raise CutShortError(f"{found.lost:,} bytes in its midst are not sound")

    def _av(self, error: _UnreadableError) -> Iterator[Block]:
        self._file.seek(0)
        if error.code == _NOT_A_SOUND and not is_for_av(self._file.read(64)):
            raise ValueError("not a sound") from error
        if error.code == _NO_SUCH_FILE:
            raise ValueError("damaged") from error
        if not has_av():
            kind = PurePath(self._name).suffix or "it"
            raise ValueError(f"{kind} needs PyAV: pip install 'mmgan[audio]'") from error
        yield from decode_with_av(Window(self._file))

    @contextlib.contextmanager
    def _open(self, window: Window) -> Iterator[Any]:
        """Open by libsndfile, whose errors become ValueErrors."""
        import soundfile  # type: ignore[import-untyped]

        class Forward(soundfile.SoundFile):  # type: ignore[misc]
            # Else soundfile seeks after every block to where it is, which makes Opus begin anew there.
            def seekable(self) -> bool:
                return False

        try:
            with self._warnings:
                sound = Forward(window)
            with sound:
                yield sound
        except soundfile.LibsndfileError as error:
            if error.code in (_NOT_A_SOUND, _NO_SUCH_FILE, *_NO_SUCH_CODEC):
                raise _UnreadableError(error.code) from error
            reason = re.sub(r"^(Internal )?[Ee]rror ?: ", "", error.error_string).rstrip(".")
            raise ValueError(f"damaged: {reason}") from error

    def _read(self, sound: Any, window: Window, *, whole: bool = True) -> Iterator[Block]:
        frames = 0
        size = max(1, _BLOCK // sound.channels)
        while frames < sound.frames:
            with self._warnings:
                samples = sound.read(size, dtype="float32", always_2d=True)
            if window.error:
                raise window.error
            if not len(samples):
                break
            frames += len(samples)
            yield samples.T, sound.samplerate
        if whole and frames < sound.frames != _UNKNOWN_FRAMES:
            raise ValueError("truncated")


class _UnreadableError(ValueError):
    """libsndfile does not read a file."""

    def __init__(self, code: int) -> None:
        super().__init__("damaged")
        self.code = code


def _breaks_off(sound: Any) -> bool:
    """Whether a file holds less than it says. libsndfile adjusts its count of frames to what is there."""
    return any(
        int(said) < _UNKNOWN_BYTES and int(said) - int(there) > _HEADER_BYTES
        for said, there in _TOO_FEW_BYTES.findall(sound.extra_info)
    )
