"""The rule of several processes: two of them, as ``torchrun`` would start them, end with equal weights."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mmgan.config import check
from mmgan.opening import new_run
from mmgan.plugins import Plugins
from mmgan.testing.bench import Bench, play, starts
from mmgan.testing.rules import Skip, rule
from mmgan.testing.watch import parameters

#: Seconds that the processes may take.
PATIENCE = 300
#: How the line begins in which a process says what its weights are.
DIGEST = "weights:"


@rule(
    "ranks",
    why="Processes that train one run each see a share of every batch, and must hold the same weights.",
    mend="Change weights by losses only, and let no phase depend on what one process alone has drawn.",
)
def ranks(bench: Bench) -> Iterator[str]:
    """Several processes play the first steps of each stage together, and end with equal weights."""
    if bench.ranks < 2:
        raise Skip("ranks=2 was not asked for")
    installed = Plugins(folder=bench.plugins.folder).tasks.get(bench.name)
    if installed is None or installed.plugin != bench.plugins.tasks[bench.name].plugin:
        raise Skip("other processes find installed tasks only")
    _ = bench.run
    settings = json.dumps(bench.config.model_dump(mode="json", exclude_none=True))
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    processes = [start(bench, rank, port, settings) for rank in range(bench.ranks)]
    try:
        codes = [process.wait(PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    lines = [log(bench, rank).read_text(errors="replace").splitlines() for rank in range(bench.ranks)]
    for rank, code in enumerate(codes):
        if code:
            yield f"Process {rank} ended with exit code {code}: {lines[rank][-1] if lines[rank] else ''}"
    digests = {line for each in lines for line in each if line.startswith(DIGEST)}
    if not any(codes) and len(digests) > 1:
        yield f"After the same steps the {bench.ranks} processes have different weights."


def log(bench: Bench, rank: int) -> Path:
    """Return the file of all that a process prints."""
    return bench.folder / f"rank-{rank}.log"


def start(bench: Bench, rank: int, port: int, settings: str) -> subprocess.Popen[bytes]:
    """Start one of the processes."""
    environment = {
        "MMGAN_RANK_TIMEOUT": "60",
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(bench.ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    if bench.plugins.folder is not None:
        environment["MMGAN_PLUGINS_DIR"] = str(bench.plugins.folder)
    command = [sys.executable, "-m", __name__, settings]
    with log(bench, rank).open("wb") as file:
        return subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)


def main(settings: str) -> None:
    """Play, and print a hash of the trained weights. (Batch statistics are each process's own.)"""
    plugins = Plugins()
    values = json.loads(settings)
    run = new_run(check(plugins.config_class(values["plugin"]), values), plugins)
    for first in starts(run):
        play(run, 2, first)
    digest = hashlib.sha256()
    for key, parameter in parameters(run).items():
        digest.update(key.encode() + parameter.detach().cpu().contiguous().numpy().tobytes())
    print(DIGEST, digest.hexdigest())


if __name__ == "__main__":
    main(sys.argv[1])
