"""Arguments and options that several commands have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from mmgan.cli import completion


class UserPath(click.ParamType):  # type: ignore[type-arg]  # Generic in click 8.5 only.
    """A path in which ``~`` is expanded; a shell does not expand it in ``--out=~/runs``."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return ``value`` as a path, ``~`` expanded. Called by click."""
        if not value:
            self.fail("It is empty, and a path is needed.", param, ctx)
        # Not by Path.expanduser, which raises where a home folder is not known.
        return Path(os.path.expanduser(value))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Let the shell offer files and folders. Called by click."""
        return completion.files(ctx, param, incomplete)


folder_argument = click.argument("folder", metavar="DIR", type=UserPath(), shell_complete=completion.runs)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
device_option = click.option("--device", metavar="NAME", help="Where to compute; by default as the run did.")
checkpoint_option = click.option(
    "--checkpoint",
    default="last",
    show_default=True,
    metavar="last|best|STEP",
    help="Which checkpoint to load.",
)
moved_data_option = click.option(
    "--data",
    metavar="PATH",
    shell_complete=completion.files,
    help="Where the data is now, if it was moved; its content is checked.",
)
#: The option ``--set KEY=VALUE`` of a command that samples; gives ``settings`` for
#: :func:`mmgan.cli.settings.sampling_settings`.
sampling_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting that only sampling reads; may be repeated.",
)

# Settings of a new run. An option that is not given is None, so that the file, the environment or the
# plugin's default applies.
plugin_option = click.option(
    "--plugin",
    metavar="NAME",
    shell_complete=completion.tasks,
    help="What to train; see `mmgan plugins`. Required, unless --config names it.",
)
data_option = click.option(
    "--data",
    metavar="PATH|NAME",
    shell_complete=completion.files,
    help="A folder, a file, or a data set's name.",
)
batch_size_option = click.option("--batch-size", type=int, metavar="B", help="Examples in a batch.")
new_device_option = click.option(
    "--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps, or a plugin's."
)
precision_option = click.option("--precision", metavar="NAME", help="auto, fp32, bf16, fp16, or a plugin's.")
compile_option = click.option(
    "--compile", is_flag=True, default=None, help="Compile the networks with torch.compile."
)
tune_option = click.option(
    "--tune",
    "convolutions",
    flag_value="tune",
    default=None,
    help="On a CPU: measure in the first steps which form of each convolution is fastest.",
)
config_option = click.option(
    "--config", "file", type=UserPath(), metavar="FILE.toml", help="Settings from a TOML file."
)
set_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any setting; may be repeated."
)
profile_option = click.option(
    "--profile", is_flag=True, help="Record where some steps spend their time, in DIR/profile."
)
