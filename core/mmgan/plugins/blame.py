"""Errors in a task's own code: reported with its name, the file and the line, not as a bug of mmgan."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from mmgan.errors import PluginError, foreseen
from mmgan.plugins.guard import reason


class TaskError(PluginError):
    """An error came out of a task's own code: its cause."""


@contextmanager
def blaming(task: type, plugin: str, phase: Callable[[], str] = str) -> Iterator[None]:
    """Turn an error that comes out of a task's code into one that names its plugin and the place.

    An error that does not pass through the task's own code stays as it is, and so do mmgan's own errors and
    those of the machine, such as running out of memory.

    Args:
        task: The task's class.
        plugin: The name under which it is registered.
        phase: Returns, when an error occurs, the phase that is played; "" for none.

    Raises:
        TaskError: An error came out of the task's code.
    """
    try:
        yield
    except Exception as error:
        frame = place(error, task)
        if frame is None or foreseen(error):
            raise
        during = f", phase {phase()!r}" if phase() else ""
        raise TaskError(
            f"The task {plugin!r} failed in {frame.name}{during} {shown_place(frame)}: {reason(error)}",
            hint="Fix the plugin; -v shows the traceback.",
        ) from error


def place(error: BaseException, *authors: type | ModuleType) -> traceback.FrameSummary | None:
    """Return the last place in an author's code that an error came through, or None.

    Args:
        error: The error that was raised.
        authors: Classes or modules of the author. Their code is everything in the same package, or in the
        same file if there is no package; likewise for each base class.
    """
    modules = {name for author in authors for name in _modules(author)}
    files = {str(getattr(sys.modules.get(name), "__file__", "")) for name in modules}
    # A package's files all have one author; files beside a single file may not.
    packages = (sys.modules.get(name.partition(".")[0]) for name in modules)
    folders = [folder for package in packages for folder in getattr(package, "__path__", ())]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename in files or any(Path(frame.filename).is_relative_to(folder) for folder in folders)
    ]
    return frames[-1] if frames else None


def shown_place(frame: traceback.FrameSummary) -> str:
    """Write a place as messages do: ``(task.py, line 12)``."""
    return f"({Path(frame.filename).name}, line {frame.lineno})"


def _modules(author: type | ModuleType) -> list[str]:
    """Return the names of the modules that an author wrote: neither mmgan's nor Python's own."""
    if isinstance(author, ModuleType):
        return [author.__name__]
    names = [base.__module__ for base in author.__mro__]
    return [name for name in names if name.partition(".")[0] not in {"mmgan", *sys.stdlib_module_names}]
