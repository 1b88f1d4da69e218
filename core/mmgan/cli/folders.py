"""New, empty folders for the results of a command."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from mmgan.errors import UsageError


@contextlib.contextmanager
def numbered(parent: Path, prefix: str = "") -> Iterator[Path]:
    """Make ``parent/prefix001`` or the next free number, and remove it again if nothing was written to it.

    Two processes never get the same folder, since making it is what takes the number.
    """
    parent.mkdir(parents=True, exist_ok=True)
    matches = (re.fullmatch(rf"{re.escape(prefix)}([0-9]{{1,9}})", path.name) for path in parent.iterdir())
    taken = (int(match[1]) for match in matches if match)
    for number in itertools.count(max(taken, default=0) + 1):
        folder = parent / f"{prefix}{number:03d}"
        with contextlib.suppress(FileExistsError):
            # Another process that gave up may just have removed the parent.
            folder.mkdir(parents=True)
            break
    try:
        yield folder
    except BaseException:
        # rmdir removes empty folders only, so anything written stays.
        with contextlib.suppress(OSError):
            folder.rmdir()
            parent.rmdir()
        raise


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Path]:
    """Make ``folder`` and its parents; if the work in it fails, remove those that are still empty."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def check_new(folder: Path, hint: str = "Choose another --out.") -> None:
    """Refuse a folder that is not empty.

    Args:
        folder: A folder that may not be there yet.
        hint: What to do instead.

    Raises:
        UsageError: It is not empty, or it is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{str(folder)!r} exists and is not an empty folder; nothing in it is overwritten.",
            hint=hint,
        )
