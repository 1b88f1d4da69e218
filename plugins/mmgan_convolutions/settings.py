"""The settings of the convolutions on a CPU."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """The forms of convolutions on a CPU."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["auto", "tune", "library"] = Field(
        "auto",
        description="forms of convolutions on a CPU: by a fixed rule, by measuring in the first steps, "
        "or the library's own",
    )

    @model_validator(mode="before")
    @classmethod
    def _by_mode_alone(cls, values: Any) -> Any:
        """Accept ``convolutions = "tune"`` too: the earlier form of the setting, and that of ``--tune``."""
        return {"mode": values} if isinstance(values, str) else values
