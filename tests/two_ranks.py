"""Two processes that run one mmgan command together, as ``torchrun`` starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any


def two_ranks(folder: Path, *words: str | Path) -> list[tuple[int, str]]:
    """Run ``mmgan WORDS`` on two ranks, with the plugins in ``folder/plugins``.

    Returns:
        How each ended: its exit code, and what it said on stderr.
    """
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    processes = []
    for rank in range(2):
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MMGAN_RANK_TIMEOUT": "60"}
        master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        environment = {**os.environ, **ranks, **master, "MMGAN_CACHE_DIR": str(folder / "cache")}
        pipes: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-m", "mmgan", "--plugins-dir", folder / "plugins", *words]
        processes.append(subprocess.Popen(command, env=environment, **pipes))
    ends = []
    for process in processes:
        err = process.communicate(timeout=120)[1]
        ends.append((process.returncode, err))
    return ends
