"""``mmgan config``: a plugin's settings, as a file to edit."""

from __future__ import annotations

import click

from mmgan.cli import completion
from mmgan.cli.output import emit
from mmgan.cli.session import Session


@click.command("config", short_help="Print a plugin's settings, as a file to edit.")
@click.argument("plugin", shell_complete=completion.tasks)
@click.pass_obj
def command(session: Session, plugin: str) -> None:
    """Print the settings of PLUGIN with their defaults, as commented TOML, and those of other plugins.

    \b
    mmgan config dcgan > my.toml
    mmgan run --config my.toml
    """
    from mmgan.config import describe
    from mmgan.plugins.choices import choices

    config_class = session.plugins.config_class(plugin)
    emit(describe(config_class, plugin, choices(config_class, session.plugins)).rstrip("\n"))
