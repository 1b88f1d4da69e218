"""Waveforms in blocks, so that a recording of any length passes through little memory.

A block is a float32 array (channels, frames); blocks may have any lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]

#: Values of a waveform that is kept in memory: 32 MiB, or 9 minutes of mono at 16 kHz.
_KEPT = 1 << 23
#: Frames of the blocks that an array is cut into.
_BLOCK = 1 << 18


class Blocks:
    """A waveform that can be gone through again: kept where it is short, made anew where it is long.

    Args:
        make: Gives its blocks, from the start, each time it is called.
    """

    def __init__(self, make: Callable[[], Iterable[Waveform]]) -> None:
        self._make = make
        self._kept: list[Waveform] | None = None
        self._frames: int | None = None

    def __iter__(self) -> Iterator[Waveform]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Waveform] = []
        values = frames = 0
        for block in self._make():
            frames += block.shape[1]
            values += block.size
            if values <= _KEPT:
                kept.append(block)
            else:
                kept.clear()
            yield block
        self._frames = frames
        if values <= _KEPT:
            self._kept = kept

    @property
    def frames(self) -> int:
        """How many frames there are in all."""
        if self._frames is None:
            for _ in self:
                pass
        assert self._frames is not None
        return self._frames

    def part(self, start: int, end: int) -> Iterator[Waveform]:
        """Yield what lies from one frame to before another; frames after the end of all are left out."""
        position = 0
        for block in self:
            if position >= end:
                break
            piece = block[:, max(0, start - position) : end - position]
            position += block.shape[1]
            if piece.size:
                yield piece


def pieces(blocks: Iterable[Waveform], size: int, margin: int = 0) -> Iterator[tuple[Waveform, int]]:
    """Cut blocks into pieces of one size, the last one shorter, that overlap.

    Args:
        blocks: All of a waveform.
        size: Frames of a piece.
        margin: Frames to give with a piece on both sides, as far as the waveform goes.

    Yields:
        A piece with its margins, and how many frames of it are the one before.
    """
    parts: list[Waveform] = []
    held = before = 0
    for block in blocks:
        parts.append(block)
        held += block.shape[1]
        if held < before + size + margin:
            continue
        whole = np.concatenate(parts, axis=1)
        start = 0
        while held - start >= before + size + margin:
            yield whole[:, start : start + before + size + margin], before
            drop = max(0, before + size - margin)
            start, before = start + drop, before + size - drop
        parts, held = [whole[:, start:].copy()], held - start
    if held > before:
        whole = np.concatenate(parts, axis=1)
        for start in range(before, held, size):
            first = max(0, start - margin)
            yield whole[:, first : start + size + margin], start - first


def in_blocks(waveform: Waveform) -> Iterator[Waveform]:
    """Cut an array (channels, frames), without copying it."""
    for start in range(0, waveform.shape[1], _BLOCK):
        yield waveform[:, start : start + _BLOCK]
