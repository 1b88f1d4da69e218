"""How a command reports an error, and the exit code of each."""

from __future__ import annotations

import json
import traceback
from typing import NamedTuple

import click

from mmgan.cli.output import emit, say
from mmgan.errors import MmganError, UsageError, exit_code, foreseen, line


class Failure(NamedTuple):
    """An error as it is reported to a person or a program."""

    code: str
    message: str
    hint: str
    exit_code: int


def report(error: BaseException, *, as_json: bool, verbose: bool) -> int:
    """Print an error in one or two lines and return its exit code.

    Args:
        error: The error that ended the command.
        as_json: Print a JSON document on stdout instead of lines on stderr.
        verbose: Print the traceback too.
    """
    if isinstance(error, click.Abort) and error.__cause__:
        error = error.__cause__  # click wraps interrupts, and EOFError too.
    # Since click 8.2, of a plugin's group that was called without a command.
    if isinstance(error, click.UsageError) and type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return UsageError.exit_code
    if isinstance(error, BrokenPipeError):  # `mmgan … | head`: the reader is gone.
        return MmganError.exit_code
    failure = explain(error)
    if verbose and not isinstance(error, click.ClickException | KeyboardInterrupt):
        say("".join(traceback.format_exception(error)).rstrip())
    if not (as_json and _told_as_json(failure)):
        say(f"error: {failure.message}")
        if failure.hint:
            say(f"hint: {failure.hint}")
    return failure.exit_code


def _told_as_json(failure: Failure) -> bool:
    """Print a document, and return whether stdout took it."""
    details = {"code": failure.code, "message": failure.message, "hint": failure.hint}
    try:
        emit(json.dumps({"error": details}, indent=2))
    except (BrokenPipeError, MmganError):
        return False
    return True


def explain(error: BaseException) -> Failure:
    """Describe an error for the person at the terminal. An unexpected one is a bug of mmgan."""
    known = foreseen(error)
    if known:
        return Failure(known.code, known.message, known.hint, known.exit_code)
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "mmgan"
        hint = f"`{path} --help` lists what is allowed."
        return Failure(UsageError.code, _short(error.format_message()), hint, UsageError.exit_code)
    if isinstance(error, click.ClickException):
        return Failure(MmganError.code, _short(error.format_message()), "", error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", str(error) or "Interrupted.", "", exit_code(error))
    if isinstance(error, click.Abort):
        return Failure(MmganError.code, "Aborted.", "", MmganError.exit_code)
    message = _short(f"internal bug: {type(error).__name__}: {line(error)}".rstrip(": "))
    hint = "Run again with -v (`mmgan -v …`, or MMGAN_DEBUG=1) for the traceback, and report it."
    return Failure("internal", message, hint, exit_code(error))


def _short(text: str) -> str:
    """Cut the middle out of a message that repeats thousands of characters."""
    return text if len(text) <= 1000 else f"{text[:500]} … ({len(text):,} characters) … {text[-200:]}"
