"""Opening a file of data, which may be anything: a pipe, a device, a folder, empty."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

#: Windows has none.
_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_data(path: Path) -> IO[bytes]:
    """Open a file of data to read its bytes. No pipe is waited for; links are followed.

    Raises:
        OSError: It is gone, may not be read, or is a folder, a pipe, a socket or a device.
        ValueError: It is empty.
    """
    descriptor = os.open(path, os.O_RDONLY | _NO_WAITING)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not an ordinary file but a folder, a pipe or a device", str(path))
        if status.st_size == 0:
            raise ValueError("empty file")
    except BaseException:
        os.close(descriptor)
        raise
    return open(path, "rb", opener=lambda *_: descriptor)
