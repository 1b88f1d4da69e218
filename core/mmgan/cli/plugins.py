"""``mmgan plugins``: what is installed, and what is broken."""

from __future__ import annotations

from typing import Any

import click

from mmgan.cli.options import json_option
from mmgan.cli.output import emit, emit_json, say, table
from mmgan.cli.session import Session


@click.command("plugins", short_help="List what is installed, and what is broken.")
@json_option
@click.pass_obj
def command(session: Session, as_json: bool) -> None:
    """List the plugins, with what each brings, and why a broken one can't be loaded."""
    plugins = session.plugins
    described: list[dict[str, Any]] = [
        {
            "name": plugin.name,
            "version": plugin.version,
            "package": plugin.package,
            "tasks": [name for name, entry in plugins.tasks.items() if entry.plugin == plugin.name],
            "hooks": plugin.hooks,
            "error": plugin.error or None,
        }
        for plugin in [*plugins.loaded, *plugins.broken]
    ]
    if as_json:
        emit_json({"plugins": described})
        return
    rows = [("NAME", "VERSION", "PACKAGE", "TASKS", "HOOKS")]
    for one in described:
        hooks = f"broken: {one['error']}" if one["error"] else ", ".join(one["hooks"])
        rows.append((one["name"], one["version"], one["package"], ", ".join(one["tasks"]) or "-", hooks))
    emit(table(rows))
    if plugins.tasks:
        name = min(plugins.tasks)
        say(f"\n`mmgan run --plugin {name}` trains a task; `mmgan config {name}` lists its settings.")
