"""The group of all commands, how it is called, and the log under ``-v``."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from mmgan.cli import (
    bench,
    completion,
    config,
    doctor,
    evaluate,
    failures,
    new_plugin,
    plugins,
    resume,
    run,
    sample,
    signals,
)
from mmgan.cli.options import UserPath
from mmgan.cli.output import reserved, say
from mmgan.cli.session import Session
from mmgan.cli.training import is_first
from mmgan.cli.version import version_option
from mmgan.errors import UsageError

COMMANDS = (run, resume, sample, evaluate, bench, plugins, new_plugin, config, doctor)

#: Removed from the arguments before click parses them, since the plugins in the folder add commands.
PLUGINS_DIR = "--plugins-dir"


class CommandLine(click.Group):
    """A group that lists commands as they were added, and ends with 0 whatever a command returns."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names: ours in the order of use, then those of plugins."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> None:
        """Run the command and return 0. ``context.exit(code)`` or an error sets any other exit code."""
        try:
            super().invoke(ctx)
        except click.UsageError as error:
            # Click does not say in which command an option lacks its value.
            if error.ctx is None and ctx.invoked_subcommand is not None:
                command = self.commands[ctx.invoked_subcommand]
                error.ctx = click.Context(command, parent=ctx, info_name=ctx.invoked_subcommand)
            raise


def build(session: Session) -> CommandLine:
    """Load the plugins and return the command line with their commands. Nothing is kept in modules."""

    @click.group(
        "mmgan",
        cls=CommandLine,
        # Without a command its help goes to stderr, below: click 8.1 prints it on stdout and ends with 0.
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    @version_option(session)
    @click.option(
        "-v",
        "--verbose",
        is_flag=True,
        is_eager=True,
        help="Say more, and show tracebacks (MMGAN_DEBUG=1 does too).",
    )
    @click.option(
        PLUGINS_DIR,
        metavar="FOLDER",
        type=UserPath(),
        expose_value=False,
        help="Load the .py files in FOLDER as plugins (MMGAN_PLUGINS_DIR does too).",
    )
    @click.pass_context
    def group(context: click.Context, verbose: bool) -> None:
        """Train GANs on pictures, sounds, text and image pairs. Every game is a plugin.

        \b
        mmgan plugins                  lists what there is to train
        mmgan run --plugin dcgan       trains one on its embedded data
        mmgan sample runs/dcgan-001    generates from what was trained
        """
        if context.invoked_subcommand is None:
            say(context.get_help())
            context.exit(UsageError.exit_code)
        session.verbose = session.verbose or verbose
        try:
            os.getcwd()
        except OSError:  # Libraries would end the process with another message.
            raise UsageError(
                "The folder in which this was started is gone.", hint="Change to another: cd ~"
            ) from None

    for module in COMMANDS:
        group.add_command(_reserving(module.command))
    session.load()
    session.add_commands(group)
    return group


def call(words: list[str]) -> int:
    """Run the command line and return its exit code; errors are printed, not raised."""
    session = Session()
    with warnings.catch_warnings(), _telling(session), completion.quietly():
        warnings.showwarning = _show_warning
        try:
            session.folder, words = _take_folder(words)
            code = build(session).main(words, prog_name="mmgan", standalone_mode=False, obj=session)
            sys.stdout.flush()
            return int(code or 0)
        # Interrupts too: each has its exit code and its message.
        except (Exception, KeyboardInterrupt) as error:
            as_json = "--json" in words and is_first()
            return failures.report(signals.behind(error), as_json=as_json, verbose=session.verbose)


def _take_folder(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Remove ``--plugins-dir FOLDER`` from the arguments; return the folder and the rest.

    Raises:
        UsageError: The folder is missing.
    """
    folder, left = None, list(words)
    ours = left.index("--") if "--" in left else len(left)
    for place in reversed(range(ours)):
        option, equals, value = left[place].partition("=")
        if option != PLUGINS_DIR:
            continue
        if not equals and place + 1 < len(left):
            value = left.pop(place + 1)
        if not value:
            raise UsageError(f"{PLUGINS_DIR} needs a folder.", hint=f"mmgan {PLUGINS_DIR} FOLDER plugins")
        del left[place]
        folder = folder or Path(os.path.expanduser(value))
    return folder, left


def _reserving(command: click.Command) -> click.Command:
    """Return the command with stdout reserved for its results, whatever the code that it calls prints."""
    command = copy.copy(command)
    if command.callback:
        command.callback = reserved()(command.callback)
    if isinstance(command, click.Group):
        command.commands = {name: _reserving(inner) for name, inner in command.commands.items()}
    return command


class _Talk(logging.Handler):
    """Prints the log to stderr under ``-v``."""

    def __init__(self, session: Session) -> None:
        super().__init__(logging.INFO)
        self.session = session

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record to stderr, under ``-v`` only."""
        if self.session.verbose:
            say(record.getMessage())


@contextlib.contextmanager
def _telling(session: Session) -> Iterator[None]:
    """Print mmgan's log to stderr under ``-v``, inside this context."""
    logger, talk = logging.getLogger("mmgan"), _Talk(session)
    level = logger.level
    logger.addHandler(talk)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(talk)
        logger.setLevel(level)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a Python warning to stderr, without the file and line that raised it."""
    say(f"warning: {' '.join(str(message).split())}")
