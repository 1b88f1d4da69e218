"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class UserPath(click.ParamType[Path]):
    """A path in which ``~`` is the home folder; a shell leaves it as it is in ``--out=~/runs``."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Make a path of the text."""
        return Path(value).expanduser()


folder_argument = click.argument("folder", metavar="DIR", type=UserPath())
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
device_option = click.option("--device", metavar="NAME", help="Where to compute; by default as the run did.")
checkpoint_option = click.option(
    "--checkpoint",
    default="last",
    show_default=True,
    metavar="last|best|STEP",
    help="Which checkpoint to load.",
)
