"""``make bench`` from end to end at tiny sizes, what it writes, its guard, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mmgan.bench import machine

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import alternate
import guard
import table
from alternate import Worker, WorkerError, measure, spread, working
from cases import Case
from report import BEGIN, END, markdown, replaced
from tiny_cases import BROKEN, DCGAN

TINY = Case("tiny", "dcgan, tiny", "dcgan", DCGAN)


@pytest.mark.slow
def test_all_loops_of_a_case_from_the_command_line_to_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table, "CASES", (TINY, BROKEN))
    monkeypatch.setattr(alternate, "SECONDS", 0)
    monkeypatch.setattr(machine, "SIZES", (32,))
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    files = [f"--{name}={tmp_path / name}" for name in ("json", "markdown")]
    table.main(["--only=tiny", "--rounds=2", "--precision=fp32", *files, f"--readme={readme}"])
    output = capsys.readouterr()
    assert "tiny: round 2 of 2" in output.err
    assert "| dcgan, tiny | fp32 |" in output.out
    assert output.out == (tmp_path / "markdown").read_text()
    assert readme.read_text() == f"before\n{BEGIN}\n\n{output.out}\n{END}\nafter\n"
    results = json.loads((tmp_path / "json").read_text())
    assert results["ceiling"].keys() == {"fp32", "bf16"}
    found = results["cases"]["tiny"]
    assert found["seconds_per_step"].keys() == {"plain", "mmgan", "same"}
    assert found["precision"] == "fp32"
    assert found["steps_per_round"] == 1
    assert found["flops_per_step"] > 0
    assert found["fraction_of_ceiling"] > 0
    for ratio in ("times_faster", "engine"):
        assert 0 < found[ratio]["lower_quartile"] <= found[ratio]["median"] <= found[ratio]["upper_quartile"]


def test_a_missing_place_in_the_readme_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("no markers\n")
    with pytest.raises(SystemExit, match="bench: begin"):
        table.main([f"--readme={readme}"])
    assert readme.read_text() == "no markers\n"


# What is made of times.


class Clock:
    """A worker whose step takes the times that it is given."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = list(seconds)
        self.asked: list[int | str] = []

    def ask(self, question: int | str) -> float:
        self.asked.append(question)
        return self.seconds.pop(0)

    def end(self) -> None:
        pass


def test_ratios_are_of_each_round_and_steps_fill_the_slowest_round(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first three rounds find how many steps take two seconds.
    clocks = {
        "plain": Clock(0.6, 0.6, 0.6, 2.0, 3.0, 8.0),
        "mmgan": Clock(0.2, 0.2, 0.2, 1.0, 1.0, 2.0, 5e9),
        "same": Clock(0.2, 0.2, 0.2, 0.5, 1.0, 4.0),
    }
    monkeypatch.setattr(alternate, "Worker", lambda case, loop, folder: clocks[loop])
    found = measure(TINY, 3, lambda text: None)
    assert clocks["plain"].asked == [1, 2, 4, 4, 4, 4]
    assert clocks["mmgan"].asked == [1, 2, 4, 4, 4, 4, "operations"]
    assert found["steps_per_round"] == 4
    assert found["seconds_per_step"]["plain"]["median"] == 3.0
    assert found["times_faster"] == {"median": 3.0, "lower_quartile": 2.5, "upper_quartile": 3.5}
    assert found["engine"] == {"median": 1.0, "lower_quartile": 0.75, "upper_quartile": 1.5}
    assert found["flops_per_step"] == 5e9


# What is written.


def results(**ratios: float) -> dict[str, Any]:
    """Return results as ``table.py`` stores them, but made up."""
    case = {
        "what": "dcgan, 64 pixels",
        "precision": "bf16",
        "steps_per_round": 4,
        "seconds_per_step": {"plain": spread([0.9]), "mmgan": spread([0.45]), "same": spread([0.44])},
        "times_faster": spread([1.98, 2.0, 2.04]),
        "engine": spread([0.98, 1.02, 1.03]),
        "flops_per_step": 9e10,
        "fraction_of_ceiling": 0.5,
    }
    case |= {name: spread([value]) for name, value in ratios.items()}
    alone = case | {"what": "gan", "precision": "fp32", "times_faster": None}
    alone["seconds_per_step"] = {"mmgan": spread([0.009]), "same": spread([0.008])}
    part = case | {"what": "rewards", "engine": None}
    rate = {"size": 2048, "dtype": "float32"}
    return {
        "date": "2026-11-24T12:00:00+00:00", "mmgan": "0.1.0", "torch": "2.14.1", "threads": 2,
        "cpu": "A processor", "cpu_features": ["avx2", "avx512f"], "cpu_kernels": "AVX512", "rounds": 3,
        "ceiling": {"fp32": rate | {"flops_per_s": 2e11}, "bf16": rate | {"flops_per_s": 4e11}},
        "cases": {"dcgan-64": case, "gan-ring": alone, "seqgan-rewards": part},
    }  # fmt: skip


def test_the_table_says_when_where_and_how_often() -> None:
    lines = markdown(results()).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    head = " ".join(lines[: -len(rows)])
    for text in (
        "2026-11-24",
        "A processor (avx2 avx512f)",
        "2 threads",
        "torch 2.14.1",
        "3 rounds",
        "make bench",
    ):
        assert text in head
    assert "200 GFLOP/s in fp32 and 400 GFLOP/s in bf16" in head
    assert rows[2:] == [
        "| dcgan, 64 pixels | bf16 | 900 ms | 450 ms | 2.00 (1.99 to 2.02) | +2.0% (+0.0 to +2.5) | 50% |",
        "| gan | fp32 |  | 9 ms |  | +2.0% (+0.0 to +2.5) | 5000% |",
        "| rewards | bf16 | 900 ms | 450 ms | 2.00 (1.99 to 2.02) |  | 50% |",
    ]
    assert len({row.count("|") for row in rows}) == 1


@pytest.mark.parametrize(
    "text", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"]
)
def test_a_place_that_is_not_there_once_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="place"):
        replaced(text, "table")


