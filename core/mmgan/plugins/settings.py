"""Settings that plugins declare for themselves: tables in the settings of every run."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from mmgan.errors import PluginError, shown

if TYPE_CHECKING:
    from pydantic import BaseModel

    from mmgan.config import C, Config
    from mmgan.plugins.registry import Entry

#: The models of plugins' settings by name, each with the plugin's own name.
Models = Mapping[str, "tuple[type[BaseModel], str]"]


def model_from(entry: Entry, name: str) -> type[BaseModel]:
    """Return the model of a plugin's settings.

    Raises:
        PluginError: It is not a model, or a setting of it has no default.
    """
    from pydantic import BaseModel

    model = entry.load()
    what = f"Plugin {entry.plugin!r} registered {name!r} in register_settings"
    if not (inspect.isclass(model) and issubclass(model, BaseModel)):
        raise PluginError(
            f"{what} as {shown(model)}, which is not a subclass of pydantic.BaseModel.",
            hint="class Settings(BaseModel): patience: int = Field(3, description='…')",
        )
    required = [key for key, field in model.model_fields.items() if field.is_required()]
    if required:
        raise PluginError(
            f"{what}, and {', '.join(required)} has no default.",
            hint="Each needs a default: older runs, and runs without the plugin's settings, must load.",
        )
    return model


def with_settings(config_class: type[C], models: Models) -> type[C]:
    """Return a config class that has plugins' settings too, each under its name.

    Args:
        config_class: A task's.
        models: What plugins declare.

    Raises:
        PluginError: A name is taken by a setting of the task, or can't be a setting's name.
    """
    for name, (_, plugin) in models.items():
        if not name.isidentifier() or name.startswith("_") or name != name.lower():
            raise PluginError(
                f"Plugin {plugin!r} registered the settings {name!r}, which can't be their name.",
                hint="Small letters, digits and _: --set name.key=value",
            )
        if name in config_class.model_fields:
            raise PluginError(
                f"Plugin {plugin!r} registered the settings {name!r}, which is a task's setting: "
                f"{config_class.__module__}.{config_class.__qualname__}.{name}.",
                hint="The plugin's own name is a good one.",
            )
    return cast(
        "type[C]", _extended(config_class, tuple((name, model) for name, (model, _) in models.items()))
    )


@functools.cache
def _extended(config_class: type[Config], models: tuple[tuple[str, type[BaseModel]], ...]) -> type[Config]:
    """Make the class; the same one for the same models, so that equal settings are equal."""
    from pydantic import Field, create_model

    fields: dict[str, Any] = {
        name: (model, Field(default_factory=model, description=f"settings of {name}"))
        for name, model in models
    }

    def reduced(self: Config) -> Any:
        # A class that is made here is in no module from which another process could import it.
        return _restored, (config_class, models, dict(self))

    made = create_model(
        config_class.__name__, __base__=config_class, __module__=config_class.__module__, **fields
    )
    made.__reduce__ = reduced  # type: ignore[method-assign, assignment]
    return made


def _restored(config_class: type[Config], models: Any, values: dict[str, Any]) -> Config:
    return _extended(config_class, models).model_construct(**values)


def without_strangers(config_class: type[Config], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's settings without those of missing plugins, which cause a warning."""
    kept = {
        key: value
        for key, value in values.items()
        if key in config_class.model_fields or not isinstance(value, Mapping)
    }
    for key in sorted(values.keys() - kept.keys()):
        warnings.warn(
            f"[{shown(key)[1:-1]}] in the run's config.toml: no plugin that is installed has such settings; "
            "they are passed over.",
            stacklevel=3,
        )
    return kept
