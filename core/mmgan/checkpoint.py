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
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmgan.errors import CheckpointError

#: The weights of every network, and everything else.
Loaded = tuple[dict[str, dict[str, Tensor]], dict[str, Any]]

FORMAT = 1
_NAME = re.compile(r"step-(\d{6,})")


def save(
    folder: Path, step: int, weights: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> Path:
    """Write a checkpoint below ``folder`` and return its path.

    Args:
        folder: The run's ``checkpoints`` folder; made if missing.
        step: The step after which the state was taken.
        weights: State dicts of networks by name; each becomes ``NAME.safetensors``.
        state: Everything else: tensors, numbers, text, None, lists, tuples (read back as lists) and dicts.

    Raises:
        CheckpointError: Something in the state can't be stored, or the disk refused it.
    """
    final = folder / f"step-{step:06d}"
    # Unique, so that what a killed process left behind is never written into.
    temporary = folder / f".partial-{uuid.uuid4().hex}"
    try:
        temporary.mkdir(parents=True)
        for name, tensors in weights.items():
            if name == "state" or "/" in name:
                raise CheckpointError(f"A player can't be called {name!r}: its weights' file has that name.")
            _write_tensors(temporary / f"{name}.safetensors", tensors)
        tensors = {}
        document = _encode(state, tensors, "")
        _write_tensors(temporary / "state.safetensors", tensors)
        _write_text(temporary / "state.json", json.dumps(document, indent=1))
        files = {path.name: _digest(path) for path in sorted(temporary.iterdir())}
        manifest = {"format": FORMAT, "step": step, "weights": list(weights), "files": files}
        _write_text(temporary / "manifest.json", json.dumps(manifest, indent=1))
        _flush(temporary)
        if final.exists():  # A torn one, or the same step come to again after a resume from an earlier one.
            os.rename(final, folder / f".partial-{uuid.uuid4().hex}")
        os.rename(temporary, final)
        _flush(folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"Can't write the checkpoint {str(final)!r}: {getattr(error, 'strerror', None) or error}.",
            hint="Free some disk space; the checkpoints before this one are whole.",
        ) from error
    finally:
        sweep(folder)
    return final


def load(path: Path) -> Loaded:
    """Check every file of a checkpoint against its manifest, and return (weights, state) on the CPU.

    Raises:
        CheckpointError: A file is missing, torn or altered, or the format is a later one.
    """
    manifest = verify(path)
    try:
        weights = {name: load_file(path / f"{name}.safetensors") for name in manifest["weights"]}
        tensors = load_file(path / "state.safetensors")
        state = _decode(json.loads((path / "state.json").read_text(encoding="utf-8")), tensors)
    except Exception as error:
        raise CheckpointError(f"The checkpoint {str(path)!r} can't be read: {error}") from error
    return weights, state


def verify(path: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint whose files are all as they were written.

    Raises:
        CheckpointError: They are not; the message names the first that is not.
    """
    try:
        manifest: dict[str, Any] = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        version, files = manifest["format"], dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(f"The checkpoint {str(path)!r} has no readable manifest.json.") from None
    if version != FORMAT:
        raise CheckpointError(
            f"The checkpoint {str(path)!r} has format {version}; this version of mmgan reads {FORMAT}.",
            hint="Use the version of mmgan that wrote it.",
        )
    for name, expected in files.items():
        if not (path / name).is_file():
            raise CheckpointError(f"The checkpoint {str(path)!r} is torn: {name} is missing.")
        if _digest(path / name) != expected:
            raise CheckpointError(f"The checkpoint {str(path)!r} is torn or altered: {name} has changed.")
    return manifest


def steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints below ``folder``, whole or not, the newest last."""
    if not folder.is_dir():
        return []
    matches = (_NAME.fullmatch(path.name) for path in folder.iterdir() if path.is_dir())
    return sorted(int(match[1]) for match in matches if match)


def path_of(folder: Path, step: int) -> Path:
    """Return the folder of the checkpoint of this step."""
    return folder / f"step-{step:06d}"


def remove(folder: Path, step: int) -> None:
    """Remove a checkpoint. It is renamed first: one that is half removed must not look like one."""
    path_of(folder, step).rename(folder / f".partial-{uuid.uuid4().hex}")
    sweep(folder)


def sweep(folder: Path) -> None:
    """Remove what unfinished writes left behind."""
    for leftover in folder.glob(".partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def write_atomically(path: Path, text: str, durable: bool = True) -> None:
    """Replace a small text file in one go: a reader sees the old text or the new, never half.

    Args:
        path: The file.
        text: Its new text.
        durable: Wait until the disk has it, so that it outlives a power cut. That takes milliseconds.
    """
    # Always the same name, so that what a killed process left behind is replaced the next time.
    temporary = path.with_name(f".{path.name}.partial")
    if durable:
        _write_text(temporary, text)
    else:
        temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    if durable:
        _flush(path.parent)


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
    save_file(whole, path)
    _flush(path)


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Make the system write a file or a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
