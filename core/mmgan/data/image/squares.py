"""Decoding of pictures to training squares, in bounded memory.

A large picture is decoded by a process of its own, which may not take more than a fixed amount of memory: so
neither a large photo nor a file that is made to fill the memory can end a training. That process knows
Pillow and NumPy and not torch, and starts in a fifth of a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmgan.data.decoding import guarded_pillow, reason
from mmgan.data.image.depth import UsualBits
from mmgan.data.image.look import Look, Squares, draft_for, to_squares
from mmgan.data.image.memory import MOST, check_size, is_known, memory_needed
from mmgan.data.image.sources import ImageSource, open_picture

#: For the cache: raise it whenever the same files become other squares.
VERSION = 2
#: What needs no more is decoded in the thread that wants it: 4 million pixels in colour.
_SMALL = 32_000_000
#: What the other process may allocate: a picture, itself, and the strips that it works by.
_LIMIT = MOST + 50_000_000
#: The least share of :data:`MOST` that is reserved for a file whose header does not give its needs.
_UNKNOWN = 100_000_000


#: What the other process runs: with this one's path, so that it finds the same mmgan.
_SERVE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from mmgan.data.image.squares import serve
serve()
"""


class Decoder:
    """Makes squares of pictures, in the thread that asks or in another process. To be used as a context.

    All that is decoded at a time in other processes takes at most :data:`MOST` bytes in sum.

    Args:
        look: Which squares.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._free = MOST
        self._changed = threading.Condition()
        self._idle: list[_Process] = []

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *args: object) -> None:
        while self._idle:
            self._idle.pop().close()

    def __call__(self, image: Image.Image, usual: UsualBits | None = None) -> Squares:
        """Make squares of a picture that was opened, and not loaded; raises as :func:`to_squares`.

        Args:
            image: The picture. May be changed in place.
            usual: What depth the others have.
        """
        path = _path(image)
        squares = self._decode(image, path, 0)
        # Twice only where a picture is unlike the others.
        if usual and 0 < squares.bits < 16 and (bits := usual.get()) > squares.bits:
            with contextlib.nullcontext(image) if path is None else open_picture(path) as again:
                squares = self._decode(again, path, bits)
        return squares

    def _decode(self, image: Image.Image, path: str | None, bits: int) -> Squares:
        draft_for(image, self._look)
        needed = memory_needed(image, self._look.channels)
        known = is_known(image)
        if path is None or (known and needed <= _SMALL):
            return to_squares(image, self._look, bits)
        check_size(image, self._look.channels)
        with self._share(needed if known else max(needed, _UNKNOWN)), self._process() as process:
            squares = process.decode(path, self._look, bits)
        if isinstance(squares, str):
            raise ValueError(squares)
        return squares

    @contextlib.contextmanager
    def _share(self, needed: int) -> Iterator[None]:
        """Wait until this number of bytes is free, and reserve it."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= needed)
            self._free -= needed
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()

    @contextlib.contextmanager
    def _process(self) -> Iterator[_Process]:
        try:
            process = self._idle.pop()
        except IndexError:
            process = _Process()
        try:
            yield process
        except BaseException:
            # It broke down, or was interrupted: a new one has nothing left in its pipes.
            process.close()
            raise
        self._idle.append(process)


def whole_picture(image: Image.Image, channels: int, background: str = "white") -> NDArray[np.uint8]:
    """Decode a picture at its own size, in another process where it is large; raises as :func:`to_squares`.

    Args:
        image: As it was opened. May be changed in place.
        channels: 1 for grey, 3 for RGB.
        background: Behind what is transparent.

    Returns:
        uint8 (height, width, channels).
    """
    with Decoder(Look((), channels, background=background)) as decoder:
        return decoder(image).pixels[0]


def usual_bits(source: ImageSource) -> UsualBits:
    """Return the depth that nearly all deep pictures of a source need; decoded is when it is asked for."""

    def depths(indices: list[int]) -> Iterator[int]:
        with Decoder(Look((1,), 1)) as decoder:
            for index in indices:
                # What is damaged is skipped and named where it is decoded.
                with contextlib.suppress(Exception):
                    image, _ = source[index]
                    with image:
                        yield decoder(image).bits

    return UsualBits(len(source), depths)


class _Process:
    """A process that decodes one picture after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # One thread: each would set memory aside.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )

    def decode(self, path: str, look: Look, bits: int) -> Squares | str:
        """Decode a file, or return the reason why that can't be done.

        Raises:
            ValueError: The process broke down.
        """
        question, answer = self._process.stdin, self._process.stdout
        assert question is not None
        assert answer is not None
        try:
            question.write(json.dumps([os.fsencode(path).hex(), asdict(look), bits]).encode() + b"\n")
            question.flush()
            header = json.loads(answer.readline())
        except (OSError, ValueError) as error:
            raise ValueError("its decoder broke down") from error
        if "problem" in header:
            return str(header["problem"])
        pixels = []
        for shape in header["shapes"]:
            data = answer.read(int(np.prod(shape)))
            if len(data) < np.prod(shape):
                raise ValueError("its decoder broke down")
            pixels.append(np.frombuffer(data, dtype=np.uint8).reshape(shape))
        width, height = header["size"]
        return Squares((width, height), header["bits"], pixels)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def serve() -> None:
    """Be the other process: read files' names on stdin and write their squares to stdout, until it ends."""
    import signal

    # Ctrl-C reaches all processes of a terminal; the one that asks closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory()
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that talks must not tear an answer
    for line in sys.stdin.buffer:
        name, look, bits = json.loads(line)
        look = Look(**{**look, "sizes": tuple(look["sizes"])})
        try:
            with guarded_pillow(), open_picture(os.fsdecode(bytes.fromhex(name))) as image:
                squares = to_squares(image, look, bits)
        except Exception as error:
            _write(answer, {"problem": reason(error)}, [])
        else:
            shapes = [list(pixels.shape) for pixels in squares.pixels]
            _write(answer, {"size": squares.size, "bits": squares.bits, "shapes": shapes}, squares.pixels)


def _write(file: IO[bytes], header: dict[str, Any], pixels: list[NDArray[np.uint8]]) -> None:
    file.write(json.dumps(header).encode() + b"\n")
    for array in pixels:
        file.write(np.ascontiguousarray(array).data)
    file.flush()


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (_LIMIT, _LIMIT))


def _path(image: Image.Image) -> str | None:
    """Return the file that a picture is read from, if it is from one and not loaded yet."""
    name = getattr(getattr(image, "fp", None), "name", None)
    return name if isinstance(name, str) else None
