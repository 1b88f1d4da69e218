"""Labels, captions and other columns of files, from metadata files and from ``name.txt`` beside them."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmgan.data.files import open_data
from mmgan.data.metadata import (
    COLUMNS,
    METADATA,
    TEXT_SIZE,
    Problems,
    Value,
    as_numbers,
    as_text,
    checked,
    checked_text,
    column_name,
    read_rows,
)
from mmgan.errors import DataError, line, shown

#: Columns that hold texts, whatever they are written as.
_TEXTS = ("label", "text")


@dataclass(frozen=True)
class Table:
    """What is known of each of a folder's files.

    Args:
        columns: For each column one value a file, in the order of the files; None where there is none. The
            columns ``label`` and ``text`` (captions) hold texts; others texts, numbers and truth values.
        fingerprint: Identifies all columns and values, wherever they are written; ``""`` without columns.
        problems: What could not be used: where (a file, and behind a colon the line), and why. At most 101.
    """

    columns: Mapping[str, Sequence[Value | None]] = field(default_factory=dict)
    fingerprint: str = ""
    problems: Sequence[tuple[str, str]] = ()


def read_table(root: Path, names: Sequence[str]) -> Table:
    """Read the labels, captions and columns of files.

    ``metadata.jsonl`` or ``metadata.csv``, in the folder or in folders below it, has a line for each file:
    ``file_name``, its path below the metadata file's folder, and any columns. Where two of them describe one
    file, the nearest counts. ``cat/1.txt`` is the ``text`` of ``cat/1.png``, if no metadata has one.

    Args:
        root: The folder.
        names: The paths of the files below it, with slashes, as ``FileTree.name`` returns them.

    Raises:
        DataError: A folder has both metadata files, or nothing in a metadata file can be used.
    """
    problems = Problems()
    indices = {name: index for index, name in enumerate(names)}
    columns: dict[str, dict[int, Value]] = {}
    captions: dict[str, str] = {}
    described: set[int] = set()
    # The deepest first, since the nearest metadata counts.
    for folder in sorted(_folders(names), key=lambda folder: (-folder.count("/"), folder == "", folder)):
        metadata, texts = _list(root, folder)
        captions |= {name: text for name, text in texts.items() if text not in indices}
        if len(metadata) > 1:
            raise DataError(
                f"{str(root / folder)!r} has both {' and '.join(metadata)}; one of them is read.",
                hint="Take one of them away, or name it otherwise.",
            )
        for name in metadata:
            _add_metadata(columns, described, root, posixpath.join(folder, name), indices, problems)
    for index, name in enumerate(names):
        caption = captions.get(posixpath.splitext(name)[0])
        if caption is not None and index not in columns.get("text", ()):
            text = _caption(root, caption, problems)
            if text is not None:
                columns.setdefault("text", {})[index] = text
    everyone = range(len(names))
    filled = {column: [values.get(index) for index in everyone] for column, values in columns.items()}
    return Table(filled, _fingerprint(filled), problems.listed())


def class_names(labels: Iterable[Value | None]) -> list[str]:
    """Return the names of the classes that labels name, sorted; as numbers if all are integers."""
    names = sorted({str(label) for label in labels if label is not None})
    if all(name.removeprefix("-").isdecimal() and len(name) <= 20 for name in names):
        names.sort(key=int)
    return names


def _folders(names: Iterable[str]) -> set[str]:
    """Return the folders of files, and those that they are in; ``""`` is the root."""
    folders = {""}
    for folder in {posixpath.dirname(name) for name in names}:
        while folder not in folders:
            folders.add(folder)
            folder = posixpath.dirname(folder)
    return folders


def _list(root: Path, folder: str) -> tuple[list[str], dict[str, str]]:
    """Return a folder's metadata files, and its texts by their paths without the suffix."""
    metadata, texts = [], {}
    try:
        with os.scandir(root / folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:  # it is told of as a file that can't be read
        return [], {}
    for entry in entries:
        stem, suffix = posixpath.splitext(entry.name)
        if entry.name in METADATA:
            metadata.append(entry.name)
        elif suffix.lower() == ".txt":
            texts[posixpath.join(folder, stem)] = posixpath.join(folder, entry.name)
    return metadata, texts


def _add_metadata(
    columns: dict[str, dict[int, Value]],
    described: set[int],
    root: Path,
    name: str,
    indices: Mapping[str, int],
    problems: Problems,
) -> None:
    """Add what a metadata file says of files that none below it has described."""
    own: set[int] = set()
    found: dict[str, dict[int, Value]] = {}
    known = columns.keys() | set()
    for where, file, row in read_rows(root / name, name, problems):
        index = _find(posixpath.dirname(name), file, indices)
        if index is None:
            problems.add(where, f"names {shown(file)}, which is not among the files")
        elif index in own:
            problems.add(where, f"names {shown(file)} again; its first line counts")
        elif index in described:
            problems.add(where, f"names {shown(file)}, which metadata nearer to it describes")
        else:
            own.add(index)
            for column, value in row.items():
                try:
                    kept = as_text(checked(value)) if column in _TEXTS else checked(value)
                    if kept is None:
                        continue
                    if column not in found:
                        column_name(column)
                        if column not in known and len(known) == COLUMNS:
                            raise ValueError(f"one column too many; {COLUMNS:,} are read")
                        known.add(column)
                    found.setdefault(column, {})[index] = kept
                except ValueError as error:
                    problems.add(where, f"{shown(column)}: {error}", once=(name, str(error), column[:200]))
    described |= own
    for column, values in found.items():
        if name.endswith(".csv") and column not in _TEXTS:
            values = dict(zip(values, as_numbers(values.values()), strict=True))
        columns.setdefault(column, {}).update(values)


def _find(folder: str, file: str, indices: Mapping[str, int]) -> int | None:
    """Return the number of the file that a line names; Windows writes backslashes."""
    for spelling in (file, file.replace("\\", "/")):
        path = posixpath.normpath(spelling)
        if path.startswith(("/", "../")):  # outside of the metadata's folder, even if it is among the files
            continue
        if (index := indices.get(posixpath.join(folder, path))) is not None:
            return index
    return None


def _caption(root: Path, name: str, problems: Problems) -> str | None:
    """Read a caption; None where it is blank, or can't be read."""
    try:
        with open_data(root / name) as file:
            data = file.read(TEXT_SIZE + 1)
        if len(data) > TEXT_SIZE:
            raise ValueError(f"longer than {TEXT_SIZE >> 10} KiB")
        return as_text(checked_text(data.decode("utf-8-sig", errors="surrogateescape")))
    except OSError as error:
        problems.add(name, error.strerror or line(error))
    except ValueError as error:
        if str(error) != "empty file":
            problems.add(name, line(error))
    return None


def _fingerprint(columns: Mapping[str, Sequence[Value | None]]) -> str:
    if not columns:
        return ""
    digest = hashlib.sha256()
    for column in sorted(columns):
        digest.update(json.dumps([column, columns[column]]).encode() + b"\n")
    return digest.hexdigest()
