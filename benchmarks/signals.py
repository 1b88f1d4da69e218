"""Send signals to real processes at each thing that they do, and see how they end and go on.

    python benchmarks/signals.py --each 50
    python benchmarks/signals.py --each 1 --only TERM:save

``--each`` signals of INT, TERM and HUP each, spread over what a process is doing: importing, preparing data,
a step, saving, sampling, evaluating; ``mmgan sample``, ``mmgan evaluate`` and ``mmgan resume``; and a
second just after the first. A plugin in a file shows by marks what is going on, and lingers there a little.

- The exit code is 130, 143 or 129, and there is no traceback.
- Before training has begun nothing is left behind: no folder, nothing half written in the cache.
- Once it has begun there is a checkpoint of the step at which ``status.json`` says that it was interrupted,
  nothing half written, and ``mmgan resume`` ends with the same bytes as a run that no signal met. After a
  second signal, which leaves at once, it does so too from the last checkpoint, where there is one.
- ``sample`` and ``evaluate`` leave the run as it was.

In the first moments of a process no line of mmgan has run yet: what Python itself says then is counted apart.

Exit code 1: something failed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import attack_tools as tools
import numpy as np
from PIL import Image

SIGNALS = {"INT": signal.SIGINT, "TERM": signal.SIGTERM, "HUP": signal.SIGHUP}
#: What is aimed at: the mark that shows that it has begun, and seconds after it in which the signal comes.
PHASES: dict[str, tuple[str, float]] = {
    "import": ("", 4.0),
    "data": ("*.tmp", 1.0),
    "step": ("step", 0.4),
    "save": ("save", 0.4),
    "sample": ("sample", 0.4),
    "evaluate": ("evaluate", 0.4),
    "twice": ("step", 0.4),
    "mmgan sample": ("load", 2.0),
    "mmgan evaluate": ("load", 2.0),
    "mmgan resume": ("", 5.0),
}
STEPS = 12
SETTINGS = (
    "width=4", "size=32", "channels=1", "batch_size=4", "sample_every=4", "evaluate_every=6",
    "checkpoint_every=5", "log_every=1", "tensorboard=false", "precision=fp32", "ema=0.9",
)  # fmt: skip
PICTURES = 400
#: A plugin that marks what goes on, and makes it take long enough to be met.
PLUGIN = '''
"""Marks what a run is doing."""

import os
import time
from pathlib import Path

from mmgan import hookimpl


def mark(name, seconds):
    place = os.environ.get("ATTACK_MARKS")
    if place:
        (Path(place) / name).touch()
        time.sleep(seconds)


@hookimpl
def before_run():
    mark("begun", 0)


@hookimpl
def after_step(step):
    if step >= 3:
        mark("step", 0.1)


@hookimpl
def before_save():
    mark("save", 0.2)


@hookimpl
def after_sample():
    mark("sample", 0.2)


@hookimpl
def after_evaluate():
    mark("evaluate", 0.2)


@hookimpl
def after_load():
    mark("load", 0)
'''


@dataclass(frozen=True)
class Trial:
    """One signal, and what it is aimed at."""

    number: int
    name: str
    phase: str

    def __str__(self) -> str:
        return f"{self.number} {self.name}:{self.phase}"


class Attack:
    """Sends signals, and keeps count.

    Args:
        place: A folder for all of it.
        seed: Of the moments.
    """

    def __init__(self, place: Path, seed: int) -> None:
        self.place, self.seed = place, seed
        self.cache, self.pictures, self.plugins = place / "cache", place / "pictures", place / "plugins"
        self.whole = place / "whole"
        self.counts: Counter[str] = Counter()
        self.failed = 0

    def prepare(self) -> None:
        """Make pictures, the plugin, and the run that no signal meets."""
        self.pictures.mkdir()
        rng = np.random.default_rng(0)
        for number in range(PICTURES):
            pixels = rng.integers(0, 256, (192, 192), dtype=np.uint8)
            Image.fromarray(pixels).save(self.pictures / f"{number:04d}.png")
        self.plugins.mkdir()
        (self.plugins / "attack_marks.py").write_text(PLUGIN)
        code, _, err = tools.run(self.training("--out", self.whole), self.cache, self.place, 600)
        if code:
            sys.exit(f"The run that no signal meets could not be made:\n{err}")

    def training(self, *more: object) -> list[str]:
        """Return the command that trains."""
        settings = [word for one in SETTINGS for word in ("--set", one)]
        words = ("run", "--plugin", "dcgan", "--data", self.pictures, "--steps", STEPS)
        return tools.command("--plugins-dir", self.plugins, *words, *settings, *more)

    def meet(self, trial: Trial) -> None:
        """Send a trial's signal, and check how the process ends and what it leaves."""
        rng = random.Random(f"{self.seed}/{trial.number}")
        room = self.place / f"trial-{trial.number}"
        marks, cache, run = room / "marks", self.cache, room / "run"
        marks.mkdir(parents=True)
        cache = room / "cache" if trial.phase == "data" else self.cache
        if trial.phase.startswith("mmgan"):
            shutil.copytree(self.whole, run)
        before = tools.digest(run / "checkpoints") if run.exists() else ""
        words = {
            "mmgan sample": tools.command("--plugins-dir", self.plugins, "sample", run, "-n", 3000),
            "mmgan evaluate": tools.command("--plugins-dir", self.plugins, "evaluate", run, "-n", 20000),
            "mmgan resume": tools.command("resume", run, "--steps", STEPS + 4),
        }.get(trial.phase) or self.training(*(["--set", "workers=2"] if trial.number % 2 else []))
        process = tools.start(words, cache, room, ATTACK_MARKS=str(marks))
        aimed = self.wait(trial, process, marks, cache)
        delay = rng.uniform(0, PHASES[trial.phase][1])
        time.sleep(delay)
        process.send_signal(SIGNALS[trial.name])
        if trial.phase == "twice":
            time.sleep(rng.uniform(0, 0.1))
            process.send_signal(SIGNALS[trial.name])
        out, err = tools.finish(process, 300)
        # A run that is ready begins, though the signal was there first, so that there is a checkpoint.
        began = (marks / "begun").exists()
        where = f"{trial} + {delay:.2f} s"
        if process.returncode == 0:
            self.counts["ended before the signal came"] += 1
        elif not aimed:
            self.fail(where, f"it ended with {process.returncode} before it came to that: {err[-300:]}")
        else:
            self.check(trial, where, process.returncode, out + err, began)
            if not trial.phase.startswith("mmgan"):
                self.check_run(trial, where, room, cache, began)
            elif tools.digest(run / "checkpoints") != before and trial.phase != "mmgan resume":
                self.fail(where, "the checkpoints have changed")
            elif trial.phase == "mmgan resume":
                self.check_resume(where, run)
        self.counts[f"{trial.name} at {trial.phase}"] += 1
        shutil.rmtree(room)

    def wait(self, trial: Trial, process: subprocess.Popen[str], marks: Path, cache: Path) -> bool:
        """Wait until a process does what is aimed at; False where it ends before."""
        pattern = PHASES[trial.phase][0]
        place = cache if trial.phase == "data" else marks
        end = time.monotonic() + 120
        while pattern and not any(place.glob(pattern)) and time.monotonic() < end:
            if process.poll() is not None:
                return False
            time.sleep(0.002)
        return True

    def check(self, trial: Trial, where: str, code: int, text: str, began: bool) -> None:
        """Check an exit code and what was printed."""
        number = int(SIGNALS[trial.name])
        # Python's own way out before mmgan's first line: by the signal itself, or with its own traceback.
        unborn = not began and "Traceback" in text and "mmgan/" not in text.replace("-m mmgan", "")
        if code not in (128 + number, -number):
            self.fail(where, f"exit code {code}, not {128 + number}: {text[-300:]}")
        elif code == -number:
            self.counts[
                f"ended by {trial.name} itself, with training {'begun' if began else 'not begun'}"
            ] += 1
        if any(word in text for word in tools.FORBIDDEN):
            if unborn:
                self.counts["Python's own traceback, before mmgan's first line"] += 1
            else:
                self.fail(where, f"a traceback: {text[-600:]}")

    def check_run(self, trial: Trial, where: str, room: Path, cache: Path, began: bool) -> None:
        """Check what a run has left, and that it goes on to the same bytes."""
        for path in [*cache.glob("*.tmp"), *(room / "runs").rglob("*partial*")]:
            self.fail(where, f"left behind: {path.name}")
        runs = sorted(room.glob("runs/*"))
        if not began:
            self.counts["before training"] += 1
            if (room / "runs").exists():
                self.fail(where, f"left behind: {', '.join(path.name for path in runs) or 'runs/'}")
            return
        run = runs[0]
        newest = tools.newest_whole(run)
        status = tools.read_json(run / "status.json")
        if trial.phase != "twice" or newest is not None:
            if newest is None:
                self.fail(where, "no checkpoint, and training had begun")
                return
            ended = (status.get("state"), status.get("step"), status.get("exit_code"))
            wanted = ("interrupted", newest, 128 + int(SIGNALS[trial.name]))
            if trial.phase != "twice" and ended != wanted:
                self.fail(where, f"status.json says {ended}, not {wanted}")
            self.resume(where, run, STEPS)
            if tools.digest(run / "checkpoints" / f"step-{STEPS:06d}") != self.wanted():
                self.fail(where, f"resumed from step {newest} it ends with other bytes")
        else:
            self.counts["left at once, before the first checkpoint"] += 1

    def wanted(self) -> str:
        """Return the hash of the last checkpoint of the run that no signal met."""
        return tools.digest(self.whole / "checkpoints" / f"step-{STEPS:06d}")

    def check_resume(self, where: str, run: Path) -> None:
        """Check that a resume that was met goes on."""
        if tools.newest_whole(run) != STEPS + 4:
            self.resume(where, run, STEPS + 4)
        if tools.leftovers(run):
            self.fail(where, f"left behind: {', '.join(tools.leftovers(run))}")

    def resume(self, where: str, run: Path, steps: int) -> None:
        """Resume a run to its end."""
        code, _, err = tools.run(tools.command("resume", run, "--steps", steps), self.cache, self.place)
        # A signal in the last step finds nothing left to do.
        if code and not (code == 2 and "has done" in err):
            self.fail(where, f"the resume ended with {code}: {err[-400:]}")

    def fail(self, where: str, what: str) -> None:
        """Count and print a failure."""
        self.failed += 1
        print(f"FAILURE {where}: {what}", flush=True)


