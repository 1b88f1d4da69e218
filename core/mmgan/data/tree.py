"""The files below a folder: which ones count, what they are called, and the class of each."""

from __future__ import annotations

import functools
import logging
import os
import stat
from collections.abc import Collection
from pathlib import Path

from mmgan.data import fingerprints

log = logging.getLogger(__name__)


class FileTree:
    """All files below a folder with certain suffixes, in the order of their names.

    The first-level subfolders are the classes; files beside them are a class of their own, named ``""``.
    A file is known by its suffix, in capitals or not. Hidden files and folders are passed over. Links to
    folders are followed, but no folder is entered twice. What can't be read only fails when it is opened.

    Args:
        path: A folder, or a single file, whatever its suffix.
        suffixes: Those of the files that count, in small letters and with their dots.
    """

    def __init__(self, path: Path, suffixes: Collection[str]) -> None:
        self.path = path
        #: How many files were passed over because of their suffixes.
        self.others = 0
        self._paths: list[Path] = []
        if path.is_dir():
            self._root = path
            self._walk(suffixes)
        else:
            self._root = path.parent
            self._paths = [path]
        parts = [file.relative_to(self._root).parts for file in self._paths]
        names = [part[0] if len(part) > 1 else "" for part in parts]
        #: The names of the classes; a label is a position in this list.
        self.classes = sorted(set(names))
        numbers = {name: number for number, name in enumerate(self.classes)}
        self.labels = [numbers[name] for name in names]

    def __str__(self) -> str:
        return repr(str(self.path))

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        """Return a file's path below the folder."""
        return self._paths[index].relative_to(self._root).as_posix()

    def file(self, index: int) -> Path:
        """Return where a file is.

        Raises:
            OSError: It is gone, or may not be looked at.
            ValueError: It is empty.
        """
        path = self._paths[index]
        if path.stat().st_size == 0:
            raise ValueError("empty file")
        return path

    @functools.cached_property
    def fingerprint(self) -> str:
        """Tells any change of a file, for the cache; see :func:`mmgan.data.fingerprints.of_files`."""
        return fingerprints.of_files((self.name(index), path) for index, path in enumerate(self._paths))

    @functools.cached_property
    def content_fingerprint(self) -> str:
        """Tells equal files wherever they lie; see :func:`mmgan.data.fingerprints.of_content`.

        A single file may have another name.
        """
        alone = self._root != self.path
        return fingerprints.of_content(
            ("" if alone else self.name(index), path) for index, path in enumerate(self._paths)
        )

    def _walk(self, suffixes: Collection[str]) -> None:
        def unreadable(error: OSError) -> None:
            # To be skipped, counted and named when it is opened, like a file that can't be read.
            self._paths.append(Path(os.fsdecode(error.filename)))

        seen = {os.path.realpath(self._root)}
        for folder, folders, files in os.walk(self._root, onerror=unreadable, followlinks=True):
            kept = []
            for name in sorted(folders):
                real = os.path.realpath(os.path.join(folder, name))
                if not name.startswith(".") and real not in seen:
                    seen.add(real)
                    kept.append(name)
            folders[:] = kept
            for name in files:
                path = Path(folder, name)
                if name.startswith("."):
                    continue
                if path.suffix.lower() in suffixes and not _is_special(path):
                    self._paths.append(path)
                else:
                    self.others += 1
        self._paths.sort(key=lambda path: path.parts)


def list_skipped(skipped: list[tuple[str, str]], what: str = "skipped") -> str:
    """Write ``"; 7 skipped: a.wav (truncated), … and 2 more"``, or nothing where none was skipped.

    The log, which ``-v`` shows, names them all.

    Args:
        skipped: The name of each file, and why it was skipped.
        what: What happened to them, if they were not skipped.
    """
    if not skipped:
        return ""
    named = [f"{_printable(name)} ({_printable(reason)})" for name, reason in skipped]
    for name in named:
        log.info("%s: %s", what, name)
    more = f" and {len(named) - 5:,} more (-v names them)" if len(named) > 5 else ""
    return f"; {len(named):,} {what}: {', '.join(named[:5])}{more}"


def _printable(text: str) -> str:
    """Quote what can't be shown: a file's name may hold a line break, which would tear a message."""
    return text if text.isprintable() else ascii(text)


def _is_special(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device, which would block who opens it. A broken link is not."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
