"""``mmgan run``: train a GAN into a new folder."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmgan.cli import folders, going_on
from mmgan.cli.options import (
    UserPath,
    batch_size_option,
    compile_option,
    config_option,
    data_option,
    json_option,
    new_device_option,
    plugin_option,
    precision_option,
    profile_option,
    set_option,
    tune_option,
)
from mmgan.cli.session import Session
from mmgan.cli.signals import raise_swallowed
from mmgan.cli.training import is_first, play, preparing, profilers
from mmgan.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from mmgan.config import Config
    from mmgan.plugins import Plugins


@click.command("run", context_settings={"allow_extra_args": True})
@plugin_option
@data_option
@click.option("--out", type=UserPath(), metavar="DIR", help="A new folder; by default runs/NAME-001.")
@click.option(
    "--resume", is_flag=True, help="Go on with the run in --out, if there is one: for jobs that start again."
)
@click.option("--steps", type=int, metavar="N", help="Length of the run.")
@batch_size_option
@click.option("--seed", type=int, metavar="S", help="Seed of all randomness.")
@new_device_option
@precision_option
@compile_option
@tune_option
@config_option
@set_option
@profile_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    /,
    plugin: str | None,
    out: Path | None,
    resume: bool,
    file: Path | None,
    settings: tuple[str, ...],
    profile: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train a GAN into a new folder.

    `mmgan config NAME` lists a plugin's settings with their defaults. They are overridden by the --config
    file, then by MMGAN_* environment variables (MMGAN_BATCH_SIZE=32), then by the options here.

    On stdout: the run's folder. Ctrl-C saves a checkpoint first; `mmgan resume` goes on from there.
    With --out and --resume one command begins a run, goes on with it, or finds it finished: for jobs that are
    stopped and started again. Settings that it gives are taken, others stay as the run has them.
    """
    session: Session = context.obj
    plugins = session.plugins
    if context.args:
        raise UsageError(
            f"mmgan run takes options only, not {context.args[0]!r}.",
            hint="What to train and on what: mmgan run --plugin NAME --data PATH",
        )
    config = settle(plugins, named(plugins, plugin, file, "run"), file, settings, flags)

    from mmgan.config import to_text
    from mmgan.opening import new_run

    raise_swallowed()
    if out is not None and to_text(str(out)) != str(out):
        raise UsageError(
            f"The name {str(out)!r} is not UTF-8, and the libraries that write a run's files take no other.",
            hint="Choose another --out.",
        )
    if not resume:
        going_on.refuse_restarts()
    elif out is None:
        raise UsageError(
            "mmgan run --resume needs --out: by default each run has a new folder.",
            hint="mmgan run … --out DIR --resume",
        )
    elif going_on.has_begun(out):
        context.exit(going_on.resumed(config, plugins, out, as_json, profile))
    # Of several processes rank 0's folder counts; new_run broadcasts it.
    numbered = out is None and is_first()
    place = (
        folders.numbered(Path("runs"), f"{config.plugin}-")
        if numbered
        else contextlib.nullcontext(out or Path())
    )
    with place as folder:
        with preparing() as progress:
            run = new_run(config, plugins, folder, progress)
        exit_code = play(run, folder, as_json, *profilers(profile))
    context.exit(exit_code)


def named(plugins: Plugins, plugin: str | None, file: Path | None, command: str) -> str:
    """Return the plugin that ``--plugin`` names, or, if that is not given, the config file.

    Raises:
        ConfigError: The file can't be read.
        UsageError: Neither names one.
    """
    from mmgan.config import read_file

    if plugin is None and file is not None:
        plugin = read_file(file).get("plugin")
    if not isinstance(plugin, str):
        raise UsageError(
            f'mmgan {command} needs --plugin NAME, or a --config FILE with plugin = "NAME": what to train.',
            hint=f"Installed: {', '.join(sorted(plugins.tasks)) or 'none'}. `mmgan plugins` says more.",
        )
    return plugin


def settle(
    plugins: Plugins, plugin: str, file: Path | None, settings: tuple[str, ...], flags: dict[str, Any]
) -> Config:
    """Resolve the settings of a run from all their sources.

    Raises:
        ConfigError: A setting is given twice, unknown, or not allowed.
        PluginError: There is no such plugin, or it is broken.
    """
    from mmgan.config import parse_assignments, resolve
    from mmgan.data.opening import absolute

    assigned = parse_assignments(settings)
    given = {name: value for name, value in flags.items() if value is not None}
    for name in assigned:
        if name in given or name == "plugin":
            option = "tune" if name == "convolutions" else name.replace("_", "-")
            raise ConfigError(f"{name} is given twice: --{option} and --set.", hint="Leave one of them out.")
    config = resolve(plugins.config_class(plugin), plugin, file=file, flags={**assigned, **given})
    return config.model_copy(update={"data": absolute(config.data, plugins)})
