"""Earlier names of modules that have moved, which go on working for the same objects.

All that have moved are here, public or not, while the plugin interface has version 1.
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
    "mmgan.audio_library": "mmgan.data.audio.library",
    "mmgan.audio_task": "mmgan.tasks.audio",
    "mmgan.builtin": "mmgan.plugins.builtin",
    "mmgan.checkpoint": "mmgan.storage.checkpoint",
    "mmgan.compiling": "mmgan.backend.compiling",
    "mmgan.convolutions": "mmgan_convolutions",
    "mmgan.convolutions.forms": "mmgan_convolutions.forms",
    "mmgan.convolutions.layers": "mmgan_convolutions.layers",
    "mmgan.convolutions.plan": "mmgan_convolutions.plan",
    "mmgan.convolutions.products": "mmgan_convolutions.products",
    "mmgan.data.av_decoding": "mmgan.data.audio.av_decoding",
    "mmgan.data.blocks": "mmgan.data.audio.blocks",
    "mmgan.data.deep_colours": "mmgan.data.image.deep_colours",
    "mmgan.data.depth": "mmgan.data.image.depth",
    "mmgan.data.derive": "mmgan.data.pairs.degradations",
    "mmgan.data.images": "mmgan.data.image.dataset",
    "mmgan.data.mpeg": "mmgan.data.audio.mpeg",
    "mmgan.data.native_stderr": "mmgan.data.audio.native_stderr",
    "mmgan.data.ogg": "mmgan.data.audio.ogg",
    "mmgan.data.onsets": "mmgan.data.audio.onsets",
    "mmgan.data.pair_folders": "mmgan.data.pairs.folders",
    "mmgan.data.pair_sources": "mmgan.data.pairs.sources",
    "mmgan.data.picture_memory": "mmgan.data.image.memory",
    "mmgan.data.pixels": "mmgan.data.image.pixels",
    "mmgan.data.sound_bytes": "mmgan.data.audio.contents",
    "mmgan.data.sound_decoding": "mmgan.data.audio.decoding",
    "mmgan.data.sound_sources": "mmgan.data.audio.sources",
    "mmgan.data.sounds": "mmgan.data.audio.dataset",
    "mmgan.data.sources": "mmgan.data.image.sources",
    "mmgan.data.squares": "mmgan.data.image.squares",
    "mmgan.data.text_lines": "mmgan.data.text.lines",
    "mmgan.data.text_sources": "mmgan.data.text.sources",
    "mmgan.data.text_tables": "mmgan.data.text.tables",
    "mmgan.data.texts": "mmgan.data.text.dataset",
    "mmgan.data.token_rows": "mmgan.data.text.rows",
    "mmgan.data.tokenizers": "mmgan.data.text.tokenizers",
    "mmgan.data.waveforms": "mmgan.data.audio.waveforms",
    "mmgan.device": "mmgan.backend.device",
    "mmgan.distributed": "mmgan.backend.distributed",
    "mmgan.finite": "mmgan.backend.nonfinite",
    "mmgan.guard": "mmgan.plugins.guard",
    "mmgan.image_task": "mmgan.tasks.image",
    "mmgan.latents": "mmgan.tasks.walks",
    "mmgan.objective": "mmgan.losses.objective",
    "mmgan.plugin_files": "mmgan.plugins.files",
    "mmgan.precision": "mmgan.backend.precision",
    "mmgan.rank_store": "mmgan.backend.rank_store",
    "mmgan.rng": "mmgan.backend.randomness",
}


class _Earlier(MetaPathFinder, Loader):
    """Finds a module by its earlier name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in MOVED:
            return None
        return ModuleSpec(fullname, self, is_package=any(name.startswith(f"{fullname}.") for name in MOVED))

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # A module of its own with the same objects in it: to give the present one two names would change
        # what Python keeps of where it came from.
        present = vars(importlib.import_module(MOVED[module.__name__]))
        vars(module).update({name: value for name, value in present.items() if not name.startswith("__")})


def install() -> None:
    """Install the finder of earlier names, after all others."""
    sys.meta_path.append(_Earlier())
