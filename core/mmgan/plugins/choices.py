"""Settings whose values are names that plugins register."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmgan.errors import ConfigError, did_you_mean, shown

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from mmgan.config import Config
    from mmgan.plugins.manager import Plugins


@dataclass(frozen=True)
class Registered:
    """Marks a setting as the name of something registered: ``loss: Annotated[str, Registered("losses")]``.

    Args:
        table: The table that ``register_…`` of this name fills.
        kind: The kind of data, if the table has kinds.
    """

    table: str
    kind: str = ""


def mark_of(field: FieldInfo) -> Registered | None:
    """Return the mark of a setting that names something registered, or None."""
    return next((mark for mark in field.metadata if isinstance(mark, Registered)), None)


def choices(config_class: type[Config], plugins: Plugins) -> dict[str, list[str]]:
    """Return the allowed names of each such setting, mmgan's own first."""
    marks = {name: mark_of(field) for name, field in config_class.model_fields.items()}
    return {name: plugins.names(mark.table, mark.kind) for name, mark in marks.items() if mark}


def check_choices(config: Config, plugins: Plugins) -> None:
    """Refuse a name that nobody registered.

    Raises:
        ConfigError: A name is not registered; the message lists the allowed ones.
    """
    for setting, allowed in choices(type(config), plugins).items():
        given = getattr(config, setting)
        if given not in allowed:
            raise ConfigError(
                f"{setting} = {shown(given)}: allowed are {', '.join(allowed)}. "
                f"{did_you_mean(str(given), allowed)}".rstrip(),
                hint=f"mmgan config {config.plugin} lists every setting.",
            )