def trials(each: int, only: str | None) -> Iterator[Trial]:
    """Give all trials: the phases in turn, each with every signal."""
    phases = list(PHASES)
    for turn in range(each):
        for place, name in enumerate(SIGNALS):
            phase = phases[turn % len(phases)]
            if only is None:
                yield Trial(turn * len(SIGNALS) + place, name, phase)
    if only is not None:
        name, _, phase = only.partition(":")
        for turn in range(each):
            yield Trial(turn, name, phase)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--each", type=int, default=50, metavar="N", help="of each signal; default 50")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="begin with trial K")
    parser.add_argument("--only", metavar="SIGNAL:PHASE", help=f"one kind; phases: {', '.join(PHASES)}")
    tools.add_options(parser)
    options = parser.parse_args(arguments)
    start = time.monotonic()
    with tools.workplace(options, "signals") as place:
        attack = Attack(place, options.seed)
        attack.prepare()
        for trial in trials(options.each, options.only):
            if trial.number >= options.first:
                attack.meet(trial)
                done = trial.number + 1
                if done % 30 == 0:
                    print(
                        f"{done} signals, {attack.failed} failures, {time.monotonic() - start:.0f} s",
                        flush=True,
                    )
    for name, count in sorted(attack.counts.items()):
        print(f"{count:5} {name}")
    print(f"{options.each} signals of a kind with seed {options.seed}: {attack.failed} failures")
    return 1 if attack.failed else 0


if __name__ == "__main__":
    sys.exit(main())
