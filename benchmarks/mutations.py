"""Spoil the folders of finished runs, one thing at a time, and see what the command line makes of them.

    python benchmarks/mutations.py --flips 1000 --mutations 1000
    python benchmarks/mutations.py --only mutation:17 --keep

Small runs of several games are made once. Each trial copies one, changes one file of it (``mutating.py``; of
checkpoints' files half are signed anew, so that the content is judged and not its hash), and calls one
command: in a worker process that has everything imported, and every 25th as a process of its own.

A trial fails if the command ends with another exit code than the documented ones, prints a traceback or calls
itself a bug, takes longer than ``--patience`` or 2 GB more memory, changes a file outside the run's folder,
or uses what is wrong. Used is what it succeeds with: it must give just what it gives for the sound run, or,
where it says that the newest checkpoint is passed over, for the one before. Two kinds may give something
else, and are counted as accepted and listed at the end: another ``config.toml``, which people edit; and a
checkpoint that is signed anew, finite, and of the step that its folder says.

Trial k is a function of --seed and k. Prints a line for each failure, with how to repeat it, and a summary.
Exit code 1: something failed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import queue
import random
import re
import resource
import select
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import attack_tools as tools
import mutating

#: What a command may take beside what it takes unspoiled.
MEMORY = 2 * 2**30
#: Every so manyth trial is a process of its own.
OWN_PROCESS = 25
COMMON = (
    "steps=4", "checkpoint_every=2", "sample_every=2", "log_every=1", "precision=fp32", "tensorboard=false",
    "convolutions=library",
)  # fmt: skip
GAMES: dict[str, tuple[str, ...]] = {
    "gan": ("data=ring", "width=8", "batch_size=4", "evaluate_every=2", "tensorboard=true"),
    "dcgan": ("width=4", "size=32", "batch_size=4", "ema=0.9"),
    "seqgan": (
        "vocabulary=60", "length=6", "hidden=8", "embedding=8", "rollouts=2", "mle_steps=1", "negatives=8",
        "pretrain_rounds=1", "pretrain_epochs=1", "batch_size=4",
    ),
    "cyclegan": (
        "size=16", "width=2", "blocks=1", "d_width=2", "d_layers=1", "pool=4", "ema=0.9", "batch_size=2",
    ),
    "wavegan": ("data=drums:20", "dim=1", "batch_size=2", "critic_steps=1"),
}  # fmt: skip
#: The commands that read a run's folder.
COMMANDS: dict[str, tuple[str, ...]] = {
    "sample": ("sample", "RUN", "-n", "2", "--out", "OUT"),
    "best": ("sample", "RUN", "-n", "2", "--out", "OUT", "--checkpoint", "best"),
    "resume": ("resume", "RUN", "--steps", "8"),
    "evaluate": ("evaluate", "RUN", "-n", "200"),
    "run": ("run", "--plugin", "GAME", "--config", "RUN/config.toml", "--steps", "1", "--out", "OUT"),
}


@dataclass(frozen=True)
class Outcome:
    """What a command came to: its exit code (None: it hung), what it said, what it made, memory in bytes."""

    code: int | None
    text: str
    result: str
    memory: int = 0


@dataclass(frozen=True)
class Trial:
    """One change of one file, and the command that meets it."""

    kind: str
    number: int
    game: str
    command: str
    file: str
    what: str
    signed: bool
    wrong: str

    def __str__(self) -> str:
        signed = ", signed anew" if self.signed else ""
        return f"{self.kind}:{self.number} {self.command} of {self.game}, {self.file}: {self.what}{signed}"


#: What a command gives for a sound run, and for one whose newest checkpoint is missing.
Baseline = dict[tuple[str, str], tuple[Outcome, Outcome]]


def judge(trial: Trial, outcome: Outcome, newest: Outcome, older: Outcome, outside: bool) -> tuple[str, str]:
    """Return ``ok``, ``accepted`` or ``failure``, and why.

    Args:
        trial: What was changed.
        outcome: What the command came to.
        newest: What it comes to where nothing is changed.
        older: What it comes to where there is no newest checkpoint.
        outside: Whether files outside of the run's folder are as they were.
    """
    config = trial.file == "config.toml"
    problem = ""
    if outcome.code is None:
        problem = "it hung"
    elif outcome.code not in tools.CODES:
        problem = f"exit code {outcome.code}"
    elif any(word in outcome.text for word in tools.FORBIDDEN):
        problem = "a traceback"
    elif not outside:
        problem = "a file outside was changed"
    elif outcome.memory > MEMORY or ("Out of memory" in outcome.text and not config):
        problem = f"{outcome.memory / 2**20:.0f} MB of memory"
    elif outcome.code == 0 and outcome.result != newest.result:
        if "passed over" in outcome.text and outcome.result == older.result:
            return "ok", "the checkpoint before it"
        if config or (trial.signed and not trial.wrong):
            return "accepted", re.sub(r"[\d/]+", "…", trial.what)
        problem = f"something else was loaded {trial.wrong}".rstrip()
    if problem:
        return "failure", problem
    return "ok", "the same" if outcome.code == 0 else f"exit code {outcome.code}"


class Workshop:
    """The runs, their copies, and a process that answers commands.

    Args:
        place: A folder for all of it.
        runs: The sound runs by game.
        cache: mmgan's cache.
    """

    #: Seconds that a command may take. The first ones have data to prepare.
    patience = 600.0

    def __init__(self, place: Path, runs: Path, cache: Path) -> None:
        self.place, self.runs, self.cache = place, runs, cache
        self.outside = place / "outside"
        self.run, self.out = place / "run", place / "out"
        self._process: subprocess.Popen[bytes] | None = None
        place.mkdir()

    def prepare(self, game: str) -> None:
        """Copy a run, and lay out what is outside of it."""
        for path in (self.run, self.out, self.outside):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.runs / game, self.run)
        (self.outside / "folder").mkdir(parents=True)
        (self.outside / "file").write_text("a file outside\n")
        (self.outside / "folder" / "thesis.txt").write_text("a file in a folder outside\n")

    def change(self, kind: str, number: int, seed: int, only: Sequence[str]) -> Trial:
        """Draw a trial, and prepare its folder."""
        rng = random.Random(f"{seed}/{kind}/{number}")
        game = rng.choice(list(only))
        self.prepare(game)
        names = sorted(str(path.relative_to(self.run)) for path in self.run.rglob("*") if path.is_file())
        # The files of a checkpoint have each a part of what goes on, and the newest is what is read.
        newest = [name for name in names if name.startswith("checkpoints/step-000004/")]
        file = rng.choice(newest if rng.random() < 0.5 else names)
        signed = False
        if kind == "mutation" and rng.random() < 0.12:
            what, file = mutating.entries(self.run, self.outside, rng), "(entries)"
        elif kind == "flip":
            what = mutating.flip(self.run / file, rng)
        else:
            what = mutating.structure(self.run / file, self.outside, rng)
        wrong = ""
        if file.startswith("checkpoints/step-"):
            checkpoint = self.run / Path(file).parent
            if not file.endswith("manifest.json") and rng.random() < 0.5 and (self.run / file).is_file():
                with contextlib.suppress(OSError):
                    if not (self.run / file).is_symlink():
                        mutating.sign(checkpoint)
                        signed = True
            wrong = mutating.must_not_be_used(checkpoint) if signed else ""
        possible = [name for name in COMMANDS if allowed(game, name)]
        command = rng.choice([name for name in possible if name != "run"])
        if file == "config.toml":
            command = rng.choice(possible)
        elif file.endswith("best.json"):
            command = rng.choice(["best", "resume"] if allowed(game, "best") else ["resume"])
        return Trial(kind, number, game, command, file, what, signed, wrong)

    def call(self, game: str, command: str, own: bool = False) -> Outcome:
        """Call a command on the prepared folder."""
        places = {"RUN": str(self.run), "OUT": str(self.out), "GAME": game}
        words = [re.sub("RUN|OUT|GAME", lambda match: places[match[0]], word) for word in COMMANDS[command]]
        if own:
            code, out, err = tools.run(tools.command(*words), self.cache, self.place, 10 * self.patience)
            answer = {"code": None if "It hung" in err else code, "out": out, "err": err, "memory": 0}
        else:
            answer = self._ask(words)
        text = (answer["out"] + answer["err"]).replace(str(self.place), "")
        result = self._result(command, answer["out"]) if answer["code"] == 0 else ""
        return Outcome(answer["code"], text, result, answer["memory"])

    def _result(self, command: str, out: str) -> str:
        if command == "resume":
            newest = self.run / "checkpoints" / "step-000008"
            return "" if newest.is_symlink() or not tools.is_whole(newest) else tools.digest(newest)
        if command == "evaluate":
            return out
        if command == "run":
            return "a run" if tools.newest_whole(self.out) == 1 else "no run"
        return tools.digest(self.out) if self.out.is_dir() else ""

    def _ask(self, words: list[str]) -> dict[str, Any]:
        if self._process is None:
            errors = (self.place / "worker.log").open("ab")
            self._process = subprocess.Popen(
                [sys.executable, __file__, "--worker"],
                env=tools.environment(self.cache),
                cwd=self.place,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            errors.close()
            self._line(120)  # It says that it is ready.
        assert self._process.stdin is not None
        before = (self.place / "worker.log").stat().st_size
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        self._process.stdin.flush()
        line = self._line(self.patience)
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        # It hangs, or has crashed.
        code = self._process.poll()
        self.close()
        tail = (self.place / "worker.log").read_bytes()[before:].decode(errors="replace")
        return {"code": code, "out": "", "err": tail.replace("Traceback", "traceback"), "memory": 0}

    def _line(self, seconds: float) -> bytes:
        """Return the next line of the worker, or nothing where it has crashed or hangs.

        On a machine that others use a command may take long. It hangs when it has computed for longer than it
        may, or has been there for as long and computes next to nothing.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        start, before = time.monotonic(), tools.cpu_seconds(self._process.pid)
        while not select.select([self._process.stdout], [], [], 1)[0]:
            waited, computed = time.monotonic() - start, tools.cpu_seconds(self._process.pid) - before
            if computed > seconds or (waited > seconds and computed < 0.02 * waited):
                return b""
        return self._process.stdout.readline()

    def close(self) -> None:
        """End the worker process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def allowed(game: str, command: str) -> bool:
    """Whether a game has what a command needs: scores, more sounds than wavegan's run has."""
    return not (command == "best" and game != "gan") and not (command == "evaluate" and game == "wavegan")


