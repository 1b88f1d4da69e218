"""What ``--data`` names: a registered data set, or a folder or file. The one place that decides it."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgan.counting import counted, some
from mmgan.data.tree import printable
from mmgan.errors import DataError, PluginError, did_you_mean

if TYPE_CHECKING:
    from mmgan.config import Config
    from mmgan.data.info import DataInfo
    from mmgan.plugins import Plugins
    from mmgan.run import Run

#: The name under which what opens a folder of a kind is registered.
FOLDER = "folder"


def absolute(data: str, plugins: Plugins) -> str:
    """Make a path absolute, since config.toml must mean the same to a resume from another folder."""
    names = {key.partition("/")[2] for key in plugins.datasets} - {FOLDER}
    path = os.path.expanduser(data)
    if not data or data.partition(":")[0] in names or not os.path.exists(path):
        return data
    return os.path.realpath(path)


def open_source(config: Config, plugins: Plugins, kinds: Sequence[str], folder: Path | None) -> Any:
    """Open what ``config.data`` names: a data set of one of these kinds, or a folder or file.

    Args:
        config: The run's settings.
        plugins: Where data sets are registered.
        kinds: What the task can train on.
        folder: That of a run that goes on, for the message where its data is gone.

    Raises:
        DataError: The data does not exist, or can't be read.
    """
    data: str = config.data
    known = {key: entry for kind in kinds for key, entry in plugins.of_kind(plugins.datasets, kind).items()}
    folders = known.pop(FOLDER, None)
    name, _, argument = data.partition(":")
    # os.path.exists returns False for what can't be a path, where Path.exists raises.
    exists = os.path.exists(data)
    if name in known:
        if exists:
            warnings.warn(
                f"data = {name!r} is the data set of that name. For what lies here under it, write ./{name}.",
                stacklevel=3,
            )
        return known[name].load()(argument, config)
    if exists and folders is not None:
        return folders.load()(data, config)
    if folder is not None and os.path.isabs(data):
        raise DataError(
            f"The data of this run, {data!r}, is not there any more.",
            hint=f"Where it lies now: mmgan resume {shlex.quote(str(folder))} --data PATH; "
            "`mmgan evaluate` takes --data too.",
        )
    names = sorted(known)
    other = next((entry.kind for key, entry in plugins.datasets.items() if key == f"{entry.kind}/{name}"), "")
    if other:
        raise DataError(
            f"data = {name!r} holds {other}, and {config.plugin} trains on {' or '.join(kinds)}.",
            hint=f"Data sets for it: {', '.join(names)}; or give a folder.",
        )
    raise DataError(
        f"data = {data!r} is not a folder, a file or a registered data set. "
        f"{did_you_mean(name, names)}".rstrip(),
        hint=f"Data sets for it: {', '.join(names) or 'none'}; or give a folder.",
    )


@contextmanager
def once(run: Run, in_build: bool = False) -> Iterator[None]:
    """Let a task open its data inside this, and not once more meanwhile.

    Args:
        run: The run.
        in_build: Whether this may be before ``build`` is done.

    Raises:
        PluginError: The data is asked for too early.
    """
    if run.data_opens or not (run.is_built or in_build):
        raise PluginError(
            f"The task {run.config.plugin!r} asks for {'its data' if in_build else 'run.dataset'} in "
            f"`{'data' if run.data_opens else 'build'}`: there is none yet, since it is what `data` returns.",
            hint="run.data_info, in `build`, knows its shape and classes; self.run.open_data(…) opens what "
            "--data names.",
        )
    run.data_opens = True
    try:
        yield
    finally:
        run.data_opens = False


def compared(data: str, now: DataInfo, before: DataInfo | None, holds: Sequence[str]) -> DataInfo:
    """Return what is known of data that was opened, beside what was known of it before.

    Raises:
        DataError: A batch holds labels, and the classes are others: a label would mean another class.
    """
    if before is None or not before.classes or "label" not in holds or now.classes == before.classes:
        return now
    of_now, of_then = set(now.classes), set(before.classes)
    gone = [printable(name) for name in before.classes if name not in of_now]
    new = [printable(name) for name in now.classes if name not in of_then]
    told = [f"{some(names)} {what}" for names, what in ((gone, "gone"), (new, "new")) if names]
    raise DataError(
        f"{data!r} has other classes than the run was trained on: {' and '.join(told) or 'in other order'}.",
        hint="A class is known by its folder's or label's name: these must be the same.",
    )


def check_same(data: str, dataset: Any, position: dict[str, Any], must_be: bool) -> None:
    """Compare data with that of a checkpoint: by its content, or by its count where that is all.

    Args:
        data: Its name, for the message.
        dataset: It is opened.
        position: What the checkpoint says of the data: ``fingerprint`` and ``examples``.
        must_be: Whether it was said to have moved only.

    Raises:
        DataError: It is not the same, and must be.
    """
    before, now = position.get("fingerprint", ""), getattr(dataset, "fingerprint", "")
    counts = position.get("examples", len(dataset)), len(dataset)
    if before == now if before and now else counts[0] == counts[1]:
        return
    if must_be:
        raise DataError(
            f"{data!r} is not the data that this run was trained on "
            f"({counted(counts[0], 'example')} then, {counts[1]:,} now).",
            hint="Give --data the same files at another place. To train on others: --set data=PATH.",
        )
    # The loader reports another count.
    if counts[0] == counts[1]:
        warnings.warn(
            "The data has changed since the run was saved: it goes on, but not as if it had not stopped.",
            stacklevel=3,
        )
