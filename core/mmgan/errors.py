"""The exceptions that mmgan raises on purpose, and the exit code of each.

    MmganError                 1   a run failed
    ├── UsageError             2   a command or a call was made wrongly
    │   └── ConfigError        2   a setting is unknown, or its value is not allowed
    ├── PluginError            3   a plugin is missing, broken, or fails
    ├── DataError              4   the data can't be read, or there is too little of it
    ├── CheckpointError        5   a checkpoint or a run's folder is missing, torn, or altered
    └── DivergedError          6   a loss or a gradient became NaN or infinite

    KeyboardInterrupt        130   stopped by SIGINT (Ctrl-C)
    └── Terminated           143   stopped by SIGTERM; 129 by SIGHUP

An error names the thing, what was given, and what is allowed; ``hint`` is the next thing to try.
Anything else that escapes is a bug of ours and ends with exit code 70.
"""

from __future__ import annotations

import difflib
import re
import signal
from collections.abc import Iterable
from typing import Any


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
    """A plugin is missing or broken, fails in its own code, or breaks a rule of the plugin interface."""

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


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP asked the process to stop. It unwinds the program as Ctrl-C does.

    Args:
        number: The signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"Stopped by {signal.Signals(number).name}.")
        self.signal = number


#: The exit code of any other exception: a bug.
INTERNAL_BUG = 70

#: What torch, NumPy and Python say of more memory than there is, or of a size beyond all numbers of bytes.
#: Torch raises plain RuntimeErrors where no memory is left to a CPU.
_NO_MEMORY = re.compile(
    "|".join(
        (
            "can't allocate memory",
            "not enough memory",
            "unable to mmap",
            "_STATUS_ALLOC_FAILED",  # of cuBLAS and cuDNN
            "[Ss]torage size calculation overflowed",
            "numel: integer multiplication overflow|invalid numel|numel.* overflow",
            "Trying to create tensor with negative dimension|negative dimensions are not allowed",
            "Overflow when unpacking long",
            "cannot be converted to type int.* without overflow",
            "array is too big|Maximum allowed (dimension|size) exceeded",  # NumPy
            "int too (large|big) to convert|integer is greater than maximum",  # Python
            "cannot fit 'int' into an index-sized integer",
        )
    )
)


#: What torch's optimizers say of a setting out of their range.
_OPTIMIZER = re.compile("Invalid (beta|learning rate|lr|epsilon|momentum|weight_decay|alpha|rho|dampening)")


def foreseen(error: BaseException) -> MmganError | None:
    """Return an error as one of ours: itself, or what the machine ran out of or refused. None for a bug."""
    if isinstance(error, MmganError):
        return error
    text = line(error)
    # By its name, since torch's class is not a MemoryError, and importing torch only to ask would be slow.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _asks_too_much(error):
        return MmganError(
            f"Out of memory. {_asked(text)}".rstrip(),
            hint="A smaller --batch-size needs less, and so does a smaller network; `mmgan resume` takes a "
            "run up from its last checkpoint.",
        )
    if isinstance(error, OSError) and error.strerror:
        if type(error).__name__ == "UnsafeFileError":
            return unsafe(error)
        where = f": {str(error.filename)!r}" if error.filename else ""
        return MmganError(f"{error.strerror}{where}.")
    if isinstance(error, ValueError) and text.startswith("Expected more than 1 value per channel"):
        return ConfigError(
            f"Batch norm can't learn from one value per channel: {text[0].lower()}{text[1:]}.",
            hint="A larger --batch-size, or settings without batch norm, where the plugin has them.",
        )
    if isinstance(error, ValueError) and _OPTIMIZER.match(text):
        return ConfigError(f"{text.rstrip('.')}.", hint="`mmgan config NAME` lists the optimizer's settings.")
    if isinstance(error, RuntimeError) and text.startswith("DataLoader worker"):
        return MmganError(
            f"A process that prepares batches has died. {text}",
            hint="Where memory is short, fewer of them need less: --set workers=0 has none.",
        )
    if isinstance(error, RuntimeError) and text == "can't start new thread":
        return MmganError(
            "The system gives this process no more threads.", hint="`ulimit -u` tells how many there may be."
        )
    return None


def unsafe(error: OSError) -> CheckpointError:
    """Return the error for a link, a pipe or the like in the place of an ordinary file of a run's folder."""
    return CheckpointError(
        f"{str(error.filename)!r}: {str(error.strerror)[:1].lower()}{str(error.strerror)[1:]}.",
        hint="A run's folder holds ordinary files of its own only. Put one in its place, or take it away.",
    )


def _asks_too_much(error: BaseException) -> bool:
    kinds = (RuntimeError, ValueError, OverflowError, TypeError)
    return isinstance(error, kinds) and bool(_NO_MEMORY.search(str(error)))


def _asked(text: str) -> str:
    """Return what was asked for, without the place in torch's sources, or the whole text."""
    found = re.search(r"tried to allocate (\d+) bytes", text)
    return f"{int(found[1]):,} bytes were asked for." if found else text


def exit_code(error: BaseException) -> int:
    """Return the exit code that an error becomes: its own, 128 + the signal's number, 70 for a bug."""
    if isinstance(error, KeyboardInterrupt):
        return 128 + getattr(error, "signal", signal.SIGINT)
    known = foreseen(error)
    return known.exit_code if known else INTERNAL_BUG


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """Return ``"Did you mean 'x'?"`` for the allowed name nearest to ``given``, or an empty string.

    Capitals make no difference: ``DCGAN`` is near to ``dcgan``.
    """
    names = {name.casefold(): name for name in allowed}
    near = difflib.get_close_matches(given.casefold(), names, n=1, cutoff=0.6)
    return f"Did you mean {names[near[0]]!r}?" if near else ""


def unknown_name(kind: str, name: str, allowed: Iterable[str]) -> ConfigError:
    """Return the error for an unknown name of a loss, a penalty or the like, with the choices."""
    names = list(allowed)
    return ConfigError(
        f"There is no {kind} {name!r}; allowed are {', '.join(names)}.", hint=did_you_mean(name, names)
    )


def line(error: BaseException) -> str:
    """Return an error's message in one line."""
    return " ".join(str(error).split())


def shown(value: Any) -> str:
    """Return a value as a message shows it: short, and whatever its own ``repr`` does."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
