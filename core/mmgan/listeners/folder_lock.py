"""A lock on a run's folder: two processes that train in one would spoil each other's files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from mmgan.errors import UsageError

if sys.platform != "win32":
    import fcntl


class FolderLock:
    """Holds the lock from its making until :meth:`release`, or until the process ends in whatever way.

    Args:
        folder: The run's folder. Its ``.lock`` stays behind, unlocked: to remove it would be a race.

    Raises:
        UsageError: Another run holds the lock; the message names its process.
    """

    def __init__(self, folder: Path) -> None:
        self._file = (folder / ".lock").open("a+", encoding="utf-8")
        if not _lock(self._file):
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise UsageError(
                f"The process {holder} is training in the folder {str(folder)!r} already.",
                hint=f"Wait for it, stop it (kill {holder}), or choose another folder.",
            )
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        if sys.platform != "win32":
            # A lock lives as long as any copy of the file is open. A loader's worker that outlives a killed
            # run for some seconds must not hold up the run that resumes it.
            os.register_at_fork(after_in_child=self.release)

    def release(self) -> None:
        """Let others have the folder; a second call does nothing."""
        self._file.close()


def _lock(file: TextIO) -> bool:
    """Try to lock a file. Where the system or the file system has no locks, nothing is refused."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True
