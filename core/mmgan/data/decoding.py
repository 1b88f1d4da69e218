"""Decoding everything in a source, several at once: what can't be read is skipped, counted and named."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Protocol, TypeVar

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from mmgan.data.tree import list_others, list_skipped
from mmgan.errors import DataError

#: A progress callback: (done, total).
Progress = Callable[[int, int], None]

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)
Row = TypeVar("Row")

# Pillow decodes and resizes outside the interpreter's lock. A thread takes many pictures at once: handing
# over small ones (28x28) one by one was measured to take three times as long as one thread alone.
_THREADS = min(4, os.cpu_count() or 1)
_SHARE = 64
#: What the texts in a PNG may take, in bytes. Pillow's 64 MB can be compressed into 64 kB.
_TEXT = 8_000_000
_HINT = (
    "Give --data a folder of pictures that Pillow reads, such as .png or .jpg; subfolders are searched too."
)


class Source(Protocol[Item_co]):
    """What :func:`decode_all` takes: an ``ImageSource``, or one of pairs. ``str(source)`` is its name."""

    #: How many files were passed over because their names are not those of pictures.
    others: int

    def __len__(self) -> int:
        """Return how many there are, readable or not."""

    def __getitem__(self, index: int) -> Item_co:
        """Open one. May raise anything where it is damaged."""

    def name(self, index: int) -> str:
        """Name one, for messages."""


def decode_all(
    source: Source[Item],
    convert: Callable[[Item], Row],
    progress: Progress | None,
    skipped: list[tuple[str, str]],
    *,
    what: str = "picture",
    least: int = 2,
    hint: str = _HINT,
    share: int = _SHARE,
) -> Iterator[Row]:
    """Decode everything in a source, several at once, and yield what can be read, in order.

    Args:
        source: Pictures, pairs of them, or the like. One that can't be read may raise anything.
        convert: Turns what ``source[index]`` gave into what is yielded. Called in several threads.
        progress: Called now and then.
        skipped: The name of each one that can't be read, and why, is added here.
        what: What one of them is called in a message.
        least: How many are needed.
        hint: What to do where there are fewer.
        share: How many a thread takes at once. Four threads' shares are in memory, so fewer where they are
            large.

    Raises:
        DataError: Fewer than ``least`` can be read.
    """
    readable = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for block in _split(range(len(source)), _THREADS * share):
            for index, (row, problem) in zip(
                block, _decode(source, convert, _split(block, share), pool), strict=True
            ):
                if row is None:
                    skipped.append((source.name(index), problem))
                else:
                    readable += 1
                    yield row
            if progress:
                progress(block.stop, len(source))
    if readable < least:
        count = f"{readable} readable {what}{'s' * (readable > 1)}" if readable else f"no readable {what}"
        need = f"a GAN needs at least {least} to learn from" if least > 1 else "at least 1 is needed"
        raise DataError(
            f"{source} has {count}, and {need} "
            f"({len(source):,} found{list_skipped(skipped)}{list_others(source)}).",
            hint=hint,
        )


def _decode(
    source: Source[Item], convert: Callable[[Item], Row], shares: Iterator[range], pool: ThreadPoolExecutor
) -> list[tuple[Row | None, str]]:
    """Decode shares of a block: each one converted, or None and why it has to be skipped."""

    def decode(index: int) -> tuple[Row | None, str]:
        # Pillow's readers raise nearly anything on a hostile file, and one bad file must not stop a run.
        try:
            return convert(source[index]), ""
        except Exception as error:
            return None, reason(error)

    # Filters are shared by all threads, so they are set here, around the block, and not in each thread.
    with guarded_pillow():
        results = pool.map(lambda share: [decode(index) for index in share], shares)
        return list(chain.from_iterable(results))


@contextlib.contextmanager
def strict_pillow() -> Iterator[None]:
    """Turn Pillow's warning about very large pictures into an error, and silence its other warnings."""
    with guarded_pillow():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def guarded_pillow() -> Iterator[None]:
    """Bound what a PNG's texts take, and let no warnings of Pillow's through.

    For what looks at the size by itself before it decodes, as ``to_picture`` does: a large JPEG of which a
    small draft is wanted is not too large.
    """
    before = PngImagePlugin.MAX_TEXT_MEMORY
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        PngImagePlugin.MAX_TEXT_MEMORY = _TEXT
        try:
            yield
        finally:
            PngImagePlugin.MAX_TEXT_MEMORY = before


def _split(indices: range, length: int) -> Iterator[range]:
    return (indices[start : start + length] for start in range(0, len(indices), length))


def reason(error: Exception) -> str:
    """Say in a few words why a picture can't be read: "truncated", "not a picture".

    Args:
        error: What opening or decoding it raised.
    """
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"too large: more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    if isinstance(error, MemoryError):
        return "too large: it takes more memory than one picture may"
    if isinstance(error, UnidentifiedImageError):
        return "not a picture"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, DataError):
        return error.message
    if "text chunks" in str(error):
        return f"more than {_TEXT:,} bytes of text beside the picture"
    if "truncated" in str(error).lower():
        return "truncated"
    return str(error) or type(error).__name__
