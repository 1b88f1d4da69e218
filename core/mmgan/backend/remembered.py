"""What was measured on this machine, remembered in the cache folder: measured once, not with every run."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import RootModel, ValidationError

from mmgan.backend.processor import processor
from mmgan.data.cache import cache_folder
from mmgan.storage import files

log = logging.getLogger(__name__)

#: Seconds by the name of what took them.
Figures = dict[str, float]
_LIMIT = 2**20


class _Kept(RootModel[dict[str, Figures]]):
    """A file of figures, by the name of what was measured."""


def all_remembered() -> dict[str, Figures]:
    """Return all that was measured on this machine: seconds, by what was measured."""
    return _read()


def remembered(what: str, measure: Callable[[], Figures]) -> Figures:
    """Return what ``measure`` returned for ``what`` before on this machine, or call it.

    The machine is its processor, the number of threads, and the version of torch. The file may be removed at
    any time; one that can't be read is replaced, and one that can't be written is done without.

    Args:
        what: The name of what is measured, with all that the figures depend on.
        measure: Returns positive seconds by name.
    """
    kept = _read()
    if what not in kept:
        found = measure()
        kept = _read() | {what: found}  # Read anew: another process may have measured meanwhile.
        try:
            path = _path()
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.fresh(path) as file:
                file.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        except OSError as error:
            log.info("figures of this machine can't be kept: %s", error)
    return kept[what]


def _path() -> Path:
    machine = {**processor(Path("/proc/cpuinfo")), "threads": torch.get_num_threads()}
    machine["torch"] = str(torch.__version__)
    digest = hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / f"machine-{digest}.json"


def _read() -> dict[str, Figures]:
    """Return what is kept of this machine: nothing where the file is missing, torn or altered."""
    try:
        kept = files.read_model(_path(), _Kept, _LIMIT).root
    except (OSError, ValidationError, ValueError):
        return {}
    return {name: figures for name, figures in kept.items() if figures and _are_times(figures)}


def _are_times(figures: Figures) -> bool:
    return all(0 < seconds < 1e6 for seconds in figures.values())
