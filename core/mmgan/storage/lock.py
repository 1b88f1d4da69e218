"""A lock on a run's folder: two processes that train in one would corrupt each other's files."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from mmgan.errors import UsageError
from mmgan.storage.files import open_regular

if sys.platform != "win32":
    import fcntl

#: The file that is locked.
NAME = ".lock"


class FolderLock:
    """Holds a folder's lock from construction until :meth:`release`, or until the process ends in any way.

    Args:
        folder: The run's folder. Its ``.lock`` stays behind, unlocked: removing it would be a race.

    Raises:
        UsageError: Another process holds the lock; the message names it.
        OSError: The file can't be opened, or is a link.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        while True:
            self._descriptor: int | None = open_regular(_own(path), os.O_RDWR | os.O_CREAT)
            if not _lock(self._descriptor):
                holder = _holder(self._descriptor)
                self.release()
                kill = f", stop it (kill {holder})" if holder else ""
                who = f"The process {holder}" if holder else "Another process"
                raise UsageError(
                    f"{who} is training in the folder {str(folder)!r} already.",
                    hint=f"Wait for it{kill}, or choose another folder.",
                )
            if _is_still(self._descriptor, path):
                break
            # Its holder gave up, and removed the file after we had opened and before we had locked it.
            self.release()
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, str(os.getpid()).encode())
        if sys.platform != "win32":
            # A lock lives as long as any copy of the file is open. A loader's worker that outlives a killed
            # run for some seconds must not hold up the run that resumes it.
            os.register_at_fork(after_in_child=self.release)

    def release(self) -> None:
        """Release the folder; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _own(path: Path) -> Path:
    """Remove a lock's file that is hard-linked, as in a copy by hard links, and return its path."""
    with contextlib.suppress(OSError):
        if path.lstat().st_nlink > 1:
            descriptor = open_regular(path)
            try:
                if _lock(descriptor):
                    path.unlink()
            finally:
                os.close(descriptor)
    return path


def _lock(descriptor: int) -> bool:
    """Try to lock a file; always succeeds where the system or the file system has no locks."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def _holder(descriptor: int) -> str:
    """Return the ID of the process that holds the lock, or "" if it can't be read."""
    text = os.read(descriptor, 32).decode("ascii", "replace").strip()
    return text if text.isdecimal() else ""


def _is_still(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    return False
