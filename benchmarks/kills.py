"""Kill runs with SIGKILL, again and again, and see that each goes on from its newest whole checkpoint.

    python benchmarks/kills.py --kills 200
    python benchmarks/kills.py --kills 20 --chain 20 --only 3 --keep

A chain is one run. A process trains it, and is killed: at a moment drawn at random, or when a file that shows
what it is doing has just appeared (a checkpoint half written, one renamed, one pruned, samples, settings,
status). Then ``mmgan resume`` must play three steps more and end with 0, and here it is checked that

- every checkpoint in the folder is whole, by its manifest, before the resume and after it, the best too;
- the resume began at the newest of them: what ``metrics.jsonl`` says up to there is unchanged, and what
  follows is new, each step once and none missing;
- nothing half written is left.

Then the next process trains on, and is killed. At the end of a chain its checkpoint, losses and
samples are compared with those of a run that was never killed: they must be equal to the byte.

A kill before the first checkpoint leaves nothing to go on from: ``resume`` must then end with 5 and a clear
message, and the chain begins again in a new folder. Such kills are told apart and don't count to --kills.

A chain is a function of --seed and its number, as far as time can be. Exit code 1: something failed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import attack_tools as tools

#: Runs that save, sample and evaluate all the time; one of them has worker processes.
SETTINGS: dict[str, tuple[str, ...]] = {
    "gan": ("data=ring", "width=16", "batch_size=8", "ema=0.9"),
    # At a constant rate, which does not depend on how long the run shall be.
    "cyclegan": (
        "lr_decay=0",
        "size=16", "width=2", "blocks=1", "d_width=2", "d_layers=1", "pool=4", "ema=0.9", "batch_size=2",
    ),
    "workers": ("data=ring", "width=16", "batch_size=8", "workers=2"),
}  # fmt: skip
COMMON = ("log_every=1", "checkpoint_every=5", "keep=2", "tensorboard=false", "precision=fp32")
EVERY = {
    "gan": ("sample_every=7", "evaluate_every=10"),
    "cyclegan": ("sample_every=7",),
    "workers": ("sample_every=7",),
}
#: Further than any process comes before it is killed.
FAR = 10**7
#: Steps that a resume plays to its end.
MORE = 3

#: What is seen in a run's folder while it is doing something, as patterns of new or changed files.
AIMS: dict[str, tuple[str, ...]] = {
    "a checkpoint begun": ("checkpoints/.partial-*",),
    "its weights": ("checkpoints/.partial-*/G.safetensors",),
    "its state": ("checkpoints/.partial-*/state.json",),
    "its manifest": ("checkpoints/.partial-*/manifest.json",),
    "a checkpoint renamed": ("checkpoints/step-*",),
    "samples begun": (".partial*.png", ".partial*.txt", "samples/.partial*"),
    "samples": ("samples/step-*",),
    "metrics": ("metrics.jsonl",),
    "status": ("status.json",),
    "settings": ("config.toml", ".*config.toml*"),
    "the best score": ("checkpoints/best.json", "checkpoints/.best*"),
    "any file half written": (".*partial*", "checkpoints/.*partial*"),
}
#: Of a run that is just being made.
FIRST = (
    "settings",
    "status",
    "a checkpoint begun",
    "its manifest",
    "a checkpoint renamed",
    "any file half written",
)


@dataclass
class Tally:
    """What came of all kills."""

    kills: int = 0
    early: int = 0
    aims: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def seen(folder: Path, patterns: tuple[str, ...]) -> dict[str, int]:
    """Return the files of some patterns with the times of their last change."""
    found = {}
    for pattern in patterns:
        for path in folder.glob(pattern):
            try:
                found[str(path)] = path.stat().st_mtime_ns
            except OSError:
                continue  # It has just been moved away.
    return found


@dataclass
class Chain:
    """One run that is killed and resumed again and again.

    Args:
        place: A folder for the run, its logs, and the run that is never killed.
        cache: mmgan's cache.
        number: Of the chain.
        seed: Of the moments.
        tally: Where kills and failures are counted.
        say: Prints a line.
    """

    place: Path
    cache: Path
    number: int
    seed: int
    tally: Tally
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}/{self.number}")
        self.kind = list(SETTINGS)[self.number % len(SETTINGS)]
        self.game = "cyclegan" if self.kind == "cyclegan" else "gan"
        self.attempts = 0
        self.place.mkdir()
        self.folder = self.place / "run-0"

    def play(self, kills: int) -> None:
        """Kill so many times, and compare the end with a run that was never killed."""
        done = 0
        while done < kills:
            begins = not tools.checkpoints(self.folder)
            if begins:
                self.attempts += 1
                self.folder = self.place / f"run-{self.attempts}"
            aim = self.aim(begins)
            self.kill(self.begin(FAR) if begins else self.resume(FAR), aim)
            newest = self.inspect(aim)
            if newest is None:
                self.tally.early += 1
                self.refused(aim)
                continue
            done += 1
            self.tally.kills += 1
            self.tally.aims[aim[0]] += 1
            self.go_on(newest, aim)
        self.compare()

    def aim(self, begins: bool) -> tuple[str, float]:
        """Draw at what the next kill is aimed, and how many seconds after it has been seen."""
        # Most kills of a run that is just being made come before its first checkpoint: few of those.
        if self.rng.random() < (0.3 if begins else 0.15):
            return "any moment", self.rng.uniform(0, 8)
        name = self.rng.choice(list(FIRST if begins else AIMS))
        return name, self.rng.choice([0, self.rng.uniform(0, 0.003), self.rng.uniform(0, 0.05)])

    def begin(self, steps: int) -> list[str]:
        """Return the command that begins the run."""
        settings = [word for one in self.settings() for word in ("--set", one)]
        words = ("run", "--plugin", self.game, *settings, "--steps", steps, "--seed", self.number)
        return tools.command(*words, "--out", self.folder)

    def settings(self) -> tuple[str, ...]:
        """Return the run's settings."""
        return (*COMMON, *SETTINGS[self.kind], *EVERY[self.kind])

    def resume(self, steps: int) -> list[str]:
        """Return the command that goes on with it."""
        return tools.command("resume", self.folder, "--steps", steps)

    def kill(self, words: list[str], aim: tuple[str, float]) -> None:
        """Start a process and kill it at the moment that is aimed at."""
        name, delay = aim
        patterns = AIMS.get(name, ())
        before = seen(self.folder, patterns)
        with self.log().open("ab") as log:
            process = subprocess.Popen(
                words,
                env=tools.environment(self.cache),
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + 60
        skip = self.rng.randrange(4)  # Not always the first time.
        while patterns and process.poll() is None and time.monotonic() < end:
            now = seen(self.folder, patterns)
            if any(before.get(path) != changed for path, changed in now.items()):
                if not skip:
                    break
                skip -= 1
            before = now
            time.sleep(0.0005)
        time.sleep(delay)
        process.kill()
        code = process.wait()
        if code != -signal.SIGKILL:
            tail = self.log().read_text(errors="replace")[-500:]
            self.fail(aim, f"the process ended by itself with {code}: {tail}")

    def log(self) -> Path:
        """Return the file of all that the killed processes print."""
        return self.place / "killed.log"

    def inspect(self, aim: tuple[str, float]) -> int | None:
        """Return the step of the newest checkpoint; all must be whole, as they are when they are named."""
        for step, path in tools.checkpoints(self.folder).items():
            if not tools.is_whole(path):
                self.fail(aim, f"the checkpoint of step {step} is not whole after the kill")
        return tools.newest_whole(self.folder)

    def refused(self, aim: tuple[str, float]) -> None:
        """See that a run without any checkpoint is refused clearly."""
        code, out, err = tools.run(self.resume(MORE), self.cache, self.place)
        if code == 0:
            self.tally.ends["had no checkpoint: began anew"] += 1
            return
        self.tally.ends[f"had no checkpoint: exit code {code}"] += 1
        if code != 5 or any(word in out + err for word in tools.FORBIDDEN):
            self.fail(aim, f"resume without a checkpoint ended with {code}: {err[-500:]}")

    def go_on(self, newest: int, aim: tuple[str, float]) -> None:
        """Resume for a few steps, and check where it began and what it left."""
        before = self.metrics(aim)
        code, _, err = tools.run(self.resume(newest + MORE), self.cache, self.place)
        self.tally.ends[f"resumed: exit code {code}"] += 1
        if code or any(word in err for word in tools.FORBIDDEN):
            self.fail(aim, f"resume from step {newest} ended with {code}: {err[-800:]}")
            return
        if "passed over" in err:
            self.fail(aim, f"a checkpoint was passed over: {err[-300:]}")
        after = self.metrics(aim)
        steps = [line["step"] for line in after if "scores" not in line]
        if steps != list(range(1, newest + MORE + 1)):
            self.fail(aim, f"metrics.jsonl has not each step to {newest + MORE} once: {gaps(steps)}")
        kept = [line for line in before if line["step"] <= newest]
        if after[: len(kept)] != kept:
            self.fail(aim, f"the resume did not begin at step {newest}: earlier metrics have changed")
        if any(line in before for line in after[len(kept) :]):
            self.fail(aim, f"the resume did not begin at step {newest}: later metrics are old")
        end = tools.checkpoints(self.folder)
        if newest + MORE not in end or not all(map(tools.is_whole, end.values())):
            self.fail(aim, f"after the resume the checkpoints are {list(end)}, or not whole")
        best = tools.read_json(self.folder / "checkpoints" / "best.json")
        if best and best.get("step") not in end:
            self.fail(aim, f"the checkpoint of the best score is missing: {best}")
        status = tools.read_json(self.folder / "status.json")
        if (status.get("state"), status.get("step")) != ("finished", newest + MORE):
            self.fail(aim, f"status.json after the resume: {status.get('state')} at {status.get('step')}")
        for name in tools.leftovers(self.folder):
            self.fail(aim, f"left behind: {name}")

    def metrics(self, aim: tuple[str, float]) -> list[dict[str, Any]]:
        """Return the whole lines of metrics.jsonl."""
        path = self.folder / "metrics.jsonl"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = []
        for number, line in enumerate(text.splitlines()):
            try:
                lines.append(json.loads(line))
            except ValueError:
                if number < text.count("\n"):
                    self.fail(aim, f"line {number + 1} of metrics.jsonl is torn: {line[:100]}")
        return lines

    def compare(self) -> None:
        """Compare the run with one of the same length that was never killed."""
        last = tools.newest_whole(self.folder)
        whole = self.place / "whole"
        killed, self.folder = self.folder, whole
        # Its steps are told one after the other too, since a run is saved where it ends.
        code, _, err = tools.run(self.begin(last or 1), self.cache, self.place, 1200)
        self.folder = killed
        nowhere = ("the end", 0.0)
        if code:
            self.fail(nowhere, f"the run that was never killed ended with {code}: {err[-300:]}")
            return
        name = f"checkpoints/step-{last:06d}"
        if tools.digest(killed / name) != tools.digest(whole / name):
            self.fail(nowhere, f"the checkpoint of step {last} differs from that of a run never killed")
        # Those at the ends of resumes are more.
        wrong = [
            sample.name
            for sample in sorted((whole / "samples").iterdir())
            if is_due(sample.name, 7) and not same(sample, killed / "samples" / sample.name)
        ]
        if wrong:
            some = ", ".join(wrong[:3])
            self.fail(nowhere, f"{len(wrong)} samples are missing or differ from a run never killed: {some}")
        if losses(killed) != losses(whole):
            self.fail(nowhere, f"the losses to step {last} differ from those of a run never killed")
        self.tally.ends["chains compared with a run never killed"] += 1

    def fail(self, aim: tuple[str, float], what: str) -> None:
        """Note and print a failure."""
        moment = f"kill {self.tally.kills} at {aim[0]} + {1000 * aim[1]:.1f} ms"
        line = f"FAILURE chain {self.number}, {moment}: {what}"
        self.tally.failures.append(line)
        self.say(line)


def same(one: Path, other: Path) -> bool:
    """Whether there is another file with the same bytes."""
    return other.is_file() and tools.digest(one) == tools.digest(other)


def is_due(name: str, every: int) -> bool:
    """Whether a sample file is of a step at which samples are due."""
    return int(Path(name).stem.removeprefix("step-")) % every == 0


def losses(folder: Path) -> list[dict[str, Any]]:
    """Return the metrics that are no measure of time."""
    timed = {"seconds", "samples_per_s", "steps_per_s", "data_wait"}
    lines = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    # A run is evaluated where it ends, too: those scores are more.
    kept = [line for line in lines if "scores" not in line or line["step"] % 10 == 0]
    return [{key: value for key, value in line.items() if key not in timed} for line in kept]


def gaps(steps: list[int]) -> str:
    """Return what is wrong with a list that should count up by one, in short."""
    wrong = [f"{one} then {two}" for one, two in zip([0, *steps], steps, strict=False) if two != one + 1]
    return ", ".join(wrong[:5]) or f"{len(steps)} steps, the last is {steps[-1] if steps else 'none'}"


def chains(options: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Give the numbers of the chains, and how many kills each has."""
    if options.only is not None:
        yield options.only, options.chain
        return
    for number in range(-(-options.kills // options.chain)):
        yield number, min(options.chain, options.kills - number * options.chain)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="default 200")
    parser.add_argument("--chain", type=int, default=20, metavar="N", help="kills of one run; default 20")
    parser.add_argument("--only", type=int, metavar="K", help="chain K alone")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="chains at the same time")
    tools.add_options(parser)
    options = parser.parse_args(arguments)
    with tools.workplace(options, "kills") as place:
        return attack(place, options)


def attack(place: Path, options: argparse.Namespace) -> int:
    """Play all chains, and print what came of them."""
    tally, waiting, lock, start = Tally(), list(chains(options)), threading.Lock(), time.monotonic()

    def say(line: str) -> None:
        with lock:
            print(line, flush=True)

    def work() -> None:
        while waiting:
            with lock:
                if not waiting:
                    return
                number, kills = waiting.pop(0)
            chain = Chain(place / f"chain-{number}", place / "cache", number, options.seed, tally, say)
            try:
                chain.play(kills)
            except Exception as error:
                chain.fail(("the harness", 0.0), f"{type(error).__name__}: {error}")
            if not options.keep:
                shutil.rmtree(chain.place, ignore_errors=True)
            say(
                f"chain {number} ({chain.kind}): {tally.kills} kills and {tally.early} before a checkpoint, "
                f"{len(tally.failures)} failures, {time.monotonic() - start:.0f} s"
            )

    threads = [threading.Thread(target=work) for _ in range(options.workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, count in (tally.aims + tally.ends).most_common():
        say(f"{count:5} {name}")
    say(
        f"{tally.kills} kills on {tools.file_system(place)} with seed {options.seed}, and {tally.early} "
        f"before the first checkpoint: {len(tally.failures)} failures"
    )
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
