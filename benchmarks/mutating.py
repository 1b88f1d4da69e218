"""Ways to spoil a run's folder: bits that flip, values of the wrong kind, files that are none.

Each function changes one thing, says what, and draws what it does from the generator that it is given.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

#: Stands in JSON or TOML for lists within lists, which no parser's recursion can hold.
_DEEP = "so deep"
_DEPTH = 5_000
#: JSON's and TOML's values that are put in the place of another.
_VALUES: dict[str, Any] = {
    "text": "x", "empty text": "", "long text": "x" * 100_000, "a list": [1, "x"], "an empty list": [],
    "a table": {"x": 1}, "an empty table": {}, "true": True, "zero": 0, "minus one": -1, "a half": 0.5,
    "a huge number": 10**30, "2**63": 2**63, "-2**63": -(2**63), "a long number": 10**4_000, "1e308": 1e308,
    "NaN": float("nan"), "infinity": float("inf"), "minus infinity": float("-inf"), "null": None,
    "a path outside": "../../outside/file", "a NUL": "\0", "half a surrogate": "\ud800",
    "5,000 lists in each other": _DEEP,
}  # fmt: skip


def flip(path: Path, rng: random.Random) -> str:
    """Flip one bit of a file, as often as not among the first 1,000 bytes, where a format's header is."""
    data = bytearray(path.read_bytes())
    if not data:
        path.write_bytes(b"\x01")
        return "one byte in an empty file"
    end = min(len(data), 1_000) if rng.random() < 0.5 else len(data)
    place, bit = rng.randrange(end), rng.randrange(8)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    return f"bit {bit} of byte {place} of {len(data)}"


def structure(path: Path, outside: Path, rng: random.Random) -> str:
    """Change a file as its format allows, or put something else in its place.

    Args:
        path: A file of a run's folder.
        outside: A folder with ``file`` and ``folder``, which links point at and nothing may change.
        rng: What is drawn comes from it.
    """
    by_format: list[Callable[[Path, random.Random], str]] = {
        ".json": [_json],
        ".jsonl": [_json_line],
        ".toml": [_toml],
        ".safetensors": [_header, _tensors],
    }.get(path.suffix, [])
    if by_format and rng.random() < 0.75:
        return rng.choice(by_format)(path, rng)
    return (
        rng.choice([_replace, _replace, _bytes])(path, rng)
        if rng.random() < 0.7
        else _link(path, outside, rng)
    )


def entries(folder: Path, outside: Path, rng: random.Random) -> str:
    """Change which files and folders there are, where a run looks or will write."""
    steps = sorted(folder.glob("checkpoints/step-*"))
    way = rng.choice(["rename", "remove", "link", "plant", "plant"])
    if way == "rename":
        step = rng.choice(steps)
        name = rng.choice(
            ["step-000006", "step-000003", "step-999999999999999999999", "step-0000004", "step-٤٤٤٤٤٤"]
        )
        if (step.parent / name).exists():
            name = "step-000005"
        step.rename(step.parent / name)
        return f"{step.name} renamed {name}"
    inner = rng.choice([*steps, *(path for path in folder.iterdir() if path.is_dir())])
    if way == "remove":
        shutil.rmtree(inner)
        return f"{inner.relative_to(folder)} removed"
    if way == "link":
        # A copy outside, so that what is there looks as it should.
        shutil.copytree(inner, outside / "folder" / inner.name)
        shutil.rmtree(inner)
        inner.symlink_to(outside / "folder" / inner.name)
        return f"{inner.relative_to(folder)} is a link to a copy of it outside"
    place = folder / rng.choice(
        [
            ".partial.png", ".partial.txt", ".partial.wav", ".status.json.partial", ".config.toml.partial",
            ".metrics.jsonl.partial", "samples/step-000006.png", "samples/step-000008.png",
            "samples/step-000006.txt", "samples/step-000006.wav", "checkpoints/.partial-0", "generated",
            "checkpoints/step-000006", "checkpoints/step-000008", "checkpoints/step-000099", "tensorboard",
            "checkpoints/.best.json.partial", "profile",
        ]
    )  # fmt: skip
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    what = rng.choice(
        ["a link to a file", "a link to a folder", "a link to nothing", "a pipe", "a folder", "a file"]
    )
    if what == "a link to a file":
        place.symlink_to(outside / "file")
    elif what == "a link to a folder":
        place.symlink_to(outside / "folder")
    elif what == "a link to nothing":
        place.symlink_to(outside / "nothing")
    elif what == "a pipe":
        os.mkfifo(place)
    elif what == "a folder":
        place.mkdir()
        (place / "thesis.txt").write_text("x")
    else:
        place.write_text("x")
    return f"{place.relative_to(folder)} is {what}"


