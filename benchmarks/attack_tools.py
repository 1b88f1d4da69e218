"""What the attacks on runs (kills, mutations, signals) share: processes, and what is true of a run's folder.

Whether a checkpoint is whole is found here by its manifest, and not by mmgan, which is what is tried.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: The exit codes of docs/cli.md for what is a person's, a file's or a machine's fault, and for success.
CODES = {0, 1, 2, 3, 4, 5, 6}
#: What no output may hold.
FORBIDDEN = ("Traceback", "internal bug")
#: File systems that are memory, and have no disk below them.
_MEMORY = {"tmpfs", "ramfs"}


def command(*words: object) -> list[str]:
    """Return the command line of an mmgan in a process of its own."""
    return [sys.executable, "-m", "mmgan", *map(str, words)]


def environment(cache: Path, **more: str) -> dict[str, str]:
    """Return an environment without settings, with a cache of its own, and this process's packages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MMGAN_")}
    own = {"MMGAN_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return kept | own | more


def cpu_seconds(process: int) -> float:
    """Return how long a process has computed."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def finish(process: subprocess.Popen[str], seconds: float) -> tuple[str, str]:
    """Return what a process printed, on stdout and on stderr; one that hangs is killed, with a note."""
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return out, f"{err}\nIt hung: no end within {seconds:g} seconds."


def run(words: list[str], cache: Path, cwd: Path, seconds: float = 600) -> tuple[int, str, str]:
    """Run a command to its end, and return its exit code and what it printed."""
    process = start(words, cache, cwd)
    out, err = finish(process, seconds)
    return process.returncode, out, err


def start(words: list[str], cache: Path, cwd: Path, **more: str) -> subprocess.Popen[str]:
    """Start a command with pipes, and without the signals that this process may ignore."""
    return subprocess.Popen(
        words,
        env=environment(cache, **more),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        preexec_fn=_default_signals,
    )


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of all that a folder holds with its names."""
    if path.is_dir():
        names = sorted(str(inner.relative_to(path)) for inner in path.rglob("*") if inner.is_file())
        text = "\n".join(f"{name} {digest(path / name)}" for name in names)
        return hashlib.sha256(text.encode()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checkpoints(folder: Path) -> dict[int, Path]:
    """Return the folders of a run's checkpoints by step, whole or not, the newest last."""
    found = {
        int(path.name.removeprefix("step-")): path
        for path in (folder / "checkpoints").glob("step-*")
        if path.name.removeprefix("step-").isdigit()
    }
    return dict(sorted(found.items()))


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint has all files of its manifest, as they were written."""
    try:
        manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
        files: Mapping[str, str] = manifest["files"]
        named = {f"{name}.safetensors" for name in manifest["weights"]} | {"state.json", "state.safetensors"}
        return named <= files.keys() and all(digest(checkpoint / name) == files[name] for name in files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def newest_whole(folder: Path) -> int | None:
    """Return the step of the newest whole checkpoint of a run, or None where there is none."""
    return max((step for step, path in checkpoints(folder).items() if is_whole(path)), default=None)


def leftovers(folder: Path) -> list[str]:
    """Return what an unfinished write left in a run's folder, by name."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "partial" in path.name)


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file's object, or an empty one where there is none that can be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all attacks have."""
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of all that is drawn; default 0")
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="where the runs are, on a real disk; default: a new folder here",
    )
    parser.add_argument("--keep", action="store_true", help="keep the runs' folders")


@contextmanager
def workplace(options: argparse.Namespace, name: str) -> Iterator[Path]:
    """Give a new folder on a real disk, and remove it unless it shall be kept."""
    parent = (options.work or Path()).resolve()
    parent.mkdir(parents=True, exist_ok=True)
    kind = file_system(parent)
    if kind in _MEMORY:
        sys.exit(f"{parent} is on {kind}, which is memory: give --work a folder on a disk.")
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
    try:
        yield folder
    finally:
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def file_system(path: Path) -> str:
    """Return the kind of file system that a path is on (``ext4``, ``tmpfs``), or ``?`` where none tells."""
    try:
        lines = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return "?"
    mounts = [line.split()[1:3] for line in lines]
    within = [(len(point), kind) for point, kind in mounts if path.is_relative_to(point)]
    return max(within, default=(0, "?"))[1]
