"""Errors in a task's own code: reported with its name, the file and the line, not as a bug of mmgan."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmgan.errors import PluginError, foreseen
from mmgan.plugins.guard import reason


class TaskError(PluginError):
    """An error came out of a task's own code: its cause."""


@contextmanager
def blaming(task: type, plugin: str, phase: Callable[[], str] = str) -> Iterator[None]:
    """Turn an error that comes out of a task's code into one that names its plugin and the place.

    What comes out of mmgan without a line of the task's in between stays as it is, and so do errors of
    mmgan's own kinds and those of the machine, such as memory that runs out.

    Args:
        task: The task's class.
        plugin: The name under which it is registered.
        phase: Tells, when an error comes, which phase is played; "" for none.

    Raises:
        TaskError: An error came out of the task's code.
    """
    try:
        yield
    except Exception as error:
        frame = _last_frame(error, task)
        if frame is None or foreseen(error):
            raise
        during = f", phase {phase()!r}" if phase() else ""
        raise TaskError(
            f"The task {plugin!r} failed in {frame.name}{during} ({Path(frame.filename).name}, line "
            f"{frame.lineno}): {reason(error)}",
            hint="Mend the plugin; -v shows the traceback.",
        ) from error


def _last_frame(error: BaseException, task: type) -> traceback.FrameSummary | None:
    """Return the last place in the task's package, or in its file, that an error came through."""
    file = getattr(sys.modules.get(task.__module__), "__file__", None)
    # A package's files are all of one author; what lies beside a single file is not.
    package = sys.modules.get(task.__module__.partition(".")[0])
    folders = list(getattr(package, "__path__", ()))
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file or any(Path(frame.filename).is_relative_to(folder) for folder in folders)
    ]
    return frames[-1] if frames else None
