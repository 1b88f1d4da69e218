"""``mmgan bench``: how fast a task trains here, and where the time goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mmgan.cli.memory import keep_freed_memory
from mmgan.cli.options import (
    batch_size_option,
    compile_option,
    config_option,
    data_option,
    json_option,
    new_device_option,
    plugin_option,
    precision_option,
    set_option,
    tune_option,
)
from mmgan.cli.output import emit, emit_json, say, table
from mmgan.cli.run import named, settle
from mmgan.cli.session import Session
from mmgan.cli.training import preparing


@click.command("bench", short_help="Measure how fast a plugin trains here, and where the time goes.")
@plugin_option
@data_option
@batch_size_option
@new_device_option
@precision_option
@compile_option
@tune_option
@config_option
@set_option
@click.option("--stage", default="", metavar="NAME", help="Which stage to measure; by default the last.")
@click.option(
    "--warmup",
    type=click.IntRange(0, 10**6),
    default=3,
    show_default=True,
    metavar="N",
    help="Warm-up steps, which are not counted.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 10**6),
    default=7,
    show_default=True,
    metavar="N",
    help="Rounds to measure; each takes a second, or a step where that takes longer.",
)
@json_option
@click.pass_obj
def command(
    session: Session,
    /,
    plugin: str | None,
    file: Path | None,
    settings: tuple[str, ...],
    stage: str,
    warmup: int,
    rounds: int,
    as_json: bool,
    **flags: Any,
) -> None:
    """Measure how fast a plugin trains here, and where the time goes.

    Settings come from where `mmgan run` takes them. Nothing is kept: no folder, no samples, no checkpoints.
    Run it on a machine that does nothing else.

    On stdout: a table of figures.
    """
    plugins = session.plugins
    config = settle(plugins, named(plugins, plugin, file, "bench"), file, settings, flags)

    from mmgan.bench import measure
    from mmgan.opening import new_run

    with preparing() as progress:
        run = new_run(config, plugins, None, progress)
    if run.device.type == "cpu":
        keep_freed_memory()
    result = measure(run, stage=stage, warmup=warmup, rounds=rounds, tell=say)
    if as_json:
        emit_json(result)
    else:
        emit(describe(result))


def describe(result: dict[str, Any]) -> str:
    """Write what was measured as a table for people."""
    where, split = result["environment"], result["split"]
    rows = [
        (result["plugin"], f"stage {result['stage']}", _set_up(where)),
        ("machine", where["device"], _machine(where)),
        ("step", duration(result["seconds_per_step"]["median"]), _spread(result)),
        *(_kinds(result["kinds"]) if len(result["kinds"]) > 1 else ()),
        ("steps/s", f"{result['steps_per_s']:.4g}", ""),
        ("samples/s", f"{result['samples_per_s']:.4g}", ""),
        ("memory", *_memory(result["memory"])),
        ("operations", *_operations(result["operations"])),
        ("split", duration(split["seconds_per_step"]), "a step, measured part by part"),
    ]
    for part in split["parts"]:
        name = " ".join(filter(None, (part["phase"], part["part"])))
        rows.append((f"  {name}", duration(part["seconds"]), f"{part['share']:.1%}"))
    return table(rows)


def duration(seconds: float) -> str:
    """Write a time with a unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds * 1e6:.4g} us"


def _set_up(where: dict[str, Any]) -> str:
    plugin = where["plugin"]
    formats = sorted(set(where["memory_format"].values()))
    parts = [f"batch {where['batch_size']}", where["precision"], " and ".join(formats)]
    parts += ["compiled"] if where["compile"] else []
    versions = f"{plugin['name']} {plugin['version'] or ''}".rstrip()
    return f"{', '.join(parts)}; {versions}, mmgan {where['mmgan']}, torch {where['torch']}"


def _machine(where: dict[str, Any]) -> str:
    threads = f"{where['threads']} thread{'s' if where['threads'] > 1 else ''}"
    parts = [where["gpu"], where["cpu"], threads, " ".join(where["cpu_features"])]
    return ", ".join(part for part in parts if part)


def _spread(result: dict[str, Any]) -> str:
    names = ("lower_quartile", "upper_quartile", "min", "max")
    lower, upper, least, most = (duration(result["seconds_per_step"][name]) for name in names)
    count = len(result["rounds"])
    return f"median of {count}; quartiles {lower} and {upper}; all from {least} to {most}"


def _kinds(kinds: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [
        (
            f"  {', '.join(kind['phases']) or 'no phase'}",
            duration(kind["seconds_per_step"]),
            f"{kind['share']:.3%} of the steps",
        )
        for kind in kinds
    ]


def _memory(memory: dict[str, Any]) -> tuple[str, str]:
    if memory["gpu_peak_bytes"] is not None:
        return f"{memory['gpu_peak_bytes'] / 2**20:,.0f} MiB", "of the GPU at most"
    if memory["process_peak_bytes"] is None:
        return "unknown", "the system does not report it"
    growth = f"{memory['process_peak_growth_bytes'] / 2**20:,.0f} MiB of it since the first step"
    return f"{memory['process_peak_bytes'] / 2**20:,.0f} MiB", f"of the whole process at most, {growth}"


def _operations(operations: dict[str, Any]) -> tuple[str, str]:
    ceiling = operations["ceiling"]
    return (
        f"{operations['flops_per_step'] / 1e9:.4g} GFLOP",
        f"a step; {operations['flops_per_s'] / 1e9:.4g} GFLOP/s are {operations['fraction']:.1%} of the "
        f"{ceiling['flops_per_s'] / 1e9:.4g} of a product of {ceiling['size']}² {ceiling['dtype']}",
    )
