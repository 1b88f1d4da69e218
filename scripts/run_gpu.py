"""Run the tests in tests/gpu and then benchmarks/gpu.py, within a time, and keep what they say.

    python scripts/run_gpu.py --minutes 10 --out gpu-results

``make gpu`` calls it. In the folder: ``machine.log``, ``tests.log`` and ``tests.xml``, ``benchmark.log``,
``benchmark.json`` and ``benchmark.md``. Exit code 0: all tests passed, and all cases were measured; 1:
something failed, or time ran out; 2: there is no GPU, so all tests were skipped and nothing was measured.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: The part of the time that the tests may take.
TESTS = 0.6
#: Processes that run tests. They share the GPU, and spend most of their time in Python.
WORKERS = min(4, os.cpu_count() or 1)
#: The exit code of a command whose time ran out, as that of coreutils' ``timeout``.
TIMED_OUT = 124


def run(command: Sequence[str | Path], log: Path, seconds: float) -> int:
    """Run a command; show and keep what it says. Returns its exit code, or 124 where its time ran out."""
    # A thread for each process, as in `make test`; and of pytest's plugins none but those that are named.
    own = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment = {**os.environ, **own}
    process = subprocess.Popen(
        [*map(str, command)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that its own processes end with it
    )

    def tell() -> None:
        assert process.stdout is not None
        with process.stdout, log.open("w", encoding="utf-8") as file:
            for line in process.stdout:
                print(line, end="", flush=True)
                print(line, end="", file=file, flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        code = TIMED_OUT
        print(f"stopped after {seconds:.0f} seconds: {log.stem}", file=sys.stderr)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        teller.join(10)
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10, help="for all of it (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), metavar="DIR", help="(%(default)s)")
    options = parser.parse_args(arguments)
    out: Path = options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    python = [sys.executable, "-u"]
    doctor = [*python, "-m", "mmgan", "doctor"]
    if smi := shutil.which("nvidia-smi"):
        doctor = ["sh", "-c", f'"{smi}"; "$@"', "sh", *doctor]
    run(doctor, out / "machine.log", 60)

    tests: list[str | Path] = [*python, "-m", "pytest", "tests/gpu", "-ra", "--tb=short", "--durations=15"]
    if importlib.util.find_spec("pytest_timeout"):
        tests += ["-p", "timeout"]
    if importlib.util.find_spec("xdist"):
        tests += ["-p", "xdist", "-n", str(WORKERS)]
    tested = run([*tests, f"--junitxml={out / 'tests.xml'}"], out / "tests.log", 60 * options.minutes * TESTS)

    minutes = max((end - time.monotonic()) / 60, 0.5)
    files = [f"--json={out / 'benchmark.json'}", f"--markdown={out / 'benchmark.md'}"]
    benchmark = [*python, "benchmarks/gpu.py", f"--minutes={minutes:.2f}", *files]
    # It stops by itself; a case that has begun is finished.
    measured = run(benchmark, out / "benchmark.log", 60 * minutes + 60)
    print(f"{out}: tests {tested}, benchmark {measured}", file=sys.stderr)
    return measured if not tested else 1


if __name__ == "__main__":
    sys.exit(main())
