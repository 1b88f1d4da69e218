"""Matching the files of folders A and B by their names, as exactly as possible."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import PurePosixPath

from mmgan.data.tree import FileTree


def match(
    a: FileTree, b: FileTree, labels: tuple[str, str]
) -> tuple[list[tuple[int, int]], list[tuple[str, str]]]:
    """Find the pairs, as positions in A and B, and name files without a partner, and why."""
    pairs: list[tuple[int, int]] = []
    left = [{number: _name(folder, number) for number in range(len(folder))} for folder in (a, b)]
    for shorten in (str, _stem, _folded):
        keys = [{number: shorten(name) for number, name in names.items()} for names in left]
        counts = [Counter(names.values()) for names in keys]
        once = {name: number for number, name in keys[1].items() if counts[1][name] == 1}
        found = [(n, once[name]) for n, name in keys[0].items() if counts[0][name] == 1 and name in once]
        for pair in found:
            for names, number in zip(left, pair, strict=True):
                del names[number]
        pairs += found
    missing = []
    stems = [{_folded(name) for name in names.values()} for names in left]
    for side, (folder, names) in enumerate(zip((a, b), left, strict=True)):
        for number, name in names.items():
            several = _folded(name) in stems[1 - side]
            why = "several files of this name" if several else f"no file of this name in {labels[1 - side]}"
            missing.append((f"{labels[side]}/{folder.name(number)}", why))
    return sorted(pairs), missing


def _name(folder: FileTree, number: int) -> str:
    # An accented letter may be one character or two; file systems differ in that.
    return unicodedata.normalize("NFC", folder.name(number))


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _folded(name: str) -> str:
    return _stem(name).casefold()
