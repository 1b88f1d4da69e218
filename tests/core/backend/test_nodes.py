"""Two agents of torchrun, as on two machines, and agents that start a run's processes again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agents import children, common, free_port, torchrun, until

pytestmark = [pytest.mark.process, pytest.mark.slow]

STEPS = 600
GAME = ("run", "--plugin", "gan", "--data", "ring", "--batch-size", 8, "--steps", STEPS)
GAME += ("--set", "width=8", "--set", "tensorboard=false", "--set", "sample_every=0", "--device", "cpu")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MMGAN_")}
    return kept | common(tmp_path_factory.getbasetemp() / "cache") | {"MMGAN_RANK_TIMEOUT": "60"}


@contextlib.contextmanager
def started(environment: dict[str, str], *commands: list[str]) -> Iterator[list[subprocess.Popen[str]]]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(words, env=environment, **pipes) for words in commands]  # type: ignore[call-overload]
    try:
        yield processes
    finally:
        for process in processes:
            # Its children end when their agent does, of which a signal that can be handled tells it.
            process.terminate()
            process.communicate(timeout=60)


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    found = [(process.communicate(timeout=200), process) for process in processes]
    return [(process.returncode, out, err) for (out, err), process in found]


def result(folder: Path) -> dict[str, bytes]:
    """Return every file of the last checkpoint."""
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    return {file.name: file.read_bytes() for file in (folder / f"checkpoints/step-{STEPS:06d}").iterdir()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    with started(environment, torchrun(*GAME, "--out", folder)) as processes:
        ((code, out, err),) = ended(processes)
    assert (code, out) == (0, f"{folder}\n"), err
    return result(folder)


def test_two_machines_are_one_with_two_processes(
    tmp_path: Path, environment: dict[str, str], undisturbed: dict[str, bytes]
) -> None:
    words = torchrun(*GAME, "--out", tmp_path / "run", processes=1, nodes=2, port=free_port())
    with started(environment, words, words) as processes:
        ends = ended(processes)
    assert [code for code, _, _ in ends] == [0, 0], ends
    # Which of both has rank 0, they find out among themselves.
    assert sorted(out for _, out, _ in ends) == ["", f"{tmp_path / 'run'}\n"]
    assert sum(err.count("processes: 2, each with batches of 8") for _, _, err in ends) == 1
    assert result(tmp_path / "run") == undisturbed


def lost(folder: Path, agents: list[subprocess.Popen[str]], when: Callable[[], bool]) -> None:
    """Kill the process that is not rank 0, once something has come about and before the run has finished."""
    until(when, *agents)
    first = json.loads((folder / "status.json").read_text())["pid"]
    (second,) = set.union(*(children(agent.pid) for agent in agents)) - {first}
    os.kill(second, signal.SIGKILL)
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "running"


@pytest.mark.parametrize(("every", "mark"), [(100, "checkpoints/step-000100"), (10**6, "metrics.jsonl")])
def test_torchrun_starts_a_killed_rank_again(
    tmp_path: Path, environment: dict[str, str], undisturbed: dict[str, bytes], every: int, mark: str
) -> None:
    """After a checkpoint it goes on from there, before the first one it begins anew, to the same bytes."""
    folder = tmp_path / "run"
    words = torchrun(
        *GAME, "--set", f"checkpoint_every={every}", "--out", folder, "--resume", restarts=3
    )  # fmt: skip
    with started(environment, words) as processes:
        lost(folder, processes, (folder / mark).exists)
        ((code, out, err),) = ended(processes)
    assert (code, out) == (0, f"{folder}\n"), err
    assert "error: Rank 0 of 2 lost the others" in err
    assert err.count("processes: 2, each with batches of 8") == 2
    assert result(folder) == undisturbed
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(20, STEPS + 1, 20))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_machine_is_lost_and_another_takes_its_place(
    tmp_path: Path, environment: dict[str, str], undisturbed: dict[str, bytes]
) -> None:
    folder, port = tmp_path / "run", free_port()
    words = torchrun(
        *GAME, "--set", "checkpoint_every=100", "--out", folder, "--resume",
        processes=1, nodes=2, port=port, restarts=3,
    )  # fmt: skip
    # Without this, torch 2.14's agents wait for each other if one of them is new.
    environment = {**environment, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    with started(environment, words) as (first,):
        # It hosts what all agents meet at, and so must live on.
        until(lambda: answers(port), first)
        with started(environment, words) as (second,):
            until((folder / "checkpoints/step-000100").exists, first, second)
            for worker in children(second.pid):
                os.kill(worker, signal.SIGKILL)
            os.kill(second.pid, signal.SIGKILL)
        with started(environment, words) as processes:
            ends = ended([first, *processes])
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert result(folder) == undisturbed


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
