"""Everything that mmgan raises on purpose, and the exit code that each becomes.

    MmganError                 1   a run failed
    ├── UsageError             2   a command or a call was made wrongly
    │   └── ConfigError        2   a setting is unknown, or its value is not allowed
    ├── PluginError            3   a plugin is missing, broken, or breaks a rule
    ├── DataError              4   the data can't be read, or there is too little of it
    ├── CheckpointError        5   a checkpoint or a run's folder is missing, torn, or altered
    └── DivergedError          6   a loss or a gradient became NaN or infinite

An error names the thing, what was given, and what is allowed; ``hint`` is the next thing to try.
Anything else that escapes is a bug of ours and ends with exit code 70.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MmganError(Exception):
    """An error that a person can do something about.

    Args:
        message: What is wrong: the thing, what was given, what is allowed. One sentence or two.
        hint: The next thing to try, often a command. May be empty.
    """

    exit_code = 1
    code = "run_failed"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MmganError):
    """A command or a call was made wrongly."""

    exit_code = 2
    code = "usage"


class ConfigError(UsageError):
    """A setting is unknown, or its value is not allowed."""

    code = "config"


class PluginError(MmganError):
    """A plugin is missing, broken, or breaks a rule of the plugin interface."""

    exit_code = 3
    code = "plugin"


class DataError(MmganError):
    """The data can't be read, or there is too little of it."""

    exit_code = 4
    code = "data"


class CheckpointError(MmganError):
    """A checkpoint or a run's folder is missing, torn, or altered."""

    exit_code = 5
    code = "checkpoint"


class DivergedError(MmganError):
    """A loss or a gradient became NaN or infinite: training has diverged."""

    exit_code = 6
    code = "diverged"


#: The exit code of what is no error of ours: a bug.
INTERNAL_BUG = 70


def foreseen(error: BaseException) -> MmganError | None:
    """Return an error as one of ours: itself, or what the machine ran out of or refused. None for a bug."""
    if isinstance(error, MmganError):
        return error
    text = " ".join(str(error).split())
    # By its name, since torch's class is no MemoryError, and importing torch only to ask would be slow.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return MmganError(
            f"Out of memory. {text}".rstrip(),
            hint="A smaller --batch-size needs less; `mmgan resume` takes a run up from its last checkpoint.",
        )
    if isinstance(error, OSError) and error.strerror:
        where = f": {str(error.filename)!r}" if error.filename else ""
        return MmganError(f"{error.strerror}{where}.")
    return None


def exit_code(error: BaseException) -> int:
    """Return the exit code that an error becomes: its own, 130 for Ctrl-C, 70 for a bug."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    known = foreseen(error)
    return known.exit_code if known else INTERNAL_BUG


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """Return ``"Did you mean 'x'?"`` for the allowed name nearest to ``given``, or an empty string."""
    near = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else ""


def line(error: BaseException) -> str:
    """Return an error's message in one line."""
    return " ".join(str(error).split())
