"""The rule for settings."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from mmgan.config import check, resolve, to_toml
from mmgan.counting import some
from mmgan.testing.bench import Bench
from mmgan.testing.rules import rule


@rule(
    "config",
    why="A run stores its settings as TOML, for resuming; `mmgan config` shows their descriptions.",
    mend="Use types that TOML has, and Field(default, description='…').",
)
def config(bench: Bench) -> Iterator[str]:
    """Settings come back from TOML as they were, and each has a description."""
    made = type(bench.config)
    for settings, what in (
        (resolve(made, bench.name, environment={}), "The defaults"),
        (bench.config, "The settings"),
    ):
        again = check(made, tomllib.loads(to_toml(settings)))
        changed = [name for name in made.model_fields if getattr(settings, name) != getattr(again, name)]
        if changed:
            yield f"{what} come back from TOML with a different {some(changed)}."
    bare = [name for name, field in made.model_fields.items() if not field.description]
    if bare:
        yield f"Without a description: {some(bare)}."
