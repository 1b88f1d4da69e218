"""Settings: what each one means, where it came from, and what is wrong with it.

A task declares its settings as a subclass of :class:`Config`; the field's default is the default, its
``description`` is the help, and its type and bounds are the check. Later sources win:
plugin defaults < ``--config`` file < ``MMGAN_*`` environment < command-line flags.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
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
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from mmgan.errors import ConfigError, did_you_mean, shown
from mmgan.extras import has
from mmgan.settings import (
    BYTES,
    FILE_LIMIT,
    RESERVED_ENVIRONMENT,
    fields_of,
    from_text,
    merged,
    model_of,
    parse_assignments,
    parse_value,
    read_environment,
    read_file,
    to_text,
)

__all__ = [
    "BYTES",
    "FILE_LIMIT",
    "GREATEST",
    "LARGEST",
    "LARGEST_FLOAT",
    "RESERVED_ENVIRONMENT",
    "Config",
    "check",
    "describe",
    "from_text",
    "parse_assignments",
    "parse_value",
    "read_file",
    "resolve",
    "to_json",
    "to_text",
    "to_toml",
]

#: The greatest integer that every program reads back from TOML and JSON as it was written.
LARGEST = 2**53
#: The greatest number that a network can compute with.
LARGEST_FLOAT = 3.4e38
#: Settings that have a lower limit, also where a task declares them anew.
GREATEST = {"batch_size": 2**20, "workers": 256}


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
    compile: bool | Literal["auto"] = Field(
        False, description="compile the networks that allow it with torch.compile; auto: if a trial is faster"
    )
    memory_format: Literal["task", "auto", "contiguous", "channels_last"] = Field(
        "task", description="order in memory of pictures; task: as the task says; auto: the faster in a trial"
    )
    tf32: bool = Field(True, description="on a GPU: multiply float32 numbers in TF32, with 10 bits of 23")
    graphs: Literal["auto", "on", "off"] = Field(
        "auto", description="on a GPU: record whole steps as CUDA graphs; auto: where the task allows it"
    )
    deterministic: bool = Field(False, description="on a GPU too: only algorithms that repeat to the byte")
    workers: int = Field(0, ge=0, description="processes that prepare batches; 0: in the main process")
    log_every: int = Field(20, ge=1, description="steps between two lines of metrics")
    sample_every: int = Field(500, ge=0, description="steps between two sample files; 0: none")
    checkpoint_every: int = Field(500, ge=0, description="steps between two checkpoints; 0: only at the end")
    keep: int = Field(3, ge=1, description="how many of the newest checkpoints are kept, beside the best one")
    evaluate_every: int = Field(0, ge=0, description="steps between two evaluations; 0: none during training")
    tensorboard: bool = Field(
        default_factory=lambda: has("tensorboard"),
        description="write TensorBoard event files; by default where TensorBoard is installed",
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _can_be_kept(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Refuse what no file could give back, and let a text be any name that a file may have."""
        checked = handler(to_text(value) if isinstance(value, str) else value)
        if isinstance(checked, str):
            checked = from_text(checked)
            if "\0" in checked:
                raise ValueError("Input holds a NUL character, which no name of a file may have")
        else:
            _refuse_what_is_not_kept(checked, GREATEST.get(info.field_name or "", LARGEST))
        return checked


