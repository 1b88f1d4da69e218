"""torchrun as a person or a job starts it: one agent or several, all on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def common(cache: Path) -> dict[str, str]:
    """Return the environment of processes that find these tests, and have a cache and one thread each."""
    tests = str(Path(__file__).resolve().parent)
    path = os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))
    own = {"MMGAN_CACHE_DIR": str(cache), "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1"}
    return own | {"OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def torchrun(
    *words: object, processes: int = 2, nodes: int = 1, port: int = 0, restarts: int = 0
) -> list[str]:
    """Return the command ``torchrun … -m mmgan WORDS`` of one agent.

    Args:
        words: mmgan's.
        processes: How many this agent starts.
        nodes: How many agents there are.
        port: Where they meet; 0: at one that is free.
        restarts: How often it starts its processes anew.
    """
    options = ["--nnodes", nodes, "--nproc-per-node", processes, "--max-restarts", restarts]
    options += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}", "--rdzv-id", port]
    return [sys.executable, "-m", "torch.distributed.run", *map(str, (*options, "-m", "mmgan", *words))]


def children(pid: int) -> set[int]:
    """Return the processes that a process has started and that still run."""
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def until(condition: Callable[[], bool], *processes: subprocess.Popen[str]) -> None:
    """Wait for something while processes run."""
    end = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < end
        assert all(process.poll() is None for process in processes), [p.communicate() for p in processes]
        time.sleep(0.05)
