"""Call mmgan with thousands of command lines at random, and tell which end as none should.

    python benchmarks/fuzz_cli.py --seed 1 --lines 2000
    python benchmarks/fuzz_cli.py --seed 1 --only 17          one line again, with all that it prints

Each line is called in a folder of its own that holds pictures, sounds, texts and trained runs, by a process
that is forked from one in which torch is imported. Many lines train, for two steps. A fault is an exit code
that docs/cli.md does not list, exit code 70, a traceback, a failure without a line "error: …", a line of
``--json`` that gives no JSON, and a call that takes longer than ``--patience`` seconds. A line depends on the
seed and its number alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import time
import wave
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from fuzz_lines import STEPS, TINY, Grammar, Line
from PIL import Image

#: What docs/cli.md lists, without 70 and without the signals', which nobody sends here.
CODES = {0, 1, 2, 3, 4, 5, 6}
#: Bytes of memory that a line may take beside what the process has: a large network must be refused.
MEMORY = 4 * 2**30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first line")
    parser.add_argument("--only", type=int, help="call this line only, and show what it prints")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds that a line may take")
    arguments = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("MMGAN_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="mmgan-fuzz-") as folder:
        os.environ["MMGAN_CACHE_DIR"] = f"{folder}/cache"
        return fuzz(Path(folder), arguments)


def fuzz(place: Path, arguments: argparse.Namespace) -> int:
    """Call the lines, print what is wrong with them, and return 1 if anything is."""
    group, configs = load()
    stock = place / "stock"
    furnish(stock)
    numbers = range(arguments.first, arguments.first + arguments.lines)
    codes: Counter[int] = Counter()
    faults, start = 0, time.monotonic()
    for number in [arguments.only] if arguments.only is not None else numbers:
        line = Grammar(group, configs, Random(f"{arguments.seed}/{number}")).line()
        case = place / "case"
        shutil.copytree(
            stock, case, symlinks=True, copy_function=os.link, ignore=shutil.ignore_patterns("fifo", "runs")
        )
        os.mkfifo(case / "fifo")
        shutil.copytree(stock / "runs", case / "runs")
        code, out, err = call(line, case, arguments.patience)
        shutil.rmtree(case)
        codes[code] += 1
        wrong = judge(line, code, out, err)
        faults += bool(wrong)
        if wrong or arguments.only is not None:
            print(f"line {number}: {wrong or 'as it should be'} (exit code {code})\n  {written(line)}")
            print(
                "".join(f"  | {text[:300]}\n" for text in err.splitlines()[-6 if wrong else 0 :]), flush=True
            )
        if sum(codes.values()) % 100 == 0:
            print(f"{sum(codes.values())} lines, {faults} faults", file=sys.stderr)
    spent = time.monotonic() - start
    ended = ", ".join(f"{count} with {code}" for code, count in sorted(codes.items()))
    print(
        f"seed {arguments.seed}: {sum(codes.values())} lines in {spent:.0f} s ended {ended}; {faults} faults"
    )
    return int(faults > 0)


def load() -> tuple[Any, dict[str, Any]]:
    """Import what lines need, so that a forked process has it, and return commands and settings."""
    import torch
    import torch.utils.tensorboard

    import mmgan.engine
    import mmgan.listeners.progress
    import mmgan.testing.check  # noqa: F401
    from mmgan.cli import build
    from mmgan.cli.session import Session

    torch.set_num_threads(1)
    session = Session()
    group = build(session)
    return group, {name: session.plugins.task(name).Config for name in TINY}


def furnish(stock: Path) -> None:
    """Make what a line's folder holds."""
    random = np.random.default_rng(0)
    for folder, width in (
        ("pics", 40),
        ("f\udcf6lder", 40),
        ("pairs", 80),
        ("sides/trainA", 40),
        ("sides/trainB", 40),
    ):
        (stock / folder).mkdir(parents=True)
        for number in range(4):
            pixels = random.integers(0, 256, (40, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(stock / folder / f"{number}.png")
    (stock / "sounds").mkdir()
    for number in range(3):
        with wave.open(str(stock / "sounds" / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(random.integers(-9000, 9000, 20_000, dtype=np.int16).tobytes())
    (stock / "texts").mkdir()
    lines = "".join(f"the {a} cat sees {b} dogs\n" for a in ("old", "red", "shy") for b in range(20))
    for path in (stock / "texts.txt", stock / "texts" / "a.txt"):
        path.write_text(lines)
    (stock / "empty").mkdir()
    (stock / "empty.png").touch()
    (stock / "loop").symlink_to("loop")
    (stock / "dangling").symlink_to("nowhere")
    (stock / "runs").mkdir()
    for task, settings in TINY.items():
        sets = [word for item in f"{settings} {STEPS}".split() for word in ("--set", item)]
        line = Line(["run", "--plugin", task, "--out", f"runs/{task}", *sets])
        code, _, err = call(line, stock, 300, memory=False)
        if code:
            raise SystemExit(f"{written(line)} ended with {code}:\n{err}")


def call(line: Line, folder: Path, patience: float, memory: bool = True) -> tuple[int, str, str]:
    """Call a line in a process of its own; return its exit code (-1: it took too long), stdout and stderr."""
    if line.toml:
        (folder / "my.toml").write_text(line.toml, encoding="utf-8")
    out, err = folder.parent / "out", folder.parent / "err"
    child = os.fork()
    if not child:
        code = 99
        try:
            _redirect(out, err)
            os.setpgrp()
            os.chdir(folder)
            os.environ.update(line.environment)
            if memory:
                taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
            from mmgan.cli import main

            code = main(line.words)
            sys.stdout.flush()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 99
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError):
                sys.stderr.flush()
            os._exit(code)
    code = _wait(child, patience)
    return code, out.read_text(errors="replace"), err.read_text(errors="replace")


def _redirect(out: Path, err: Path) -> None:
    for path, number, name in ((out, 1, "stdout"), (err, 2, "stderr")):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        setattr(
            sys,
            name,
            os.fdopen(
                number,
                "w",
                encoding="utf-8",
                errors="strict" if number == 1 else "backslashreplace",
                closefd=False,
            ),
        )
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _wait(child: int, patience: float) -> int:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


def judge(line: Line, code: int, out: str, err: str) -> str:
    """Return what is wrong with how a line ended, or an empty string."""
    if code == -1:
        return "took too long"
    if code < 0:
        return f"killed by signal {-code}"
    if code not in CODES or "internal bug" in err + out:
        return "an internal bug"
    if "Traceback" in err:
        return "a traceback"
    as_json = "--json" in line.words and "--help" not in line.words and "-h" not in line.words
    if as_json and out:
        try:
            json.loads(out)
        except ValueError:
            return "no JSON on stdout"
    # Without any words the help is the error; `doctor` and `plugins check` tell by what they print.
    told = "error: " in err or (as_json and '"error"' in out) or not line.words
    if code and not told and "doctor" not in line.words and "check" not in line.words:
        return "failed without saying why"
    return ""


def written(line: Line) -> str:
    """Return a line as a shell would take it."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in line.environment.items()]
    text = " ".join([*variables, "mmgan", *map(shlex.quote, line.words)])
    text = text if len(text) < 1500 else f"{text[:1000]} … {text[-300:]}"
    toml = f"   # my.toml: {line.toml[:200]!r}" if line.toml else ""
    return ascii(text)[1:-1] + toml if not text.isprintable() else text + toml


if __name__ == "__main__":
    sys.exit(main())
