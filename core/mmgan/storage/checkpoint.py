"""Checkpoints: folders without pickles, written so that a crash at any moment leaves the last one whole.

``step-000500/`` holds one safetensors file of weights for each network (for other programs to load), the rest
of the tensors in ``state.safetensors``, everything else in ``state.json``, and ``manifest.json`` with the
SHA-256 of each file. It is written into a temporary folder, flushed to disk, and only then renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from pydantic_core import from_json
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmgan.errors import CheckpointError, MmganError
from mmgan.storage import files, records
from mmgan.storage.files import PARTIAL, flush

#: The weights of every network, and everything else.
Loaded = tuple[dict[str, dict[str, Tensor]], dict[str, Any]]

FORMAT = 1
#: A step has at most 16 digits: JSON's numbers are exact up to there.
_NAME = re.compile(r"step-([0-9]{6,16})")


def save(
    folder: Path, step: int, weights: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> Path:
    """Write a checkpoint below ``folder`` and return its path.

    Args:
        folder: The run's ``checkpoints`` folder; made if missing, but not the run's own, which may have been
            removed meanwhile.
        step: The step after which the state was taken.
        weights: State dicts of networks by name; each becomes ``NAME.safetensors``.
        state: Everything else: tensors, numbers, text, None, lists, tuples (read back as lists) and dicts.

    Raises:
        CheckpointError: Something in the state can't be stored.
        MmganError: The disk refused it.
    """
    final = path_of(folder, step)
    # Unique, so that the leftovers of a killed process are never written into.
    temporary = folder / f"{PARTIAL}{uuid.uuid4().hex}"
    try:
        files.make_folder(folder)
        temporary.mkdir()
        for name, tensors in weights.items():
            if name == "state" or "/" in name:
                raise CheckpointError(f"A player can't be called {name!r}: its weights' file has that name.")
            _write_tensors(temporary / f"{name}.safetensors", tensors)
        tensors = {}
        document = _encode(state, tensors, "")
        _write_tensors(temporary / "state.safetensors", tensors)
        text = json.dumps(document, indent=1)
        if len(text) > records.LARGE:
            raise CheckpointError(
                f"The state has {len(text):,} bytes beside its tensors; {records.LARGE:,} are allowed.",
                hint="Task.state_dict should return tensors where there are many numbers.",
            )
        _write_text(temporary / "state.json", text)
        digests = {path.name: _digest(path) for path in sorted(temporary.iterdir())}
        manifest = {"format": FORMAT, "step": step, "weights": list(weights), "files": digests}
        _write_text(temporary / "manifest.json", json.dumps(manifest, indent=1))
        flush(temporary)
        # A torn one, or the same step reached again after a resume from an earlier one.
        if os.path.lexists(final):
            os.rename(final, folder / f"{PARTIAL}{uuid.uuid4().hex}")
        os.rename(temporary, final)
        flush(folder)
    except (OSError, SafetensorError) as error:
        raise MmganError(
            f"Can't write the checkpoint {str(final)!r}: {getattr(error, 'strerror', None) or error}.",
            hint="Make room on the disk. `mmgan resume` goes on from the checkpoint before, which is whole.",
        ) from error
    finally:
        files.sweep(folder)
    return final


def load(path: Path, to_train: bool = True) -> Loaded:
    """Check every file of a checkpoint against its manifest, and return (weights, state) on the CPU.

    Args:
        path: The checkpoint.
        to_train: If false, the optimizers' state is left on the disk; it is returned empty.

    Raises:
        CheckpointError: A file is missing, torn or altered, or the format is a later one.
    """
    manifest = verify(path)
    try:
        weights = {name: load_file(path / f"{name}.safetensors") for name in manifest.weights}
        document = json.loads(files.read(path / "state.json", records.LARGE))
        if to_train:
            state = _decode(document, load_file(path / "state.safetensors"))
        else:
            for player in document["players"].values():
                player["optimizer"] = {"state": {}, "param_groups": []}
            with safe_open(path / "state.safetensors", "pt") as tensors:
                state = _decode(document, _OnDisk(tensors))
    # safetensors raises nearly anything on a hostile file.
    except Exception as error:
        raise CheckpointError(f"The checkpoint {str(path)!r} can't be read: {error}") from error
    return weights, state


def verify(path: Path) -> records.Manifest:
    """Return the manifest of a checkpoint whose files are all as they were written.

    Raises:
        CheckpointError: They are not; the message names the first that is not.
    """
    try:
        document = from_json(files.read(path / "manifest.json", records.SMALL))
        version = document["format"]
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(f"The checkpoint {str(path)!r} has no readable manifest.json.") from None
    if version != FORMAT:
        raise CheckpointError(
            f"The checkpoint {str(path)!r} has format {str(version)[:20]}; "
            f"this version of mmgan reads {FORMAT}.",
            hint="Use the version of mmgan that wrote it.",
        )
    try:
        manifest = records.Manifest.model_validate(document)
    except ValidationError as error:
        raise CheckpointError(
            f"The checkpoint {str(path)!r} has a manifest.json that is not one: {first_problem(error)}."
        ) from None
    if path_of(path.parent, manifest.step).name != path.name:
        raise CheckpointError(f"The checkpoint {str(path)!r} says that it is of step {manifest.step}.")
    for name, expected in manifest.files.items():
        try:
            digest = _digest(path / name)
        except FileNotFoundError:
            raise CheckpointError(f"The checkpoint {str(path)!r} is torn: {name} is missing.") from None
        except OSError as error:
            what = error.strerror or str(error)
            raise CheckpointError(f"The checkpoint {str(path)!r} can't be read: {name}: {what}.") from None
        if digest != expected:
            raise CheckpointError(f"The checkpoint {str(path)!r} is torn or altered: {name} has changed.")
    return manifest


def first_problem(error: ValidationError) -> str:
    """Say in a few words what pydantic found wrong first: ``"step: Input should be a valid integer"``."""
    item = error.errors(include_url=False)[0]
    where = ".".join(map(str, item["loc"]))
    return f"{where}: {item['msg']}".removeprefix(": ").replace("Value error, ", "")


def steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints below ``folder``, whole or not, the newest last."""
    return sorted(step for step in map(step_of, _inside(folder)) if step is not None)


