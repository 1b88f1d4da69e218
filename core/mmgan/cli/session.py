"""State shared by the commands of one call: the plugins, and whether tracebacks are shown."""

from __future__ import annotations

import os
from pathlib import Path

import click

from mmgan.cli.output import reserved, say
from mmgan.errors import MmganError, PluginError
from mmgan.plugins import Plugin, Plugins


class Session:
    """One call of the command line."""

    def __init__(self) -> None:
        #: A folder of plugins that are single files.
        self.folder: Path | None = None
        self.verbose = os.environ.get("MMGAN_DEBUG") == "1"
        self._plugins: Plugins | MmganError = PluginError("The plugins are not loaded yet.")

    def load(self) -> None:
        """Load the plugins."""
        try:
            with reserved():
                self._plugins = Plugins(folder=self.folder)
        except MmganError as error:
            # Kept for the command that needs plugins, so that --help and --version always answer.
            self._plugins = error

    @property
    def plugins(self) -> Plugins:
        """The installed plugins.

        Raises:
            PluginError: They could not be loaded at all; a single broken one does not raise.
            UsageError: The folder of plugins is not a folder.
        """
        if isinstance(self._plugins, MmganError):
            raise self._plugins
        return self._plugins

    def add_commands(self, group: click.Group) -> None:
        """Add every plugin's commands to ``group``; a plugin that fails or takes a name in use adds none."""
        for plugin in [] if isinstance(self._plugins, MmganError) else self._plugins.loaded:
            if "register_commands" not in plugin.hooks:
                continue
            before = dict(group.commands)
            try:
                with reserved():
                    self._call(plugin, group)
                for name, command in before.items():
                    if group.commands.get(name) is not command:
                        raise PluginError(f"the name {name!r} is taken.")
            # A third-party function may raise anything; it must not stop the command line.
            except (Exception, SystemExit) as error:
                group.commands = before
                reason = str(error) or type(error).__name__
                say(f"warning: plugin {plugin.name!r} could not add its commands: {reason}")

    def _call(self, plugin: Plugin, group: click.Group) -> None:
        manager = self.plugins.manager
        others = [other for other in manager.get_plugins() if other is not plugin.module]
        manager.subset_hook_caller("register_commands", others)(cli=group)