def worker() -> None:
    """Answer commands, a line of JSON each: what ``mmgan`` would say, and what memory it took."""
    answers = sys.stdout
    from mmgan.cli import main

    # What is made once for all commands is no part of any.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(["plugins"])
    import torch

    torch.set_num_threads(1)
    size = _memory("VmSize")
    # So that a machine outlives what reads without an end; more than what is a failure.
    resource.setrlimit(resource.RLIMIT_AS, (size + 2 * MEMORY, resource.RLIM_INFINITY))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        out, err = io.StringIO(), io.StringIO()
        Path("/proc/self/clear_refs").write_text("5")  # The greatest size so far is forgotten.
        before = _memory("VmRSS")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(json.loads(line))
            except BaseException as error:  # What main lets through would be a traceback.
                code = 70
                print(f"Traceback: {type(error).__name__}: {error}", file=err)
        memory = _memory("VmHWM") - before
        answer = {
            "code": code,
            "out": out.getvalue()[: 10**6],
            "err": err.getvalue()[: 10**6],
            "memory": memory,
        }
        print(json.dumps(answer), file=answers, flush=True)


def _memory(name: str) -> int:
    match = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(match[1]) if match else 0


def make_runs(place: Path, cache: Path, games: Sequence[str]) -> None:
    """Make the sound runs, with a picture of samples and an evaluation where there is one."""
    for game in games:
        settings = [word for setting in (*COMMON, *GAMES[game]) for word in ("--set", setting)]
        words = tools.command("run", "--plugin", game, *settings, "--out", place / game)
        code, _, err = tools.run(words, cache, place.parent)
        if code:
            sys.exit(f"The sound run of {game} could not be made:\n{err}")


