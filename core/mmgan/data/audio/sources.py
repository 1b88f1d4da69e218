"""Sources of sounds: a folder, or a single recording. A plugin may add others."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmgan.data.audio.av_decoding import AV_SUFFIXES
from mmgan.data.audio.decoding import Block, CutShortError, decode
from mmgan.data.audio.native_stderr import open_standard_streams
from mmgan.data.tree import FileTree

#: The suffixes of what soundfile reads and can tell to be whole. Its formats from the early days of digital
#: sound (VOC, PAF, AVR, …) are left out: a torn file of theirs passes for a short one.
_SUFFIXES = {
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
}


class SoundSource(Protocol):
    """Sounds with labels. ``str(source)`` is what a person calls it.

    A source of long sounds may also have ``sound_blocks(index)``, which gives a sound as an iterator of
    blocks, each (channels, frames) and its rate, and ``labels``, the label of each sound. Then it is asked
    for these, maybe twice, and no sound has to be in memory as a whole. At the end of what is not a whole
    sound it may raise :class:`~mmgan.data.audio.decoding.CutShortError`.
    """

    #: How many files were passed over because their names are not those of sounds.
    others: int
    #: The names of the classes; a label is a position in this list. Empty where they have no names.
    classes: list[str]

    def __len__(self) -> int:
        """Return the number of sounds, readable or not."""

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], int, int]:
        """Return a sound (channels, frames), its rate in Hz, and its label. May raise anything if damaged."""

    def name(self, index: int) -> str:
        """Name a sound, for messages."""

    @property
    def fingerprint(self) -> str:
        """Name the sounds for the cache: equal for the same ones, different after any change to them."""


class SoundFolder(FileTree):
    """All sounds below a folder, labelled by its first-level subfolders.

    They are read by soundfile, and what it does not read by PyAV where that is installed. Both go by what a
    file holds and not by its suffix.

    Args:
        path: A folder, or a single sound.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SUFFIXES | AV_SUFFIXES)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], int, int]:
        blocks: list[Block] = []
        with contextlib.suppress(CutShortError):
            blocks.extend(self.sound_blocks(index))
        if not blocks:
            raise ValueError("no samples")
        return np.concatenate([samples for samples, _ in blocks], axis=1), blocks[0][1], self.labels[index]

    def sound_blocks(self, index: int) -> Iterator[Block]:
        """Yield a sound in blocks (channels, frames), each with the rate in Hz; raises as :func:`decode`."""
        # A file must not be opened as the standard error stream, which C libraries write to.
        open_standard_streams()
        # Opened here and not by soundfile, which says no more than "system error" where that fails, and
        # refuses names that are not Unicode.
        with self.file(index).open("rb") as file:
            yield from decode(file, self.name(index))


def blocks_of(source: SoundSource, index: int) -> tuple[Callable[[], Iterator[Block]], int]:
    """Return what gives a sound of any source in blocks, as often as it is called, and the sound's label."""
    kind = type(source)
    # A plugin's folder may process whole sounds, without support for blocks.
    whole = issubclass(kind, SoundFolder) and (
        kind.__getitem__ is not SoundFolder.__getitem__ and kind.sound_blocks is SoundFolder.sound_blocks
    )
    if hasattr(source, "sound_blocks") and not whole:
        return functools.partial(source.sound_blocks, index), int(source.labels[index])  # type: ignore[attr-defined]
    samples, rate, label = source[index]
    return lambda: iter([(samples, rate)]), int(label)
