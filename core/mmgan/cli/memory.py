"""The C library's memory allocator while a run trains on a CPU."""

from __future__ import annotations

import ctypes

#: Numbers of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Keep freed memory for the next tensors, instead of returning it to the system at once.

    A step frees and allocates the same large tensors again and again, and the system clears each page that it
    hands out, which can cost a twentieth of a step. The setting is for the whole process, so the command line
    makes it and the library does not.

    Returns:
        Whether the C library supports it; only glibc does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
