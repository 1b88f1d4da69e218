"""Shared by listeners: the folder to write to, and the losses among a log's metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mmgan.engine import METER
from mmgan.errors import MmganError, UsageError, unsafe
from mmgan.storage import files

if TYPE_CHECKING:
    from mmgan.run import Run


@contextmanager
def writing(run: Run) -> Iterator[Path]:
    """Yield the run's folder; errors of the disk become errors that say what to do.

    Raises:
        UsageError: The run was made without a folder.
        MmganError: A file could not be read or written.
    """
    if run.folder is None:
        raise UsageError("This run has no folder to write in.", hint="new_run(…, folder=…)")
    try:
        yield run.folder
    except files.UnsafeFileError as error:
        raise unsafe(error) from error
    except OSError as error:
        if not run.folder.is_dir():
            raise MmganError(
                f"The run's folder {str(run.folder)!r} is gone: it was removed or renamed "
                "while the run trained.",
                hint="Put it back and `mmgan resume` it, or begin a new run.",
            ) from error
        raise MmganError(
            f"Can't write {str(error.filename or run.folder)!r}: {error.strerror or error}.",
            hint=f"When the disk is in order again: mmgan resume {str(run.folder)!r}",
        ) from error


def losses_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the losses among the metrics of ``after_log``."""
    return {name: value for name, value in metrics.items() if name not in METER}
