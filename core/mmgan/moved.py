"""Modules that plugins may know by an earlier name: that name goes on being one, for the same objects.

Every name here was in the list of public modules of version 1 of the plugin interface.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Earlier names, and the present ones.
MOVED = {
    "mmgan.audio_task": "mmgan.tasks.audio",
    "mmgan.image_task": "mmgan.tasks.image",
    "mmgan.objective": "mmgan.losses.objective",
    "mmgan.data.derive": "mmgan.data.pairs.degradations",
    "mmgan.data.images": "mmgan.data.image.dataset",
    "mmgan.data.pixels": "mmgan.data.image.pixels",
    "mmgan.data.sounds": "mmgan.data.audio.dataset",
    "mmgan.data.sources": "mmgan.data.image.sources",
    "mmgan.data.texts": "mmgan.data.text.dataset",
    "mmgan.data.tokenizers": "mmgan.data.text.tokenizers",
}


class _Earlier(MetaPathFinder, Loader):
    """Finds a module by its earlier name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # A module of its own with the same objects in it: to give the present one two names would change
        # what Python keeps of where it came from.
        present = vars(importlib.import_module(MOVED[module.__name__]))
        vars(module).update({name: value for name, value in present.items() if not name.startswith("__")})


def install() -> None:
    """Let Python find the earlier names, after all others."""
    sys.meta_path.append(_Earlier())
