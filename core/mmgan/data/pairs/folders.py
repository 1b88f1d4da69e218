"""Layouts of folders of pairs: the subfolders of domains A and B, for training and for validation."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from mmgan.errors import DataError

TWO_FOLDERS = (
    "two folders: FOLDER/trainA and FOLDER/trainB, FOLDER/A and FOLDER/B, or --data and --set data_b=FOLDER"
)
#: A name that ends in A or B, or begins with one: trainA, train_b, 0_A, a, B-test.
_SIDE_LAST = re.compile(r"(?P<rest>.*?)[-_. ]?(?P<side>[ab])", re.IGNORECASE | re.DOTALL)
_SIDE_FIRST = re.compile(r"(?P<side>[ab])[-_. ](?P<rest>.+)", re.IGNORECASE | re.DOTALL)
#: The meaning of the rest of a name.
_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
    "": "",
}


class Two(NamedTuple):
    """The folders of the two domains."""

    a: Path
    b: Path


def two_folders(path: Path) -> list[Two]:
    """Find A and B to train on and, where there are any, A and B to validate on.

    They are subfolders whose names differ only in the letter A or B: trainA and trainB with valA and valB or
    testA and testB; A and B; 0_A and 0_B; or A and B in ``train``, and in ``val`` or ``test``. Case doesn't
    matter.

    Returns:
        One or two; an empty list if there are no such folders.

    Raises:
        DataError: One of the two is missing, or the choice is ambiguous.
    """
    found = _by_part(path)
    for part in ("train", "", "other"):
        if training := _only(path, found.get(part, [])):
            validation = _only(path, found.get("val", [])) or _only(path, found.get("test", []))
            return [training, validation] if validation and part == "train" else [training]
    inner = train_and_validation(path)
    if not inner:
        alone = [folder for folder in _folders(path) if _PARTS.get(folder.name.lower()) == "train"]
        inner = alone if len(alone) == 1 else []
    twos = [_only(folder, _by_part(folder).get("", [])) for folder in inner]
    return [two for two in twos if two] if twos and twos[0] else []


def train_and_validation(path: Path) -> list[Path]:
    """Find a folder's parts ``train`` and ``val`` (or else ``test``); nothing if it lacks one."""
    parts: dict[str, list[Path]] = {}
    for folder in _folders(path):
        parts.setdefault(_PARTS.get(folder.name.lower(), "other"), []).append(folder)
    validation = parts.get("val") or parts.get("test") or []
    training = parts.get("train", [])
    if len(training) > 1 or (training and len(validation) > 1):
        raise _ambiguous(path, [*training, *validation])
    return [*training, *validation] if training and validation else []


def _by_part(path: Path) -> dict[str, list[list[Path | None]]]:
    """Collect the subfolders that are an A or a B: for each part lists [A, B], None for what is missing."""
    groups: dict[str, dict[str, list[Path]]] = {}
    for folder in _folders(path):
        if match := _SIDE_LAST.fullmatch(folder.name) or _SIDE_FIRST.fullmatch(folder.name):
            # Distinguished by the spelling of A: train_a and trainA are two groups.
            start, end = match.span("side")
            key = f"{folder.name[:start]}\0{folder.name[end:]}".lower()
            groups.setdefault(key, {}).setdefault(match["side"].lower(), []).append(folder)
    parts: dict[str, list[list[Path | None]]] = {}
    for key, sides in groups.items():
        if any(len(folders) > 1 for folders in sides.values()):
            raise _ambiguous(path, [folder for folders in sides.values() for folder in folders])
        part = _PARTS.get(key.replace("\0", "").strip("-_. "), "other")
        two = [sides[side][0] if side in sides else None for side in "ab"]
        # Any name may end in the letter a.
        if None not in two or part != "other":
            parts.setdefault(part, []).append(two)
    return parts


def _only(path: Path, twos: list[list[Path | None]]) -> Two | None:
    """Return the only one, or None if there is none."""
    if len(twos) > 1:
        raise _ambiguous(path, [folder for two in twos for folder in two if folder])
    if not twos:
        return None
    a, b = twos[0]
    if a and b:
        return Two(a, b)
    there = a or b
    assert there is not None
    missing = there.with_name(_other_side(there.name))
    if there.name in ("a", "b"):  # a class like any
        return None
    raise DataError(
        f"{str(path)!r} has a folder {there.name}, and none that is named {missing.name}.",
        hint=f"Put the pictures of the other domain into {str(missing)!r}.",
    )


def _other_side(name: str) -> str:
    """Return the name with the other letter in the place of A or B."""
    match = _SIDE_LAST.fullmatch(name) or _SIDE_FIRST.fullmatch(name)
    assert match is not None
    start, end = match.span("side")
    other = {"A": "B", "B": "A", "a": "b", "b": "a"}[match["side"]]
    return name[:start] + other + name[end:]


def _folders(path: Path) -> list[Path]:
    """Return the subfolders that are not hidden, in order; none if they can't be listed."""
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return []
    return [path / name for name in names if not name.startswith(".") and os.path.isdir(path / name)]


def _ambiguous(path: Path, folders: list[Path]) -> DataError:
    names = ", ".join(repr(folder.name) for folder in sorted(folders)[:12])
    return DataError(
        f"{str(path)!r} has several folders that may be the two sides: {names}.",
        hint="Name one of them by --data and the other by --set data_b=FOLDER, or move the rest away.",
    )
