"""The command line: ``mmgan run``, ``mmgan sample`` and their like, one file for each command.

Torch, pydantic and rich are imported inside the commands' functions, so that ``mmgan --help`` answers at
once. Stdout is data and stderr is messages (``output.py``); ``failures.py`` formats errors, and
``signals.py`` handles Ctrl-C and ``kill``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from mmgan.cli import signals, streams


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are printed, not raised.

    Args:
        args: Instead of ``sys.argv[1:]``.
    """
    words = list(sys.argv[1:] if args is None else args)
    with signals.unwinding(forever=args is None), streams.sound():
        try:
            # Imported late: it takes a tenth of a second, and here Ctrl-C is handled already.
            from mmgan.cli import commandline

            return commandline.call(words)
        except KeyboardInterrupt as error:
            from mmgan.cli import failures

            return failures.report(error, as_json="--json" in words, verbose=False)


def __getattr__(name: str) -> Any:
    if name in ("COMMANDS", "build"):
        from mmgan.cli import commandline

        return getattr(commandline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