def test_a_table_that_is_written_again_takes_the_old_one_s_place() -> None:
    once = replaced(f"a\n{BEGIN}\n{END}\nb\n", "| old |\n")
    assert replaced(once, "| new |\n") == once.replace("old", "new")


# The guard.


def guarded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, now: dict[str, Any], **here: Any) -> int:
    """Run the guard where ``results()`` are stored and ``now`` is measured, on a machine that differs."""
    stored = tmp_path / "table.json"
    stored.write_text(json.dumps(results()))
    monkeypatch.setattr(guard, "STORED", stored)
    monkeypatch.setattr(guard, "environment", lambda: results() | here)

    def measured(cases: list[Case], rounds: int) -> dict[str, Any]:
        assert rounds == 7
        assert [case.precision for case in cases] == ["fp32", "bf16", "bf16"]
        return now

    monkeypatch.setattr(guard, "measure_all", measured)
    return guard.main(["--rounds=7"])


@pytest.mark.parametrize(
    ("ratios", "code"),
    [
        ({}, 0),
        ({"times_faster": 1.71}, 0),
        ({"times_faster": 1.69}, 1),
        ({"times_faster": 4.0}, 0),
        ({"engine": 1.17}, 0),
        ({"engine": 1.18}, 1),
        ({"engine": 0.5}, 0),
    ],
)
def test_only_what_became_much_worse_fails(
    ratios: dict[str, float],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert guarded(monkeypatch, tmp_path, results(**ratios)) == code
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| dcgan-64", "times_faster"],
        ["| dcgan-64", "engine"],
        ["| gan-ring", "engine"],
        ["| seqgan-rewards", "times_faster"],
    ]
    assert sum(row.endswith("worse |") for row in rows) == (0 if code == 0 else 2)


@pytest.mark.parametrize(
    "here", [{"cpu": "Another"}, {"threads": 1}, {"cpu_features": []}, {"cpu_kernels": "AVX2"}]
)
def test_another_machine_s_ratios_are_not_compared(
    here: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(monkeypatch, tmp_path, {}, **here) == 2
    output = capsys.readouterr()
    assert not output.out
    assert next(iter(here)) in output.err
    assert "would mean little" in output.err


def test_without_stored_results_the_guard_says_how_to_make_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guard, "STORED", tmp_path / "missing.json")
    assert guard.main([]) == 2
    assert "table.py --json" in capsys.readouterr().err


def test_cases_that_were_never_stored_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = results()
    (tmp_path / "table.json").write_text(json.dumps(stored))
    monkeypatch.setattr(guard, "STORED", tmp_path / "table.json")
    monkeypatch.setattr(guard, "environment", lambda: stored)
    assert guard.main(["--only=cyclegan-256"]) == 2
    assert "none of these cases" in capsys.readouterr().err


# Nothing is left.


@pytest.mark.slow
def test_a_loop_that_fails_ends_all_and_leaves_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Worker] = []
    folders: list[str] = []

    class Noted(Worker):
        def __init__(self, case: Case, loop: str, folder: str) -> None:
            super().__init__(case, loop, folder)
            started.append(self)
            folders.append(folder)

    monkeypatch.setattr(alternate, "Worker", Noted)
    with pytest.raises(WorkerError, match="'plainest' of broken ended with exit code 1"):
        measure(BROKEN, 1, lambda text: None)
    assert [worker.process.poll() for worker in started] == [-signal.SIGKILL, 1]
    assert not any(Path(folder).exists() for folder in folders)


@pytest.mark.slow
def test_a_worker_ends_with_its_stdin() -> None:
    with working(Case("alone", "", "gan", {"data": "ring"}, "fp32", loops=("mmgan",))) as workers:
        worker = workers["mmgan"]
        assert worker.ask(1) > 0
        worker.process.stdin.close()
        assert worker.process.wait(60) == 0


SCRIPT = f"""
import signal
import sys
# Whoever runs tests in the background ignores Ctrl-C, and so would their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {str(Path(alternate.__file__).parent)!r})
import alternate
from cases import CASES
alternate.SECONDS = 0
alternate.measure(CASES[0], 1000, lambda text: print(text, flush=True))
"""


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("by", ["ctrl-c", "kill"])
def test_no_process_outlives_the_one_that_measures(by: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    ) as parent:
        try:
            assert b"warming up" in parent.stdout.readline()
            assert b"round 1" in parent.stdout.readline()
            assert len(members(parent.pid)) == 3
            if by == "ctrl-c":
                os.killpg(parent.pid, signal.SIGINT)
            else:
                parent.kill()
            end = time.monotonic() + 60
            while members(parent.pid) and time.monotonic() < end:
                time.sleep(0.05)
            assert not members(parent.pid)
        finally:
            if members(parent.pid):
                os.killpg(parent.pid, signal.SIGKILL)
        if by == "ctrl-c":
            # Its own: no worker complains.
            assert parent.stderr.read().count(b"Traceback") == 1
            assert not list(tmp_path.iterdir())


def members(group: int) -> list[int]:
    """Return the living processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, number = path.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(number) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def test_at_least_one_round(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        table.main(["--rounds", "0"])
    assert "--rounds: 0: at least 1 is needed" in capsys.readouterr().err
