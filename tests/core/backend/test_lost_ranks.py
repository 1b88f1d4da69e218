"""One of two ranks is killed, stopped, or fails: the other ends clearly, soon after MMGAN_RANK_TIMEOUT.

To import torch takes seconds. So one process does it, and forks the ranks of all tests: ``serve``, below.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

#: Seconds that ranks wait for each other.
TIMEOUT = 5
#: Seconds after which a test no longer waits, on a machine with much else to do.
PATIENCE = 120

PLUGIN = """
import os
import time
from pathlib import Path

from mmgan import MmganError, hookimpl
from toys import Dots, Toy, ToyConfig

RANK = os.environ["RANK"]


def mark(name):
    Path(os.environ["MARKS"], f"{name}-{RANK}").touch()


class Game(Toy):
    def data(self):
        mark("data")
        time.sleep(float(os.environ.get(f"SLOW_DATA_{RANK}", 0)))
        return Dots()

    def loss(self, phase, batch, shared):
        if self.run.step == 3:
            mark("train")
            if os.environ.get("FAILS") == RANK:
                raise MmganError("The cat has eaten the batch.")
        return super().loss(phase, batch, shared)


@hookimpl
def register_tasks(register):
    register("game", Game)
"""


def serve(folder: Path) -> None:
    """Fork ranks and tell how they end: ``start NAME=VALUE …`` answers with a pid, ``poll PID`` with its end.

    A rank ends as a process of its own does, with all that it does at exit.
    """
    import torch

    import mmgan.backend.distributed
    import mmgan.cli
    import mmgan.run

    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        verb, *words = line.split()
        if verb == "poll":
            pid, status = os.waitpid(int(words[0]), os.WNOHANG)
            print(os.waitstatus_to_exitcode(status) if pid else "alive", flush=True)
            continue
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        os.environ.update(word.split("=", 1) for word in words)
        log = os.open(os.environ["MARKS"] + f"/log-{os.environ['RANK']}", os.O_CREAT | os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        try:
            sys.exit(mmgan.cli.main(["--plugins-dir", str(folder), *os.environ["WORDS"].split(",")]))
        except Exception:
            traceback.print_exc()
            sys.exit(70)


class Server:
    """A process that forks ranks."""

    def __init__(self, folder: Path, *before: str, **environment: str) -> None:
        self.folder = folder
        self.pids: list[int] = []
        tests = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")]))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MMGAN_")}
        own = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MMGAN_CACHE_DIR": str(folder / "cache")}
        self.process = subprocess.Popen(
            [*before, sys.executable, __file__, str(folder)],
            env=kept | own | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        for pid in self.pids:
            if self.ask(f"poll {pid}") == "alive":
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.communicate()


class Pair:
    """Two ranks of a run.

    Args:
        server: Who forks them.
        folder: For what they write.
        ranks: Which of the two are started.
        environment: More of it; ``SETTINGS`` are settings with commas between.
    """

    def __init__(
        self, server: Server, folder: Path, ranks: tuple[int, ...] = (0, 1), **environment: str
    ) -> None:
        self.server, self.folder = server, folder
        settings = environment.pop("SETTINGS", "steps=1000000")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = ["run", "--plugin", "game", "--out", str(folder / "run"), "--device", "cpu"]
        # To sample needs libraries whose import may take longer than ranks wait here.
        words += ["--set", "sample_every=0"]
        words += [word for setting in settings.split(",") for word in ("--set", setting)]
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        shared |= {"MMGAN_RANK_TIMEOUT": str(TIMEOUT), "MARKS": str(folder), "WORDS": ",".join(words)}
        self.pids: dict[int, int] = {}
        for rank in ranks:
            own: Mapping[str, str] = {"RANK": str(rank), "LOCAL_RANK": str(rank)} | shared | environment
            line = " ".join(f"{name}={value}" for name, value in own.items())
            self.pids[rank] = int(server.ask(f"start {line}"))
            server.pids.append(self.pids[rank])

    def reach(self, mark: str, *ranks: int) -> None:
        """Wait until ranks have come to something."""
        until(lambda: all((self.folder / f"{mark}-{rank}").exists() for rank in ranks), self.log)

    def send(self, number: int, rank: int) -> None:
        os.kill(self.pids[rank], number)

    def ends(self, rank: int) -> int:
        """Wait for a rank to end, and return its exit code, or a signal's number below 0."""
        codes: list[str] = []

        def over() -> bool:
            codes.append(self.server.ask(f"poll {self.pids[rank]}"))
            return codes[-1] != "alive"

        until(over, self.log)
        self.server.pids.remove(self.pids[rank])
        return int(codes[-1])

    def said(self, rank: int) -> str:
        return (self.folder / f"log-{rank}").read_text(errors="replace")

    def log(self) -> str:
        return "\n".join(self.said(rank) for rank in self.pids)


