"""mmgan's DCGAN on MNIST with everything on, judged at marks of time as ``bare_dcgan.py`` judges its loop.

    python benchmarks/dcgan_mnist.py --root DATA --judge judge.pt --seconds 60,120 --out runs/mnist

The clock counts all that `mmgan run` does: data, logging, TensorBoard, samples, checkpoints, the average of
G's weights. It only stands still while pictures are judged. One JSON line is printed at each mark.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from pathlib import Path

import torch
from bare_dcgan import JUDGED, _marks
from judge import Judge, open_judge
from torch import Tensor, nn

import mmgan
from mmgan.config import check
from mmgan.listeners.progress import Progress
from mmgan.plugins import Plugins


class Judging:
    """A listener that judges G and its average at marks of time, and stops the run after the last."""

    def __init__(self, judge: Judge, marks: list[float]) -> None:
        self.judge, self.marks = judge, marks
        self.start = 0.0

    @mmgan.hookimpl
    def before_run(self) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    @mmgan.hookimpl(trylast=True)
    def after_step(self, run: mmgan.Run, step: int) -> None:
        """Judge where a mark is reached."""
        seconds = time.perf_counter() - self.start
        if not self.marks or seconds < self.marks[0]:
            return
        player = run.players["G"]
        scores = self.judge.score(generate(player.module, run.config.latent))
        line = {
            "seconds": self.marks.pop(0),
            "steps": step,
            "step_ms": round(1000 * seconds / step, 2),
            "distance": scores["distance"],
            "distance_ema": None,
            "confidence": scores["confidence"],
            "histogram": scores["histogram"],
        }
        if player.average is not None:
            averaged = self.judge.score(generate(player.average, run.config.latent))
            line |= {"distance_ema": averaged["distance"], "confidence_ema": averaged["confidence"]}
        print(json.dumps(line), flush=True)
        if not self.marks:
            run.stop_signal = 2
        self.start = time.perf_counter() - seconds


def generate(generator: nn.Module, latent: int) -> Tensor:
    """Generate pictures in float32 by running statistics, always from the latents of the bare loop."""
    generator = copy.deepcopy(generator).eval()
    latents = torch.randn(JUDGED, latent, 1, 1, generator=torch.Generator().manual_seed(1)).flatten(1)
    with torch.inference_mode():
        return torch.cat([generator(chunk) for chunk in torch.split(latents, 500)]).contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--root", type=Path, required=True, help="the folder that holds torchvision's MNIST/")
    add("--judge", type=Path, required=True, help="the judge's file; trained if missing")
    add("--seconds", type=_marks, default="60,120,240,480", help="marks of time (%(default)s)")
    add("--precision", default="auto", help="as of mmgan run (%(default)s)")
    add("--seed", type=int, default=0, help="seed (%(default)s)")
    add("--out", type=Path, required=True, help="the run's new folder")
    args = parser.parse_args()
    plugins = Plugins(Judging(open_judge(args.root, args.judge), args.seconds), Progress(sys.stderr, 30.0))
    settings = {"plugin": "dcgan", "preset": "paper", "data": "torchvision:MNIST", "steps": 10**6}
    settings |= {"data_root": str(args.root)}
    settings |= {"width": 32, "precision": args.precision, "seed": args.seed}
    run = mmgan.new_run(check(plugins.task("dcgan").Config, settings), plugins, args.out)
    print(f"{run.precision.name}: {run.precision.reason}; {run.dataset.description}", file=sys.stderr)
    mmgan.train(run)


if __name__ == "__main__":
    main()
