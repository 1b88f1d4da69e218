"""``mmgan plugins``: what is installed, what is broken, and whether a plugin keeps the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mmgan.cli import completion
from mmgan.cli.options import json_option
from mmgan.cli.output import emit, emit_json, reserved, say, table
from mmgan.cli.session import Session
from mmgan.errors import PluginError, UsageError

if TYPE_CHECKING:
    from mmgan.plugins import Plugins
    from mmgan.testing import Result, Rule


@click.group("plugins", invoke_without_command=True, short_help="List what is installed, and what is broken.")
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the plugins, with what each brings, and why a broken one can't be loaded.

    \b
    mmgan plugins               lists them
    mmgan plugins check NAME    checks whether a plugin keeps the rules
    """
    if context.invoked_subcommand is not None:
        return
    session: Session = context.obj
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


@command.command("check", short_help="Check whether a plugin keeps the rules.")
@click.argument("name", shell_complete=completion.tasks_and_plugins)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the task; may be repeated."
)
@click.option(
    "--unused",
    multiple=True,
    metavar="PATTERN",
    help="Parameters that rightly never get a gradient, such as 'G.head.*'; may be repeated.",
)
@click.option(
    "--prompt", default="", metavar="TEXT", help="What samples can begin with, where a task takes it."
)
@click.option("--label", default="", metavar="NAME", help="A class to sample, where a task takes it.")
@click.option(
    "--ranks",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    metavar="N",
    help="Also train the task in N processes together; 1: don't.",
)
@json_option
@click.pass_context
def check(
    context: click.Context,
    name: str,
    settings: tuple[str, ...],
    unused: tuple[str, ...],
    prompt: str,
    label: str,
    ranks: int,
    as_json: bool,
) -> None:
    """Check whether the task NAME keeps the rules of training, saving, resuming and sampling.

    A few steps of each of its stages, and across their boundaries, are played on the CPU on its default data,
    by one process and by two. Small networks make it quick: --set width=4.

    If NAME is a plugin, everything but its tasks is checked. Its listeners are attached to a small
    game that is saved, resumed and fails; its data sets, metrics, devices and precisions are used.

    On stdout: a table of the rules. The exit code is 3 if one is broken.
    """
    from mmgan.config import parse_assignments
    from mmgan.testing import PLUGIN_RULES, RULES, report, report_plugin
    from mmgan.testing.check import brings
    from mmgan.testing.rules import blocks

    assert context.parent is not None
    as_json = as_json or context.parent.params["as_json"]
    plugins = context.obj.plugins
    others = brings(name, plugins)
    is_task = name in plugins.tasks or not others
    if is_task:
        _check_has_tasks_of_its_name(name, plugins)
    elif settings or unused or prompt or label:
        raise UsageError(
            f"{name!r} is a plugin without a task of that name: --set, --unused, --prompt and "
            "--label are for tasks."
        )
    rules = [*(RULES if is_task else ()), *(PLUGIN_RULES if others else ())]

    def tell(rule: Rule) -> None:
        say(f"{rules.index(rule) + 1}/{len(rules)} {rule.name}")

    results: list[Result] = []
    # Output of the task goes to stderr.
    with reserved():
        if is_task:
            given = parse_assignments(settings)
            results += report(
                name,
                given,
                plugins=plugins,
                unused=unused,
                prompt=prompt,
                label=label,
                ranks=ranks,
                progress=tell,
            )
        if others:
            results += report_plugin(name, plugins=plugins, progress=tell)
    failures = [failure for result in results for failure in result.failures]
    if as_json:
        document = [
            {
                "rule": rule.name,
                "outcome": result.outcome,
                "what": [failure.what for failure in result.failures] or None,
                "skipped": result.skipped or None,
                "why": rule.why,
                "mend": rule.mend,
            }
            for rule, result in zip(rules, results, strict=True)
        ]
        emit_json({"plugin": name, "passed": not failures, "rules": document})
    else:
        rows = [(result.rule, result.outcome, result.what) for result in results]
        emit(table([("RULE", "OUTCOME", "WHAT"), *rows]))
        for block in blocks(failures):
            say(f"\n{block}")
    context.exit(PluginError.exit_code if failures else 0)


def _check_has_tasks_of_its_name(name: str, plugins: Plugins) -> None:
    """Refuse a plugin that has tasks only, and name them: each is checked by its own name.

    Raises:
        UsageError: The name is a plugin's, and the plugin has nothing else to check.
    """
    tasks = [task for task, entry in plugins.tasks.items() if entry.plugin == name]
    if tasks and name not in tasks:
        raise UsageError(
            f"The plugin {name!r} has the tasks {', '.join(tasks)}, and each is checked by its own name.",
            hint=f"mmgan plugins check {tasks[0]}",
        )
