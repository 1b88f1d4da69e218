"""Settings: what each one means, where it came from, and what is wrong with it.

A task declares its settings as a subclass of :class:`Config`; the field's default is the default, its
``description`` is the help, and its type and bounds are the check. Later sources win:
plugin defaults < ``--config`` file < ``MMGAN_*`` environment < command-line flags.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
import urllib.parse
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

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
}

#: Bytes that a file of settings may have.
FILE_LIMIT = 2**20
#: The greatest integer that every program reads back from TOML and JSON as it was written.
LARGEST = 2**53
#: The greatest number that a network can compute with.
LARGEST_FLOAT = 3.4e38
#: Settings that have a lower limit, also where a task declares them anew.
GREATEST = {"batch_size": 2**20, "workers": 256}
#: How a text begins that stands for bytes: each that is not ASCII follows as ``%F6``, and % as ``%25``.
BYTES = "bytes:"


class Config(BaseModel):
    """The settings that every run has. A task adds its own by subclassing."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    plugin: str = Field(description="the task's name, as `mmgan plugins` lists it")
    data: str = Field("", description="a folder, a file, or a data set's name; empty: the embedded default")
    steps: int = Field(1000, ge=1, description="length of the run; a step is one pass over a stage's phases")
    batch_size: int = Field(64, ge=1, description="examples in a batch")
    accumulate: int = Field(1, ge=1, le=4096, description="batches whose gradients make one update")
    sync_batch_norm: bool = Field(
        False, description="on several GPUs: batch norm sees the batches of all processes as one"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of all randomness")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps, or a plugin's device")
    precision: str = Field("auto", description="auto, fp32, bf16, fp16, or a plugin's precision")
    compile: bool = Field(False, description="compile the networks that allow it with torch.compile")
    convolutions: Literal["auto", "tune", "library"] = Field(
        "auto",
        description="on a CPU: matrix products where a fixed rule says so, whatever is measured to be "
        "fastest, or the library's",
    )
    deterministic: bool = Field(False, description="on a GPU too: only algorithms that repeat to the byte")
    workers: int = Field(0, ge=0, description="processes that prepare batches; 0: in the main process")
    log_every: int = Field(20, ge=1, description="steps between two lines of metrics")
    sample_every: int = Field(500, ge=0, description="steps between two sample files; 0: none")
    checkpoint_every: int = Field(500, ge=0, description="steps between two checkpoints; 0: only at the end")
    keep: int = Field(3, ge=1, description="how many of the newest checkpoints are kept, beside the best one")
    evaluate_every: int = Field(0, ge=0, description="steps between two evaluations; 0: none during training")
    tensorboard: bool = Field(True, description="write TensorBoard event files")

    @field_validator("*", mode="wrap")
    @classmethod
    def _can_be_kept(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Refuse what no file could give back, and let a text be any name that a file may have."""
        checked = handler(to_text(value) if isinstance(value, str) else value)
        if isinstance(checked, int):
            greatest = GREATEST.get(info.field_name or "", LARGEST)
            if not -LARGEST <= checked <= greatest:
                raise ValueError(f"Input should be at most {greatest:,} and at least -{LARGEST:,}")
        if isinstance(checked, float) and abs(checked) > LARGEST_FLOAT:
            raise ValueError(f"Input should be at most {LARGEST_FLOAT} and at least -{LARGEST_FLOAT}")
        if isinstance(checked, str):
            checked = from_text(checked)
            if "\0" in checked:
                raise ValueError("Input holds a NUL character, which no name of a file may have")
        return checked


C = TypeVar("C", bound=Config)


def resolve(
    config_class: type[C],
    plugin: str,
    *,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> C:
    """Merge defaults, a TOML file, the environment and flags into one checked config.

    Args:
        config_class: The task's config class.
        plugin: The task's name.
        file: A TOML file of settings, flat.
        flags: Settings from the command line. Strings are converted to the field's type.
        environment: Instead of ``os.environ``, for tests.

    Raises:
        ConfigError: A key is unknown, a value is not allowed, or the file can't be read.
    """
    from_environment = _environment(config_class, os.environ if environment is None else environment)
    from_file = read_file(file) if file else {}
    if from_file.get("plugin", plugin) != plugin:
        other = shown(from_file["plugin"])
        raise ConfigError(
            f"The config file {str(file)!r} is for {other}, and not for {plugin!r}.",
            hint=f"Use --plugin {other}, or take the line out of the file.",
        )
    merged = {**from_file, **from_environment, **(flags or {}), "plugin": plugin}
    return check(config_class, {key: parse_value(config_class, key, value) for key, value in merged.items()})


def check(config_class: type[C], values: Mapping[str, Any]) -> C:
    """Build a config, or say by name which settings are wrong, what was given and what is allowed.

    Raises:
        ConfigError: At least one setting is unknown or not allowed.
    """
    plugin = str(values.get("plugin", ""))
    hint = f"mmgan config {plugin} lists every setting." if plugin else ""
    for key in values:
        if key not in config_class.model_fields:
            near = did_you_mean(key, config_class.model_fields)
            raise ConfigError(f"{plugin} has no setting {shown(key)}. {near}".rstrip(), hint=hint)
    try:
        return config_class(**values)
    except ValidationError as error:
        raise ConfigError("; ".join(map(_problem, error.errors(include_url=False))), hint=hint) from None


def _problem(item: Mapping[str, Any]) -> str:
    """Say what is wrong with a setting."""
    # A check of several settings together has no place of its own; its message names them.
    where = f"{'.'.join(map(str, item['loc']))} = {shown(item['input'])}: " if item["loc"] else ""
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "literal_error" and isinstance(item["input"], str):
        suggestion = did_you_mean(item["input"], re.findall("'([^']*)'", item["ctx"]["expected"]))
        message += f". {suggestion}" if suggestion else ""
    return f"{where}{message}"


def parse_assignments(assignments: tuple[str, ...] | list[str]) -> dict[str, str]:
    """Turn ``["loss=hinge", "size=64"]`` into a dict.

    Raises:
        ConfigError: An item has no ``=``.
    """
    settings = {}
    for item in assignments:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            message = f"--set takes key=value, not {shown(item)}."
            raise ConfigError(message, hint="For example: --set loss=hinge")
        settings[key.strip().replace("-", "_")] = value.strip()
    return settings


def parse_value(config_class: type[Config], key: str, value: Any) -> Any:
    """Read a number, boolean or list that was given as text, where the setting is not text itself."""
    field = config_class.model_fields.get(key)
    if not isinstance(value, str) or field is None or _is_text(field.annotation):
        return value
    try:
        parsed = tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):  # No TOML, a number of 5,000 digits, or brackets without end.
        return value
    return parsed["value"] if len(parsed) == 1 else value


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


def to_toml(config: Config) -> str:
    """Write a resolved config as TOML."""
    return tomli_w.dumps(to_json(config))


def to_json(config: Config) -> dict[str, Any]:
    """Return a config as JSON and TOML know it; what is None is left out."""
    texts = {name: to_text(value) for name, value in config if isinstance(value, str)}
    return config.model_copy(update=texts).model_dump(mode="json", exclude_none=True)


def describe(config_class: type[Config], plugin: str, names: Mapping[str, list[str]] | None = None) -> str:
    """Write the settings as a TOML file of help, to be edited and given to ``--config``.

    Every default is commented out, since some follow from other settings: what stays so is left to the task.
    """
    head = f"# The settings of {plugin}, with their defaults. Take the # from those that you change."
    lines = [head, "", tomli_w.dumps({"plugin": plugin}).rstrip()]
    for name, field in config_class.model_fields.items():
        if name == "plugin":
            continue
        default = field.get_default(call_default_factory=True)
        value = "" if default is None else json.dumps(default)  # TOML has no null.
        lines += [
            "",
            f"# {field.description or name}{_allowed((names or {}).get(name) or get_args(field.annotation))}",
            f"# {name} = {value}".rstrip(),
        ]
    return "\n".join(lines) + "\n"


def _allowed(choices: Sequence[Any]) -> str:
    """Return choices, such as those of a Literal, as ``" (one of: a, b)"``."""
    if not choices or not all(isinstance(choice, str | int | float) for choice in choices):
        return ""
    return f" (one of: {', '.join(map(str, choices))})"


def _is_text(annotation: Any) -> bool:
    choices = get_args(annotation)
    return annotation is str or str in choices or any(isinstance(choice, str) for choice in choices)


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


def _environment(config_class: type[Config], environment: Mapping[str, str]) -> dict[str, str]:
    """Collect ``MMGAN_BATCH_SIZE=32`` and its like.

    An unknown one is only warned of: the environment is shared by all tasks, and may hold another's setting.
    """
    settings = {}
    for name, value in environment.items():
        if not name.startswith("MMGAN_") or name in RESERVED_ENVIRONMENT:
            continue
        key = name.removeprefix("MMGAN_").lower()
        if key in config_class.model_fields and key != "plugin":
            settings[key] = value
        else:
            suggestion = did_you_mean(key, config_class.model_fields)
            warnings.warn(f"{name} is no setting of this task and is ignored. {suggestion}", stacklevel=2)
    return settings
