"""Where sounds come from: a folder, or a single recording. A plugin may bring other sources."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmgan.data.tree import FileTree

#: The suffixes of what soundfile reads and can tell to be whole. Its formats from the early days of digital
#: sound (VOC, PAF, AVR, …) are left out: a torn file of theirs passes for a short one.
_SUFFIXES = {
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
}
#: Formats that say how many bytes of sound follow: how libsndfile notes in its log that there are fewer.
_TOO_FEW_BYTES = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE
)
#: Sizes from here on are no sizes but what ffmpeg, sox and others write into a pipe, where they can't know.
_UNKNOWN_BYTES = 0x7FFFF000
#: Bytes that may be missing: some programs count the header in.
_HEADER_BYTES = 64
#: libsndfile's code for what it knows no format for.
_NOT_A_SOUND = 1
#: Its code for an MP3 whose header tells of more than there is. It says that there is no such file.
_NO_SUCH_FILE = 7


class SoundSource(Protocol):
    """Sounds with labels. ``str(source)`` is what a person calls it."""

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

    They are read by soundfile, which goes by what a file holds and not by its suffix.

    Args:
        path: A folder, or a single sound.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SUFFIXES)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], int, int]:
        # Opened here and not by soundfile, which says no more than "system error" where that fails, and
        # refuses names that are not Unicode.
        with self.file(index).open("rb") as file:
            samples, rate = _read(file)
        return samples, rate, self.labels[index]


def _read(file: IO[bytes]) -> tuple[NDArray[np.float32], int]:
    """Read a whole file: (channels, frames) and its rate.

    Raises:
        ValueError: It is no sound, damaged, or cut short, of which soundfile says nothing.
    """
    import soundfile  # type: ignore[import-untyped]

    try:
        with soundfile.SoundFile(file) as sound:
            samples = sound.read(dtype="float32", always_2d=True)
            if len(samples) < sound.frames or _breaks_off(sound, file):
                raise ValueError("truncated")
            return samples.T, sound.samplerate
    except soundfile.LibsndfileError as error:
        if error.code == _NOT_A_SOUND:
            raise ValueError("not a sound") from error
        if error.code == _NO_SUCH_FILE:
            raise ValueError("damaged") from error
        reason = re.sub(r"^(Internal )?[Ee]rror ?: ", "", error.error_string).rstrip(".")
        raise ValueError(f"damaged: {reason}") from error


def _breaks_off(sound: Any, file: IO[bytes]) -> bool:
    """Whether a file holds less than it says. libsndfile adjusts its count of frames to what is there."""
    if sound.format == "OGG":
        return not _has_last_page(file)
    return any(
        int(said) < _UNKNOWN_BYTES and int(said) - int(there) > _HEADER_BYTES
        for said, there in _TOO_FEW_BYTES.findall(sound.extra_info)
    )


def _has_last_page(file: IO[bytes]) -> bool:
    """Whether an Ogg file ends in a whole page that is marked as the last one (RFC 3533, section 6)."""
    file.seek(max(0, file.seek(0, 2) - (1 << 17)))  # twice the length of the longest page
    page = file.read()
    page = page[page.rfind(b"OggS") :]
    if len(page) < 27:
        return False
    segments = page[26]
    return bool(page[5] & 4) and len(page) >= 27 + segments + sum(page[27 : 27 + segments])