def until(condition: Callable[[], bool], log: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, log()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "lost_ranks_game.py").write_text(PLUGIN)
    server = Server(folder)
    yield server
    server.close()


def assert_lost(pair: Pair, rank: int) -> None:
    assert pair.ends(rank) == 1, pair.said(rank)
    assert f"error: Rank {rank} of 2 lost the others" in pair.said(rank)
    assert "Traceback" not in pair.said(rank)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_rank_is_lost_in_training(server: Server, tmp_path: Path, lost: int, number: int) -> None:
    pair = Pair(server, tmp_path)
    pair.reach("train", 0, 1)
    pair.send(number, lost)
    assert_lost(pair, 1 - lost)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_rank_is_killed_whose_workers_live_on(server: Server, tmp_path: Path, lost: int) -> None:
    pair = Pair(server, tmp_path, SETTINGS="steps=1000000,workers=2")
    pair.reach("train", 0, 1)
    pair.send(signal.SIGKILL, lost)
    assert_lost(pair, 1 - lost)


# Each is lost while it opens the data, which here takes longer than any wait: the second one after the first.
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_rank_is_lost_while_it_opens_data(server: Server, tmp_path: Path, lost: int, number: int) -> None:
    pair = Pair(server, tmp_path, **{f"SLOW_DATA_{lost}": "1000"})
    pair.reach("data", lost)
    time.sleep(1)
    pair.send(number, lost)
    assert_lost(pair, 1 - lost)
    if (lost, number) == (1, signal.SIGSTOP):
        assert "rank 1 shows no sign of life" in pair.said(0)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("slow", [0, 1])
def test_data_may_take_longer_than_ranks_wait(server: Server, tmp_path: Path, slow: int) -> None:
    pair = Pair(server, tmp_path, SETTINGS="steps=3", **{f"SLOW_DATA_{slow}": str(2.5 * TIMEOUT)})
    assert [pair.ends(rank) for rank in (0, 1)] == [0, 0], pair.log()


@pytest.mark.process
@pytest.mark.slow
def test_a_rank_that_fails_ends_the_other(server: Server, tmp_path: Path) -> None:
    pair = Pair(server, tmp_path, FAILS="1")
    assert_lost(pair, 0)
    assert pair.ends(1) == 1
    assert "error: The cat has eaten the batch." in pair.said(1)


@pytest.mark.process
@pytest.mark.slow
def test_a_rank_that_never_comes(server: Server, tmp_path: Path) -> None:
    for rank in (0, 1):
        (tmp_path / str(rank)).mkdir()
        assert_lost(Pair(server, tmp_path / str(rank), ranks=(rank,)), rank)
        assert not (tmp_path / str(rank) / "run").exists()


@pytest.mark.process
@pytest.mark.slow
def test_a_rank_that_was_stopped_for_a_moment_goes_on(server: Server, tmp_path: Path) -> None:
    pair = Pair(server, tmp_path, SETTINGS="steps=200")
    pair.reach("train", 0, 1)
    pair.send(signal.SIGSTOP, 1)
    time.sleep(TIMEOUT / 2)
    pair.send(signal.SIGCONT, 1)
    assert [pair.ends(rank) for rank in (0, 1)] == [0, 0], pair.log()


@pytest.mark.process
@pytest.mark.slow
def test_the_second_signal_ends_a_rank_that_waits(server: Server, tmp_path: Path) -> None:
    pair = Pair(server, tmp_path, MMGAN_RANK_TIMEOUT="1000")
    pair.reach("train", 0, 1)
    pair.send(signal.SIGSTOP, 1)
    time.sleep(1)
    pair.send(signal.SIGTERM, 0)
    until(lambda: "again to leave at once" in pair.said(0), pair.log)
    pair.send(signal.SIGTERM, 0)
    assert pair.ends(0) == 143


@pytest.mark.process
@pytest.mark.slow
def test_a_slow_network_is_no_lost_rank(tmp_path: Path) -> None:
    """In a network of its own, of 50 KB/s, a step takes longer, and all steps longer than ranks wait."""
    slow = "ip link set lo up mtu 1500 && tc qdisc add dev lo root tbf rate 400kbit burst 4kb latency 10s"
    namespace = ("unshare", "--net", "sh", "-c", f'{slow} && exec "$@"', "sh")
    if not all(map(shutil.which, ("unshare", "ip", "tc"))):
        pytest.skip("needs unshare, ip and tc")
    if subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("may not make a network of its own, or the kernel can't slow it")
    (tmp_path / "game.py").write_text(PLUGIN)
    server = Server(tmp_path, *namespace, GLOO_SOCKET_IFNAME="lo")
    with contextlib.closing(server):
        start = time.monotonic()
        pair = Pair(server, tmp_path, SETTINGS="steps=60,log_every=20")
        assert [pair.ends(rank) for rank in (0, 1)] == [0, 0], pair.log()
        assert time.monotonic() - start > TIMEOUT


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
