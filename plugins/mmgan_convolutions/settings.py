"""The settings of the convolutions on a CPU."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """Which form a convolution takes on a CPU."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["auto", "tune", "library"] = Field(
        "auto",
        description="on a CPU: matrix products where a fixed rule says so, whatever is measured to be "
        "fastest, or the library's",
    )

    @model_validator(mode="before")
    @classmethod
    def _by_mode_alone(cls, values: Any) -> Any:
        """Take ``convolutions = "tune"`` too, as settings were kept before, and as ``--tune`` gives it."""
        return {"mode": values} if isinstance(values, str) else values
