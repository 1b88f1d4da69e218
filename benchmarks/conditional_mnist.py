"""A conditional DCGAN on MNIST: does it draw the digit that is asked for, and as well as without labels?

    python benchmarks/conditional_mnist.py --root DATA --judge judge.pt --minutes 10 --threads 2 \
        --out runs/conditional --unconditional-out runs/unconditional

trains dcgan for ten minutes, asks for each digit, and lets ``judge.py`` read what comes. Then it trains dcgan
without labels for as many steps, and compares the judge's Fréchet distances of both: of 10,000 pictures, of
which each digit has the share that it has in the data. ``accuracy_score`` says what 60,000 pictures are worth
as training data: how many of the test digits a classifier reads that learned from them alone. A run that was
stopped is resumed, and one that is whole is only judged. One JSON line is printed for each run; time is that
spent in steps.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from conditional import agreement, trained
from judge import Judge, mnist, open_judge
from torch import Tensor

import mmgan

SETTINGS: dict[str, Any] = {"plugin": "dcgan", "data": "torchvision:MNIST", "size": 32, "width": 32}
#: How many pictures of each digit are read, of how many the distance is, and from how many one can learn.
EACH, JUDGED, TAUGHT = 1_000, 10_000, 60_000
DIGITS = [str(digit) for digit in range(10)]


def pictures(run: mmgan.Run, n: int, seed: int, **conditions: Any) -> Tensor:
    """Return ``n`` generated pictures, float32 (n, 1, 32, 32) in [-1, 1]."""
    return torch.cat([chunk.images for chunk in run.sample_chunks(n, seed=seed, **conditions)])


def shares(labels: Tensor, n: int) -> list[int]:
    """Return how many of ``n`` pictures each digit has, so that their shares are those in ``labels``."""
    counts = torch.bincount(labels, minlength=len(DIGITS))
    # From one rounded border to the next, so that they are n in all.
    borders = [0, *(counts.cumsum(0) * n / counts.sum()).round().long().tolist()]
    return [end - start for start, end in itertools.pairwise(borders)]


def judged(run: mmgan.Run, judge: Judge, labels: Tensor) -> Iterator[tuple[str, Any]]:
    """Yield what the judge says of a conditional run, by name.

    Args:
        run: The run.
        judge: Who reads the digits.
        labels: int64 (n,), those of the data.
    """
    drawn = torch.cat([pictures(run, EACH, 100 + number, label=digit) for number, digit in enumerate(DIGITS)])
    asked = torch.arange(len(DIGITS)).repeat_interleave(EACH)
    yield from agreement(judge.read(drawn), asked, DIGITS).items()
    scores = judge.score(like_data(run, labels, JUDGED)[0])
    yield from ((name, scores[name]) for name in ("distance", "clear"))
    yield "accuracy_score", judge.worth(*like_data(run, labels, TAUGHT))


def like_data(run: mmgan.Run, labels: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return ``n`` generated pictures, of which each digit has its share in ``labels``; and their digits."""
    counts = shares(labels, n)
    asked = [(digit, count) for digit, count in enumerate(counts) if count]
    parts = [pictures(run, count, 200 + digit, label=DIGITS[digit]) for digit, count in asked]
    return torch.cat(parts), torch.arange(len(DIGITS)).repeat_interleave(torch.tensor(counts))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--root", type=Path, required=True, help="the folder that holds torchvision's MNIST/")
    add("--judge", type=Path, required=True, help="the judge's file; trained if missing")
    add("--minutes", type=float, default=10.0, help="minutes of training with labels (%(default)s)")
    add("--seed", type=int, default=0, help="seed (%(default)s)")
    add("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    add("--out", type=Path, required=True, help="the folder of the run with labels")
    add("--unconditional-out", type=Path, help="the folder of a run without labels of as many steps")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    judge = open_judge(args.root, args.judge)
    settings = SETTINGS | {"data_root": str(args.root), "seed": args.seed}
    run = trained(settings | {"conditional": True, "steps": 10**6}, args.out, args.minutes)
    line = {"conditional": True, "steps": run.step, "seconds": round(run.seconds, 1)}
    line |= dict(judged(run, judge, mnist(args.root, train=True)[1]))
    print(json.dumps(line), flush=True)
    if args.unconditional_out:
        plain = trained(settings | {"steps": run.step}, args.unconditional_out)
        line = {"conditional": False, "steps": plain.step, "seconds": round(plain.seconds, 1)}
        line |= {"distance": judge.score(pictures(plain, JUDGED, 200))["distance"]}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
