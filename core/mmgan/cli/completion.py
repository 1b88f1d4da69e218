"""What a shell offers when Tab is pressed. Nothing here may import torch: the person is waiting.

Click writes the shell's function and calls ``mmgan`` with :data:`VARIABLE` set; this is what the options and
arguments of mmgan answer.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from mmgan.cli.session import Session

#: ``bash_source`` asks for the shell's function, ``bash_complete`` for completions.
VARIABLE = "_MMGAN_COMPLETE"


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Drop messages while completions are asked for: they would be written into the line that is typed."""
    if os.environ.get(VARIABLE, "").endswith("_complete"):
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    else:
        yield


def tasks(context: click.Context, parameter: click.Parameter, beginning: str) -> list[str]:
    """Return the names of tasks that begin so."""
    return [name for name in sorted(_session(context).plugins.tasks) if name.startswith(beginning)]


def tasks_and_plugins(context: click.Context, parameter: click.Parameter, beginning: str) -> list[str]:
    """Return the names of tasks and of plugins that begin so."""
    plugins = _session(context).plugins
    names = {*plugins.tasks, *(plugin.name for plugin in plugins.found)}
    return [name for name in sorted(names) if name.startswith(beginning)]


def runs(context: click.Context, parameter: click.Parameter, beginning: str) -> list[CompletionItem]:
    """Return the runs in ``runs/`` that begin so; where there are none, the shell offers folders."""
    # Not by mmgan.storage, which imports torch.
    folders = sorted(str(path.parent) for path in Path("runs").glob("*/config.toml"))
    found = [CompletionItem(folder) for folder in folders if folder.startswith(beginning)]
    return found or [CompletionItem(beginning, type="dir")]


def files(context: click.Context, parameter: click.Parameter, beginning: str) -> list[CompletionItem]:
    """Let the shell offer files and folders."""
    return [CompletionItem(beginning, type="file")]


def _session(context: click.Context) -> Session:
    session: Session = context.obj
    return session
