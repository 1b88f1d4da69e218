"""Settings as they are given, before they are checked: text, a TOML file, the environment.

A setting may hold settings of its own, as a plugin's do: ``guardian.patience``. Then it is a table.
"""

from __future__ import annotations

import collections.abc
import inspect
import os
import tomllib
import types
import urllib.parse
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mmgan.errors import ConfigError, did_you_mean, shown
from mmgan.storage import files

#: Environment variables that steer the program itself and are no settings of a run.
RESERVED_ENVIRONMENT = {
    "MMGAN_DEBUG",
    "MMGAN_TRACE_PLUGINS",
    "MMGAN_LOAD_PLUGINS",
    "MMGAN_PLUGINS_DIR",
    "MMGAN_CACHE_DIR",
    "MMGAN_RANK_TIMEOUT",
    "MMGAN_RANKS_SHARE_GPU",
}

#: Bytes that a file of settings may have.
FILE_LIMIT = 2**20
#: How a text begins that stands for bytes: each that is not ASCII follows as ``%F6``, and % as ``%25``.
BYTES = "bytes:"
#: How many names a key may have, with dots between them.
_DEEPEST = 9
_LISTS = (list, tuple, set, frozenset, collections.abc.Sequence)


def model_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a setting that holds settings of its own, or None for any other."""
    annotation = field.annotation
    return annotation if inspect.isclass(annotation) and issubclass(annotation, BaseModel) else None


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting under its whole name, such as ``guardian.patience``."""
    for name, field in model.model_fields.items():
        inner = model_of(field)
        if inner is None:
            yield f"{prefix}{name}", field
        else:
            yield from fields_of(inner, f"{prefix}{name}.")


def merged(settings: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with later ones over them; tables are merged key by key."""
    both = dict(settings)
    for key, value in later.items():
        before = both.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = merged(before, value)
        both[key] = value
    return both


def nested(names: Sequence[str], value: Any) -> dict[str, Any]:
    """Return ``{"guardian": {"patience": 5}}`` for ``["guardian", "patience"]`` and 5."""
    for name in reversed(names):
        value = {name: value}
    return dict(value)


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings without tables, by their whole names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def parse_assignments(assignments: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """Turn ``["loss=hinge", "a.b=5"]`` into ``{"loss": "hinge", "a": {"b": "5"}}``.

    Raises:
        ConfigError: An item has no ``=``.
    """
    settings: dict[str, Any] = {}
    for item in assignments:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            message = f"--set takes key=value, not {shown(item)}."
            raise ConfigError(message, hint="For example: --set loss=hinge")
        names = key.strip().replace("-", "_").split(".", _DEEPEST - 1)
        settings = merged(settings, nested(names, value.strip()))
    return settings


def parse_value(model: type[BaseModel], key: str, value: Any) -> Any:
    """Read a number, boolean, list or table that was given as text, where the setting is not text itself."""
    field = model.model_fields.get(key)
    if field is None:
        return value
    inner = model_of(field)
    if inner is not None and isinstance(value, Mapping):
        return {name: parse_value(inner, name, item) for name, item in value.items()}
    return _parse_text(field.annotation, value) if isinstance(value, str) else value


def _parse_text(annotation: Any, text: str) -> Any:
    choices = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    if any(_is_text(choice) for choice in choices):
        return text
    items = [get_args(choice) or (Any,) for choice in choices if (get_origin(choice) or choice) in _LISTS]
    if items and not text.startswith("["):
        return [_parse_text(items[0][0], item.strip()) for item in text.split(",")] if text else []
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # No TOML, a number of 5,000 digits, or brackets without end.
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _is_text(annotation: Any) -> bool:
    literal = get_origin(annotation) is Literal
    return annotation is str or (literal and any(isinstance(choice, str) for choice in get_args(annotation)))


def to_text(name: str) -> str:
    """Return a text as it is, or the name of a file that is not text (not UTF-8) as :data:`BYTES` says."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return BYTES + urllib.parse.quote(os.fsencode(name))
    return name


def from_text(text: str) -> str:
    """Return what :func:`to_text` was given."""
    if not text.startswith(BYTES):
        return text
    return os.fsdecode(urllib.parse.unquote_to_bytes(text.removeprefix(BYTES)))


def read_file(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML file, unchecked.

    Raises:
        ConfigError: It can't be read, is not an ordinary file, or is not TOML.
    """
    name = repr(str(path))
    try:
        data = files.read(Path(os.path.realpath(path)), FILE_LIMIT)
    except OSError as error:
        raise ConfigError(f"Can't read the config file {name}: {error.strerror or error}.") from None
    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # Windows' Notepad begins UTF-8 with a mark.
    except RecursionError:
        raise ConfigError(f"The config file {name} is not TOML: too many brackets in each other.") from None
    except ValueError as error:  # No TOML, no UTF-8, or a number of 5,000 digits.
        reason = str(error).rstrip(".")
        raise ConfigError(f"The config file {name} is not TOML: {reason}.", hint=_hint(data)) from None


def _hint(data: bytes) -> str:
    """Return what is often wrong with a file that is not TOML."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "It is in UTF-16. Save it as UTF-8; in PowerShell: … | Out-File -Encoding utf8 FILE.toml"
    if b"\\" in data:
        return "A path with \\ stands in single quotes: data = 'C:\\Users\\me\\pictures'"
    return ""


def read_environment(model: type[BaseModel], environment: Mapping[str, str]) -> dict[str, Any]:
    """Collect ``MMGAN_BATCH_SIZE=32``, ``MMGAN_GUARDIAN__PATIENCE=5`` and their like.

    An unknown one is only warned of: the environment is shared by all tasks, and may hold another's setting.
    """
    settings: dict[str, Any] = {}
    known = {name.replace(".", "__"): name for name, _ in fields_of(model)}
    known |= {name: name for name in model.model_fields}
    for name, value in environment.items():
        if not name.startswith("MMGAN_") or name in RESERVED_ENVIRONMENT:
            continue
        key = name.removeprefix("MMGAN_").lower()
        if key in known and key != "plugin":
            settings = merged(settings, nested(known[key].split("."), value))
        else:
            suggestion = did_you_mean(key, known)
            warnings.warn(f"{name} is not a setting of this task and is ignored. {suggestion}", stacklevel=3)
    return settings
