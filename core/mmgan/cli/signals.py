"""Ctrl-C and ``kill`` during training: the first asks, the second leaves."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from mmgan.cli.output import say

if TYPE_CHECKING:
    from mmgan.run import Run


@contextlib.contextmanager
def stopping(run: Run) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end training after the present step, and the second end it at once.

    Leaving at once is like a power cut, for which checkpoints are made: the last one is whole.
    """
    trainer = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if run.stop_signal:
            _leave(number)
        run.stop_signal = number
        # Worker processes that were forked from this one inherit the handler, and Ctrl-C reaches them too.
        if os.getpid() == trainer:
            _say("finishing this step, then saving (again to leave at once)")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int) -> None:
    if os.isatty(2):
        with contextlib.suppress(OSError):
            os.write(2, b"\n\x1b[?25h")  # Show the cursor, which a progress bar has hidden.
    os._exit(128 + number)


def _say(text: str) -> None:
    # RuntimeError: the signal came in the middle of a write to the same stream. OSError: nobody reads it.
    with contextlib.suppress(RuntimeError, OSError):
        say(text)
