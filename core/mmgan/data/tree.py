"""The files below a folder: which ones count, what they are called, and the class of each."""

from __future__ import annotations

import functools
import logging
import os
import stat
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import IO

from mmgan.data import fingerprints
from mmgan.data.files import open_data as open_data
from mmgan.data.metadata import METADATA
from mmgan.data.table import Table, read_table

log = logging.getLogger(__name__)

#: Endings of ordinary companions of data, which are not reported.
_ORDINARY = {
    *("", ".db", ".ini", ".txt", ".text", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".csv", ".tsv"),
    *(".html", ".htm", ".log", ".py", ".sh", ".url", ".lnk", ".tmp", ".bak", ".sha256", ".md5"),
}
#: How much a message has at most: names, names for one reason, reasons, endings, characters of a name.
_NAMES, _SHOWN, _REASONS, _ENDINGS, _LENGTH = 5, 2, 4, 5, 100


class FileTree:
    """All files below a folder with certain suffixes, in the order of their names.

    The first-level subfolders are the classes; files beside them are a class of their own, named ``""``.
    A file is known by its suffix, in capitals or not. Hidden files and folders are passed over. Links to
    folders are followed, but no folder is entered twice. What can't be read only fails when it is opened.

    Args:
        path: A folder, or a single file, whatever its suffix.
        suffixes: Those of the files that count, in small letters and with their dots.
    """

    #: Suffixes of files that a person may take for data, and that are not read: in small letters.
    noted: Collection[str] = ()

    def __init__(self, path: Path, suffixes: Collection[str]) -> None:
        self.path = path
        #: How many files were passed over because of their suffixes; captions and metadata do not count.
        self.others = 0
        #: The same by suffix, in small letters; ``""`` for those without, and for pipes and the like.
        self.endings: Counter[str] = Counter()
        #: Those of them whose suffix is in :attr:`noted`.
        self.not_read: list[Path] = []
        self._paths: list[Path] = []
        self._texts: list[Path] = []
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
        """Return the path of file ``index`` below the folder, with slashes."""
        return self._paths[index].relative_to(self._root).as_posix()

    def file(self, index: int) -> Path:
        """Return where file ``index`` is.

        Raises:
            OSError: It is gone, or may not be looked at.
            ValueError: It is empty.
        """
        path = self._paths[index]
        if path.stat().st_size == 0:
            raise ValueError("empty file")
        return path

    def open(self, index: int) -> IO[bytes]:
        """Open file ``index`` to read its bytes; OSError if it can't be read, ValueError if it is empty."""
        return open_data(self._paths[index])

    @functools.cached_property
    def fingerprint(self) -> str:
        """Detects any change of a file, for the cache; see :func:`mmgan.data.fingerprints.of_files`."""
        return fingerprints.of_files((self.name(index), path) for index, path in enumerate(self._paths))

    @functools.cached_property
    def table(self) -> Table:
        """Labels, captions and other columns of the files; see :func:`mmgan.data.table.read_table`.

        Empty for a single file.

        Raises:
            DataError: A metadata file can't be used.
        """
        alone = self._root != self.path
        return Table() if alone else read_table(self._root, [self.name(index) for index in range(len(self))])

    @functools.cached_property
    def content_fingerprint(self) -> str:
        """Identifies the files by content, wherever they lie; see :func:`mmgan.data.fingerprints.of_content`.

        A single file may have another name.
        """
        alone = self._root != self.path
        return fingerprints.of_content(
            ("" if alone else self.name(index), path) for index, path in enumerate(self._paths)
        )

    def _walk(self, suffixes: Collection[str]) -> None:
        # By a list and not by recursion: folders may be nested deeper than Python's calls.
        folders = [self._root]
        seen = {_identity(self._root)}
        while folders:
            folder = folders.pop()
            inner = []
            try:
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError:
                # To be skipped, counted and named when it is opened, like a file that can't be read.
                self._paths.append(folder)
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = Path(entry.path)
                if not _is_folder(entry):
                    self._add(path, suffixes)
                elif (identity := _identity(path)) not in seen:
                    seen.add(identity)
                    inner.append(path)
            folders += reversed(inner)
        self._paths.sort(key=lambda path: path.parts)
        stems = {path.with_suffix("") for path in self._paths} if self._texts else set()
        unused = [text for text in self._texts if text.with_suffix("") not in stems]
        self.others += len(unused)
        self.endings.update(text.suffix.lower() for text in unused)

    def _add(self, path: Path, suffixes: Collection[str]) -> None:
        suffix = path.suffix.lower()
        special = _is_special(path)
        if suffix in suffixes and not special:
            self._paths.append(path)
        elif suffix == ".txt" and not special:  # a caption, if it is beside a file of its name
            self._texts.append(path)
        elif path.name not in METADATA:
            self.others += 1
            self.endings["" if special else suffix] += 1
            if suffix in self.noted and not special:
                self.not_read.append(path)


