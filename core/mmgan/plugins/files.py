"""Plugins that are single files: every ``.py`` in the folder that ``--plugins-dir`` names is one."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from mmgan.errors import PluginError, UsageError


def plugin_files(folder: Path) -> list[Path]:
    """Return the files of a folder that are plugins: ``*.py``, except those whose names begin with ``_``.

    Raises:
        UsageError: There is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(
            f"The plugins' folder {str(folder)!r} is not a folder.",
            hint="--plugins-dir and MMGAN_PLUGINS_DIR name a folder with plugins that are .py files.",
        )
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith(("_", ".")))


def import_file(path: Path) -> ModuleType:
    """Import a plugin's file as the module of its name.

    The folder is appended to ``sys.path``. So a file may import others beside it, a loader's worker processes
    find it, and it hides no installed module.

    Raises:
        PluginError: There is a module of this name already, or the name can't be that of a module.
    """
    if "." in path.stem:
        raise PluginError(
            f"The file {str(path)!r} can't be imported: a module's name has no dots.",
            hint=f"Rename {str(path)!r}.",
        )
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(path.stem)
    origin = (spec and spec.origin) or "built-in"
    if Path(origin).resolve() != path.resolve():
        raise PluginError(
            f"The file {str(path)!r} has the name of another module: {path.stem!r} is {origin}.",
            hint=f"Rename {str(path)!r}.",
        )
    return importlib.import_module(path.stem)
