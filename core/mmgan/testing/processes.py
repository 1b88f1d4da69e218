"""The rule for several processes: two of them, as ``torchrun`` starts them, end with equal weights."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mmgan import engine
from mmgan.config import check
from mmgan.counting import some
from mmgan.opening import new_run
from mmgan.plugins import Plugins
from mmgan.run import Run
from mmgan.storage.rank_state import digest
from mmgan.testing.bench import Bench, spans
from mmgan.testing.compare import differences
from mmgan.testing.rules import Skip, rule
from mmgan.testing.watch import parameters

#: Time limit of the processes, in seconds.
PATIENCE = 300
#: Steps of each stage.
STEPS = 2
#: The prefix of the line with a process's weights.
DIGESTS = "weights:"


@rule(
    "ranks",
    why="Processes that train one run each see a share of every batch, and must hold the same weights.",
    mend="Change weights by losses only, let networks grow by self.run.rebuild, and let no phase depend on "
    "the random numbers of one process.",
)
def ranks(bench: Bench) -> Iterator[str]:
    """Several processes play the beginning of each stage together, and have equal weights afterwards."""
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
    if any(codes):
        return
    said = [
        [json.loads(line.removeprefix(DIGESTS)) for line in each if line.startswith(DIGESTS)]
        for each in lines
    ]
    for at_stage in zip(*said, strict=True):
        own, *others = at_stage
        if wrong := sorted(
            {name for other in others for name in differences(own["weights"], other["weights"])}
        ):
            yield (
                f"After the first steps of stage {own['stage']!r} the {bench.ranks} processes have different "
                f"weights: {some(wrong)}."
            )
            return


def log(bench: Bench, rank: int) -> Path:
    """Return the file of a process's output."""
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
    """Play, and print a hash of each weight after the first steps of each stage."""
    plugins = Plugins()
    values = json.loads(settings)
    run = new_run(check(plugins.config_class(values["plugin"]), values), plugins)
    # In one call, since all ranks get the weights of rank 0 when they begin to play.
    with engine.playing(run):
        for span in spans(run):
            # Across the boundary: the last step of the previous stage comes first.
            run.step = max(span.start - 1, 0)
            engine.play(run, min(span.start + STEPS, span.end), heard=False)
            run.check_finite()
            print(DIGESTS, json.dumps({"stage": span.stage.name, "weights": digests(run)}))


def digests(run: Run) -> dict[str, str]:
    """Return a hash of each weight and average. (Batch statistics are each process's own.)"""
    averages = {
        f"{name}.average.{key}": parameter
        for name, player in run.players.items()
        if player.average is not None
        for key, parameter in player.average.named_parameters()
    }
    return {key: digest([parameter]) for key, parameter in {**parameters(run), **averages}.items()}


if __name__ == "__main__":
    main(sys.argv[1])
