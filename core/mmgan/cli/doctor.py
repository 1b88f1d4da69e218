"""``mmgan doctor``: versions and devices of this machine, and problems that would prevent a run."""

from __future__ import annotations

import importlib
import os
import platform
import re
import tempfile
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmgan import __version__
from mmgan.cli.options import json_option
from mmgan.cli.output import emit, emit_json, table
from mmgan.cli.session import Session
from mmgan.errors import MmganError, UsageError, line
from mmgan.extras import built_for_torch, has

if TYPE_CHECKING:
    from mmgan.plugins import Plugins


@click.command("doctor", short_help="Show what this machine offers, and what would stop a run.")
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Show versions, devices and folders, and what would stop a run here.

    The exit code is 1 if something would, else 0.
    """
    session: Session = context.obj
    problems = [f"plugin {plugin.name!r} is broken: {plugin.error}" for plugin in session.plugins.broken]
    if not session.plugins.tasks:
        problems.append("no plugin brings a task to train.")
    findings: dict[str, Any] = {"versions": versions(problems)}
    if imported(problems):
        findings |= computing(session.plugins, problems)
    findings |= {"memory": memory(), "cache": cache(), "problems": problems}
    if as_json:
        emit_json(findings)
    else:
        emit(describe(findings))
    context.exit(MmganError.exit_code if problems else 0)


def versions(problems: list[str]) -> dict[str, str | None]:
    """Return the versions of mmgan, Python, and every package that mmgan requires or an extra brings."""
    found: dict[str, str | None] = {"mmgan": __version__, "python": platform.python_version()}
    for requirement in metadata.requires("mmgan") or []:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"](\w+)", requirement)
        if (extra and extra[1] == "dev") or name == "mmgan":
            continue
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
            if not extra:
                problems.append(f"the package {name!r} is not installed.")
    return found


def imported(problems: list[str]) -> bool:
    """Import torch, and what must fit it, as far as that is there; return whether torch is usable."""
    try:
        importlib.import_module("torch")
    except Exception as error:
        problems.append(f"torch can't be imported: {line(error)}")
        return False
    from mmgan.data.audio.library import torchaudio

    for name, load in (
        ("torchaudio", torchaudio),
        ("torchvision", partial(importlib.import_module, "torchvision")),
    ):
        try:
            if has(name):
                built_for_torch(name, load)
        except UsageError as error:
            problems.append(f"{error.message} {error.hint}")
    return True


def computing(plugins: Plugins, problems: list[str]) -> dict[str, Any]:
    """Return the devices here, those that ``auto`` would choose, and what was measured on this machine."""
    import torch

    from mmgan.backend import trials
    from mmgan.backend.processor import native_bf16
    from mmgan.backend.remembered import all_remembered
    from mmgan.config import Config

    found: dict[str, Any] = {
        "devices": [
            "cpu",
            *(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())),
            *(["mps"] if torch.backends.mps.is_available() else []),
            *(f"{name} (plugin {entry.plugin})" for name, entry in plugins.devices.items()),
        ],
        "device": None,
        "precision": None,
        "threads": torch.get_num_threads(),
        "bf16": native_bf16(Path("/proc/cpuinfo")) or None,
    }
    config = Config.model_validate({"plugin": "doctor"})
    try:
        device = plugins.hook.select_device(config=config)
        found["device"] = {"name": str(device.torch), "reason": device.reason}
        layer = trials.typical().to(device.torch)
        precision = plugins.hook.make_precision(device=device, config=config, networks=(layer,))
        found["precision"] = {"name": precision.name, "reason": precision.reason}
        if device.type == "cpu":
            trials.memory_formats(layer, config.batch_size, precision.dtype)
    # These hooks may be third-party, and a run would fail with the same exception.
    except Exception as error:
        problems.append(f"no device and precision can be chosen: {error}")
    return found | {"measured": all_remembered()}


def memory() -> int | None:
    """Return the machine's memory in bytes, or None where the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def cache() -> dict[str, Any]:
    """Return the folder of decoded data, and whether it is writable."""
    from mmgan.data.cache import cache_folder

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return {"folder": str(folder), "writable": False}
    return {"folder": str(folder), "writable": True}


def describe(findings: dict[str, Any]) -> str:
    """Write the findings as lines for people."""
    rows = [(str(name), version or "not installed") for name, version in findings["versions"].items()]
    if "devices" in findings:
        rows.append(("devices", ", ".join(findings["devices"])))
        for what in ("device", "precision"):
            choice = findings[what]
            rows.append((f"{what} auto", f"{choice['name']} ({choice['reason']})" if choice else "none"))
        rows.append(("threads", str(findings["threads"])))
        rows.append(("bf16", findings["bf16"] or "no instructions for it in this processor"))
        for what, times in findings["measured"].items():
            figures = ", ".join(f"{way} {1e3 * seconds:.3g} ms" for way, seconds in times.items())
            rows.append(("measured", f"{figures}: {what}"))
    if findings["memory"]:
        rows.append(("memory", f"{findings['memory'] / 2**30:.1f} GiB"))
    note = "" if findings["cache"]["writable"] else " (can't be written; a temporary folder is used instead)"
    rows.append(("cache", findings["cache"]["folder"] + note))
    rows += [("problem", problem) for problem in findings["problems"]]
    return table(rows)
