"""Handling of Ctrl-C, ``kill`` and a closed terminal: the first signal stops gracefully, the second at once.

Outside of training a signal raises an exception, so that a command's unfinished work is cleaned up; during
training it ends the run after the current step, and the run is saved.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from mmgan.cli.output import say
from mmgan.errors import Terminated, exit_code

if TYPE_CHECKING:
    from mmgan.run import Run

#: SIGHUP: the terminal is gone, as when an SSH session is closed. Windows has no such signal.
_HANGUP = getattr(signal, "SIGHUP", None)
_SIGNALS = [signal.SIGINT, signal.SIGTERM, *([_HANGUP] if _HANGUP else [])]


#: The exception that a signal raised in the current :func:`unwinding`.
_raised: KeyboardInterrupt | None = None


@contextlib.contextmanager
def unwinding(forever: bool = False) -> Iterator[None]:
    """Let a signal raise KeyboardInterrupt, or Terminated, which is one.

    Args:
        forever: The process ends after this context. A later signal then kills it by the system's default,
            without a traceback from Python's shutdown.
    """

    def act(number: int) -> None:
        global _raised
        _raised = KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)
        raise _raised

    global _raised
    try:
        with _handling(act):
            yield
    finally:
        _raised = None
    if forever and _in_main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def behind(error: BaseException) -> BaseException:
    """Return the exception that a signal raised, if any, since it caused the error; else the error.

    A library that is being imported may swallow the former, and fail with the latter.
    """
    return _raised or error


def raise_swallowed() -> None:
    """Raise again an interrupt that a library has swallowed.

    Raises:
        KeyboardInterrupt: There was one.
    """
    if _raised is not None:
        raise _raised


@contextlib.contextmanager
def stopping(run: Run) -> Iterator[None]:
    """End training after the current step on the first signal, and at once on the second.

    Leaving at once is like a power cut, which checkpoints are made for: the last one is whole.
    """

    def act(number: int) -> None:
        run.stop_signal = number
        _say("finishing this step, then saving (again to leave at once)")

    with _handling(act):
        if _raised is not None:
            act(exit_code(_raised) - 128)
        yield


@contextlib.contextmanager
def _handling(act: Callable[[int], None]) -> Iterator[None]:
    """Call a function with the number of the first signal, and leave at once at the second."""
    if not _in_main_thread():  # Python lets no other thread handle signals.
        yield
        return
    process, first = os.getpid(), 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if os.getpid() != process:
            # Worker processes that were forked from this one inherit the handler. Ctrl-C may reach them too,
            # but only the main process handles it; they end when it does.
            if number == signal.SIGTERM:
                os._exit(128 + number)
        elif not first:
            first = number
            act(number)
        elif not _comes_twice(first, number):
            _leave(number)

    # `nohup` asks to go on without a terminal.
    heard = [number for number in _SIGNALS if number != _HANGUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _comes_twice(first: int, number: int) -> bool:
    """Whether a further signal does not mean "at once", since two senders may have one reason.

    Shell and system both send SIGHUP for a closed terminal. A cluster's scheduler sends SIGTERM to torchrun
    and to the processes that it has started, and torchrun sends it to them again; it kills them 30 seconds
    later.
    """
    return number == _HANGUP or (number == first == signal.SIGTERM and "TORCHELASTIC_RUN_ID" in os.environ)


def _leave(number: int) -> None:
    if os.isatty(2):
        with contextlib.suppress(OSError):
            os.write(2, b"\n\x1b[?25h")  # Show the cursor, which a progress bar has hidden.
    os._exit(128 + number)


def _say(text: str) -> None:
    # RuntimeError: the signal came in the middle of a write to the same stream.
    with contextlib.suppress(RuntimeError):
        say(text)