def sign(checkpoint: Path) -> None:
    """Write the hashes of what a checkpoint holds now into its manifest, so that its content is judged."""
    path = checkpoint / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name in manifest["files"]:
        # A link to an endless device has no hash.
        if (checkpoint / name).is_file():
            manifest["files"][name] = hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()
    path.write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def must_not_be_used(checkpoint: Path) -> str:
    """Return why a checkpoint may not be gone on from, whatever its hashes say, or an empty text."""
    step = checkpoint.name.removeprefix("step-")
    for name in ("state.json", "manifest.json"):
        try:
            inside = json.loads((checkpoint / name).read_text(encoding="utf-8"))["step"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        if type(inside) is not int or not step.isdigit() or inside != int(step):
            return f"{name} says step {str(inside)[:40]}, and the folder {checkpoint.name}"
    for path in sorted(checkpoint.glob("*.safetensors")):
        if not path.is_file() or path.stat().st_size > 10**8:
            continue
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, RecursionError):
            continue
        for key, tensor in tensors.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
                return f"{path.name} is not finite in {key}"
    return ""


# Documents.


class _Key(str):
    """A key that is equal to no other, so that a dict can hold the same text twice."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def _json(path: Path, rng: random.Random) -> str:
    document = json.loads(path.read_text(encoding="utf-8"))
    document, what = _change(document, rng)
    path.write_text(_dumps(document), encoding="utf-8", errors="surrogatepass")
    return what


def _json_line(path: Path, rng: random.Random) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    number = rng.randrange(len(lines))
    document, what = _change(json.loads(lines[number]), rng)
    lines[number] = _dumps(document)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass")
    return f"line {number + 1}: {what}"


def _toml(path: Path, rng: random.Random) -> str:
    while True:
        document, what = _change(tomllib.loads(path.read_text(encoding="utf-8")), rng)
        try:
            text = tomli_w.dumps(document).replace(f'"{_DEEP}"', "[" * _DEPTH + "]" * _DEPTH)
            path.write_text(text, encoding="utf-8", errors="surrogatepass")
        except (TypeError, ValueError, AttributeError):
            continue  # TOML has no null, and a table at the top only: something else is drawn.
        return what


def _dumps(document: Any) -> str:
    text = json.dumps(document, ensure_ascii=False)
    return text.replace(json.dumps(_DEEP), "[" * _DEPTH + "]" * _DEPTH)


def _change(document: Any, rng: random.Random) -> tuple[Any, str]:
    """Change one node of a document, drawn by its depth first, since most nodes lie deep in long lists."""
    path: list[Any] = []
    parent, node = None, document
    while isinstance(node, dict | list) and node and (not path or rng.random() < 0.8):
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        path.append(key)
        parent, node = node, node[key]
    where = "/".join(map(str, path))
    if parent is None:
        return [], f"{where}: everything"
    key = path[-1]
    way = rng.choice(["value"] * 6 + ["missing", "extra", "twice"])
    if way == "value":
        name = rng.choice(list(_VALUES))
        parent[key] = _VALUES[name]
        return document, f"{where} is {name}"
    if way == "missing":
        del parent[key]
    elif isinstance(parent, list):
        parent.append(node if way == "twice" else "x")
    elif way == "extra":
        parent["surprise"] = 1
    else:
        parent[_Key(key)] = rng.choice([node, "x", -1, None])
    return document, f"{where} {way}"


# Tensors.


def _header(path: Path, rng: random.Random) -> str:
    """Let the header of a safetensors file lie."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = data[8 : 8 + length], data[8 + length :]
    way = rng.choice(["node", "node", "node", "length", "cut", "longer"])
    if way == "length":
        length = rng.choice([0, 1, length - 1, length + 1, len(data), 2**31, 2**63, 2**64 - 1])
        path.write_bytes(struct.pack("<Q", length) + header + body)
        return f"header of {length} bytes"
    if way == "cut":
        end = rng.choice([0, 1, 7, 8, 9, 8 + length // 2, len(data) - 1, rng.randrange(len(data))])
        path.write_bytes(data[:end])
        return f"cut after {end} bytes"
    if way == "longer":
        path.write_bytes(data + b"\0" * rng.choice([1, 8, 4096]))
        return "bytes after the end"
    document, what = _change(json.loads(header), rng)
    text = _dumps(document).encode(errors="surrogatepass")
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return f"header: {what}"


def _tensors(path: Path, rng: random.Random) -> str:
    """Write a sound safetensors file with a tensor that is another."""
    tensors = load_file(path)
    name = rng.choice(list(tensors))
    tensor = tensors[name]
    way = rng.choice(
        ["NaN", "NaN", "infinity", "flat", "one more", "transposed", "empty", "huge", "dtype", "dtype",
         "missing", "extra", "renamed", "none at all", "zero"]
    )  # fmt: skip
    if way in ("NaN", "infinity"):
        if not tensor.is_floating_point():
            floats = [key for key, value in tensors.items() if value.is_floating_point() and value.numel()]
            name = rng.choice(floats or [name])
        tensor = tensors[name].clone()
        if tensor.is_floating_point():
            tensor.flatten()[rng.randrange(tensor.numel())] = float("nan" if way == "NaN" else "inf")
        tensors[name] = tensor
    elif way == "flat":
        tensors[name] = tensor.reshape(-1).clone()
    elif way == "one more":
        tensors[name] = torch.cat([tensor.reshape(-1), tensor.reshape(-1)[:1]])
    elif way == "transposed":
        tensors[name] = tensor.reshape(tensor.shape[::-1]).clone()
    elif way == "empty":
        tensors[name] = torch.zeros(0, dtype=tensor.dtype)
    elif way == "huge":
        tensors[name] = torch.zeros(3_000_000, dtype=tensor.dtype)
    elif way == "dtype":
        other = rng.choice(
            [torch.float64, torch.float16, torch.int8, torch.int64, torch.bool, torch.complex64]
        )
        tensors[name] = tensor.to(other)
        way = f"of {other}"
    elif way == "missing":
        del tensors[name]
    elif way == "extra":
        tensors["surprise"] = tensor.clone()
    elif way == "renamed":
        tensors[f"{name}x"] = tensors.pop(name)
    elif way == "none at all":
        tensors = {}
    else:
        tensors[name] = torch.zeros_like(tensor)
    save_file(tensors, path)
    return f"{name} {way}"


# Files.


def _bytes(path: Path, rng: random.Random) -> str:
    """Fill a file with what its format does not have."""
    name, data = rng.choice(
        [
            ("bytes that are not UTF-8", b"\xff\xfe\x00\x80"),
            ("a mark of byte order before it", b"\xef\xbb\xbf" + path.read_bytes()),
            ("random bytes", rng.randbytes(5_000)),
            ("30 MB of spaces", b" " * 30_000_000),
            ("100,000 brackets", b"[" * 100_000),
            ("null", b"null"),
            ("a list", b"[]"),
            ("half of it", path.read_bytes()[: path.stat().st_size // 2]),
            ("it twice", path.read_bytes() * 2),
        ]
    )
    path.write_bytes(data)
    return name


def _replace(path: Path, rng: random.Random) -> str:
    """Put something in the place of a file that is none."""
    way = rng.choice(["missing", "empty", "a pipe", "a folder", "a folder with files", "not readable"])
    path.unlink()
    if way == "empty":
        path.write_bytes(b"")
    elif way == "a pipe":
        os.mkfifo(path)
    elif way.startswith("a folder"):
        path.mkdir()
        if way.endswith("files"):
            (path / "thesis.txt").write_text("x")
    elif way == "not readable":
        os.mknod(path, 0o020000, os.makedev(1, 7)) if os.geteuid() == 0 else path.touch(0)  # /dev/full
        way = "a device" if os.geteuid() == 0 else way
    return way


def _link(path: Path, outside: Path, rng: random.Random) -> str:
    """Put a link in the place of a file."""
    way = rng.choice(["a copy of it", "a file", "a folder", "nothing", "itself", "/dev/zero"])
    target = {
        "a file": outside / "file",
        "a folder": outside / "folder",
        "nothing": outside / "nothing",
        "itself": path,
        "/dev/zero": Path("/dev/zero"),
        "a copy of it": outside / "folder" / path.name,
    }[way]
    if way == "a copy of it":
        shutil.copy(path, target)
    path.unlink()
    path.symlink_to(target)
    return f"a link to {way}"