def misnamed(folder: Path) -> list[str]:
    """Return the names below ``folder`` that are nearly a checkpoint's: copies, and renamed checkpoints."""
    return sorted(
        path.name for path in _inside(folder) if path.name.startswith("step-") and step_of(path) is None
    )


def _inside(folder: Path) -> list[Path]:
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]


def step_of(path: Path) -> int | None:
    """Return the step in a folder's name, or None if :func:`path_of` would not give that name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match and path_of(path.parent, int(match[1])) == path else None


def path_of(folder: Path, step: int) -> Path:
    """Return the folder of the checkpoint of this step."""
    return folder / f"step-{step:06d}"


def remove(folder: Path, step: int) -> None:
    """Remove a checkpoint. It is renamed first: a half-removed one must not look like a checkpoint."""
    path_of(folder, step).rename(folder / f"{PARTIAL}{uuid.uuid4().hex}")
    files.sweep(folder)


def _encode(value: Any, tensors: dict[str, Tensor], where: str) -> Any:
    """Replace tensors by their names, and gather them; JSON keeps Python's floats to the last bit."""
    if isinstance(value, Tensor):
        # Numbered, so that no two have one name, whatever their keys hold.
        name = f"{len(tensors):06d}{where}"
        tensors[name] = value
        return {"$tensor": name}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [_encode(item, tensors, f"{where}/{number}") for number, item in enumerate(value)]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _encode(item, tensors, f"{where}/{key}") for key, item in value.items()}
        # JSON's keys are text, and an optimizer's are numbers.
        for key in value:
            if not isinstance(key, str | int | float | bool | None):
                raise CheckpointError(
                    f"{where.lstrip('/')} has the key {key!r}, which a checkpoint can't hold.",
                    hint="Allowed: text and numbers.",
                )
        return {"$items": [[key, _encode(item, tensors, f"{where}/{key}")] for key, item in value.items()]}
    raise CheckpointError(
        f"{where.lstrip('/')} is a {type(value).__name__}, which a checkpoint can't hold.",
        hint="Allowed: tensors, numbers, text, None, and lists and dicts of them.",
    )


class _OnDisk(Mapping[str, Tensor]):
    """The tensors of a file, each read when it is asked for."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getitem__(self, name: str) -> Tensor:
        # Cloned, since it may be a view of the mapped file, which is closed.
        tensor: Tensor = self._file.get_tensor(name)
        return tensor.clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.keys())

    def __len__(self) -> int:
        return len(self._file.keys())


def _decode(document: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(document, list):
        return [_decode(item, tensors) for item in document]
    if isinstance(document, dict):
        if "$tensor" in document:
            return tensors[document["$tensor"]]
        if "$items" in document:
            return {key: _decode(item, tensors) for key, item in document["$items"]}
        return {key: _decode(item, tensors) for key, item in document.items()}
    return document


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # Cloned, since safetensors refuses tensors that share memory (tied weights do).
    whole = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    # The file is made here, with the permissions of the umask; safetensors would let nobody else read it.
    path.touch(exist_ok=False)
    permissions = path.stat().st_mode
    save_file(whole, path)
    path.chmod(permissions)
    flush(path)


def _write_text(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    # A file larger than this machine's memory can't be loaded on it.
    with files.open_to_read(path, _memory()) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _memory() -> int | None:
    """Return the bytes of memory that this machine has, or None where the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