def _refuse_what_is_not_kept(value: Any, greatest: int = LARGEST) -> None:
    """Refuse, with a ValueError, what TOML and JSON do not give back as it was, in lists and tables too."""
    if isinstance(value, int) and not -LARGEST <= value <= greatest:
        raise ValueError(f"Input should be at most {greatest:,} and at least -{LARGEST:,}")
    if isinstance(value, float) and not abs(value) <= LARGEST_FLOAT:
        raise ValueError(f"Input should be at most {LARGEST_FLOAT} and at least -{LARGEST_FLOAT}")
    if isinstance(value, str) and (to_text(value) != value or "\0" in value):
        raise ValueError(f"Input holds a text that a file could not give back: {shown(value)}")
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            if item is None:
                raise ValueError("Input should not hold None, which TOML does not have")
            _refuse_what_is_not_kept(item)
    elif isinstance(value, BaseModel | Mapping):
        for _, item in value.items() if isinstance(value, Mapping) else value:
            _refuse_what_is_not_kept(item)


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
        file: A TOML file of settings.
        flags: Settings from the command line. Strings are converted to the field's type.
        environment: Instead of ``os.environ``, for tests.

    Raises:
        ConfigError: A key is unknown, a value is not allowed, or the file can't be read.
    """
    from_environment = read_environment(config_class, os.environ if environment is None else environment)
    from_file = read_file(file) if file else {}
    if from_file.get("plugin", plugin) != plugin:
        other = shown(from_file["plugin"])
        raise ConfigError(
            f"The config file {str(file)!r} is for {other}, and not for {plugin!r}.",
            hint=f"Use --plugin {other}, or take the line out of the file.",
        )
    given = merged(merged(from_file, from_environment), flags or {}) | {"plugin": plugin}
    return check(config_class, {key: parse_value(config_class, key, value) for key, value in given.items()})


def check(config_class: type[C], values: Mapping[str, Any]) -> C:
    """Build a config, or say by name which settings are wrong, what was given and what is allowed.

    Raises:
        ConfigError: At least one setting is unknown or not allowed.
    """
    plugin = str(values.get("plugin", ""))
    hint = f"mmgan config {plugin} lists every setting." if plugin else ""
    for key in _unknown(config_class, values):
        known = {*config_class.model_fields, *(name for name, _ in fields_of(config_class))}
        raise ConfigError(
            f"{plugin} has no setting {shown(key)}. {did_you_mean(key, known)}".rstrip(), hint=hint
        )
    try:
        return config_class(**values)
    except ValidationError as error:
        raise ConfigError("; ".join(map(_problem, error.errors(include_url=False))), hint=hint) from None


def _unknown(model: type[BaseModel], values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the whole names of settings that there are not."""
    for key, value in values.items():
        field = model.model_fields.get(key)
        inner = field and model_of(field)
        if field is None:
            yield f"{prefix}{key}"
        elif inner and isinstance(value, Mapping):
            yield from _unknown(inner, value, f"{prefix}{key}.")


def _problem(item: Mapping[str, Any]) -> str:
    """Say what is wrong with a setting."""
    # A check of several settings together has no place of its own; its message names them.
    where = f"{'.'.join(map(str, item['loc']))} = {shown(item['input'])}: " if item["loc"] else ""
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "literal_error" and isinstance(item["input"], str):
        suggestion = did_you_mean(item["input"], re.findall("'([^']*)'", item["ctx"]["expected"]))
        message += f". {suggestion}" if suggestion else ""
    if item["type"] == "model_type":
        message = f"It is a table of settings: {'.'.join(map(str, item['loc']))}.KEY = VALUE"
    return f"{where}{message}"


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
    lines = [f"# The settings of {plugin}, with their defaults. Take the # from those that you change.", ""]
    lines.append(tomli_w.dumps({"plugin": plugin}).rstrip())
    for name, field in fields_of(config_class):
        if name != "plugin":
            lines += ["", *_described(name, field, (names or {}).get(name) or get_args(field.annotation))]
    return "\n".join(lines) + "\n"


def _described(name: str, field: FieldInfo, choices: Sequence[Any]) -> list[str]:
    default = field.get_default(call_default_factory=True)
    # TOML has no null, so what is unset by default shows no value.
    value = "" if default is None else json.dumps(to_jsonable_python(default))
    return [f"# {field.description or name}{_allowed(choices)}", f"# {name} = {value}".rstrip()]


def _allowed(choices: Sequence[Any]) -> str:
    """Return choices, such as those of a Literal, as ``" (one of: a, b)"``."""
    if not choices or not all(isinstance(choice, str | int | float) for choice in choices):
        return ""
    return f" (one of: {', '.join(map(str, choices))})"