def list_skipped(skipped: list[tuple[str, str]], what: str = "skipped") -> str:
    """Write what was skipped: up to five files as ``"; 2 skipped: a.png (truncated), b.png (empty file)"``.

    More are grouped by their reasons: ``"; 9 skipped: 8 x truncated (in photos: a.png, b.png, …), c.png
    (empty file) (-v names them)"``. Nothing where none was skipped. The log, which ``-v`` shows, names all.

    Args:
        skipped: The name of each file, and why it was skipped.
        what: What happened to them, if they were not skipped.
    """
    if not skipped:
        return ""
    reasons: dict[str, list[str]] = {}
    for name, reason in skipped:
        log.info("%s: %s (%s)", what, printable(name), printable(reason))
        reasons.setdefault(printable(reason), []).append(name)
    count = f"; {len(skipped):,} {what}: "
    if len(skipped) <= _NAMES:
        return count + ", ".join(f"{printable(name)} ({printable(reason)})" for name, reason in skipped)
    # The most frequent first, and otherwise in the order in which they came.
    ordered = sorted(reasons.items(), key=lambda item: -len(item[1]))
    groups = [_group(reason, names, len(ordered) > 1) for reason, names in ordered[:_REASONS]]
    if more := sum(len(names) for _, names in ordered[_REASONS:]):
        groups.append(f"{more:,} for other reasons")
    return f"{count}{', '.join(groups)} (-v names them)"


def list_others(*sources: object) -> str:
    """Write how many files were passed over, and their endings, but for ordinary companions of data.

    ``"; 203 other files (200 .heic, 1 .zip)"``, or nothing where there are none.

    Args:
        sources: Each has ``others``, a number of files, and where it is known ``endings``, a Counter of them.
    """
    others = sum(getattr(source, "others", 0) for source in sources)
    if not others:
        return ""
    endings: Counter[str] = Counter()
    for source in sources:
        endings.update(getattr(source, "endings", {}))
    named = [(ending, count) for ending, count in endings.most_common() if ending not in _ORDINARY]
    texts = [f"{count:,} {printable(ending)}" for ending, count in named[:_ENDINGS]]
    if rest := sum(count for _, count in named[_ENDINGS:]):
        texts.append(f"{rest:,} of other endings")
    listed = f" ({', '.join(texts)})" if texts else ""
    return f"; {others:,} other file{'s' * (others > 1)}{listed}"


def printable(text: str) -> str:
    """Quote what can't be shown, such as a line break in a file's name, and shorten what is long."""
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= _LENGTH else f"{text[: _LENGTH // 2]}…{text[-_LENGTH // 2 :]}"


def _group(reason: str, names: list[str], counted: bool) -> str:
    """Write the first files that have one reason, and the folder that all of them are in."""
    if len(names) == 1:
        return f"{printable(names[0])} ({reason})"
    folder = os.path.commonpath([os.path.dirname(name) for name in names])
    inside = [name[len(folder) + 1 if folder else 0 :] for name in names[:_SHOWN]]
    listed = ", ".join(map(printable, inside))
    place = f"in {printable(folder)}: " if folder else ""
    count = f"{len(names):,} x " if counted else ""
    return f"{count}{reason} ({place}{listed}{', …' if len(names) > _SHOWN else ''})"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int] | Path:
    """Return a folder's identity, whatever links lead to it."""
    try:
        status = folder.stat()
    except OSError:
        return folder
    return status.st_dev, status.st_ino


def _is_special(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device, which would block when opened. A broken link is not."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