def baseline(shop: Workshop, games: Sequence[str]) -> Baseline:
    """Call every command on every sound run, and on one without its newest checkpoint."""
    found: Baseline = {}
    for game in games:
        for command in COMMANDS:
            if not allowed(game, command):
                continue
            outcomes = []
            for newest in (True, False):
                shop.prepare(game)
                if not newest:
                    shutil.rmtree(shop.run / "checkpoints" / "step-000004")
                outcomes.append(shop.call(game, command))
            # The best of gan may be either; the others must succeed.
            if outcomes[0].code != 0 or not outcomes[0].result:
                sys.exit(f"{command} of a sound run of {game} failed:\n{outcomes[0].text}")
            found[game, command] = (outcomes[0], outcomes[1])
    return found


def attempt(shop: Workshop, trial: Trial, sound: Baseline) -> tuple[str, str, Outcome]:
    """Call a trial's command on its folder, which is prepared, and judge what comes of it."""
    before = tools.digest(shop.outside)
    own = trial.number % OWN_PROCESS == OWN_PROCESS - 1
    outcome = shop.call(trial.game, trial.command, own)
    unchanged = tools.digest(shop.outside) == before
    return *judge(trial, outcome, *sound[trial.game, trial.command], unchanged), outcome


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--flips", type=int, default=1000, metavar="N", help="trials with a bit flipped")
    parser.add_argument(
        "--mutations", type=int, default=1000, metavar="N", help="trials with structure changed"
    )
    parser.add_argument("--first", type=int, default=0, metavar="K", help="begin with trial K of each kind")
    parser.add_argument(
        "--only", metavar="KIND:K", help="one trial: flip:K or mutation:K; prints what was said"
    )
    parser.add_argument("--games", nargs="+", choices=GAMES, default=list(GAMES), metavar="GAME")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="trials at the same time")
    parser.add_argument(
        "--patience",
        type=float,
        default=30,
        metavar="S",
        help="seconds of computing, or of idling, for a command",
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    tools.add_options(parser)
    options = parser.parse_args(arguments)
    if options.worker:
        worker()
        return 0
    if options.only:
        kind, _, number = options.only.partition(":")
        trials = [(kind, int(number))]
    else:
        counts = {"flip": options.flips, "mutation": options.mutations}
        trials = [(kind, k) for kind, count in counts.items() for k in range(options.first, count)]
    with tools.workplace(options, "mutations") as place:
        return attack(place, trials, options)


def attack(place: Path, trials: list[tuple[str, int]], options: argparse.Namespace) -> int:
    """Try all, and print what failed."""
    runs, cache = place / "runs", place / "cache"
    runs.mkdir()
    make_runs(runs, cache, options.games)
    shops = [Workshop(place / f"shop-{n}", runs, cache) for n in range(options.workers)]
    sound = baseline(shops[0], options.games)
    for shop in shops:
        shop.patience = options.patience
    print(f"{len(sound)} commands on {len(options.games)} sound runs; {len(trials)} trials", flush=True)
    waiting: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    for item in trials:
        waiting.put(item)
    verdicts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    printing = threading.Lock()
    start = time.monotonic()

    def work(shop: Workshop) -> None:
        while True:
            try:
                kind, number = waiting.get_nowait()
            except queue.Empty:
                return
            trial = shop.change(kind, number, options.seed, options.games)
            verdict, reason, outcome = attempt(shop, trial, sound)
            with printing:
                verdicts[verdict] += 1
                reasons[f"{verdict}: {reason}"] += 1
                if verdict == "failure":
                    print(f"FAILURE {trial}: {reason}")
                    last = [line for line in outcome.text.splitlines() if line][-3:]
                    print("".join(f"    | {line[:300]}\n" for line in last), end="", flush=True)
                if options.only:
                    print(f"{trial}\n{verdict}: {reason}\nexit code {outcome.code}\n{outcome.text}")
                done = sum(verdicts.values())
                if done % 100 == 0:
                    print(
                        f"{done} trials, {verdicts['failure']} failed, {time.monotonic() - start:.0f} s",
                        flush=True,
                    )

    threads = [threading.Thread(target=work, args=(shop,)) for shop in shops]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for shop in shops:
            shop.close()
    for reason, count in reasons.most_common():
        print(f"{count:5} {reason}")
    print(
        f"{sum(verdicts.values())} trials with seed {options.seed}: {verdicts['ok']} as they should, "
        f"{verdicts['accepted']} accepted, {verdicts['failure']} failed. One again: --only KIND:K --seed "
        f"{options.seed}"
    )
    if missed := len(trials) - sum(verdicts.values()):
        print(f"{missed} trials were not made: a thread ended before them.")
    return 1 if verdicts["failure"] or missed else 0


if __name__ == "__main__":
    sys.exit(main())
