"""Does a translated digit stay what it was? CycleGAN between MNIST and its negative in ink on paper.

The two sides share no picture, and the answer is known, so a classifier that was trained on MNIST
(``judge.py``) can read translations both ways. Without the cycle loss nothing asks for the same digit.

    python benchmarks/cyclegan_mnist.py --root DATA --judge judge.pt --out runs/cycle --steps 6000
    python benchmarks/cyclegan_mnist.py --root DATA --judge judge.pt --out runs/none --set cycle_weight=0

Prints one JSON line: the part of 2,000 test digits that are read as what they were.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from judge import Judge, mnist, open_judge
from torch import Tensor

import mmgan
from mmgan import Plugins, resolve
from mmgan.config import parse_assignments
from mmgan.data.pairs.degradations import Recolor
from mmgan.listeners.progress import Progress

#: 32 pixels, two residual blocks, width 16: the digits' defaults, on MNIST.
SETTINGS = {
    "data": "torchvision:MNIST", "derive": "recolor", "size": 32, "load_size": 32, "flip": False,
    "batch_size": 4, "width": 16, "blocks": 2, "d_width": 16, "d_layers": 2,
}  # fmt: skip


def in_white(coloured: Tensor) -> Tensor:
    """Turn ink on paper (n, 3, h, w) into white on black (n, 1, h, w): the place between the colours."""
    paper, ink = (torch.tensor(colour).view(1, 3, 1, 1) * 2 - 1 for colour in (Recolor.paper, Recolor.ink))
    line = ink - paper
    return ((coloured - paper) * line).sum(1, keepdim=True) / line.square().sum() * 2 - 1


def kept(judge: Judge, pictures: Tensor, labels: Tensor) -> float:
    """Return the part of the pictures (n, 1, 32, 32) that are read as their labels (n,)."""
    with torch.inference_mode():
        return float((judge.classifier(pictures.clamp(-1, 1)).argmax(1) == labels).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="the folder that holds torchvision's MNIST/")
    parser.add_argument("--judge", type=Path, required=True, help="the judge's file; trained if missing")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    parser.add_argument("--steps", type=int, default=6000, help="length of the run (default 6000)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any setting")
    arguments = parser.parse_args()
    judge = open_judge(arguments.root, arguments.judge)
    plugins = Plugins(Progress(stream=sys.stderr))
    flags = SETTINGS | {"data_root": str(arguments.root), "steps": arguments.steps}
    config = resolve(
        plugins.task("cyclegan").Config, "cyclegan", flags=flags | parse_assignments(arguments.set)
    )
    run = mmgan.new_run(config, plugins, arguments.out)
    report = mmgan.train(run)
    digits, labels = mnist(arguments.root, train=False)
    digits, labels = digits[:2000], labels[:2000]
    a, b = Recolor().derive(digits.expand(-1, 3, -1, -1).contiguous(), None)
    there, back = (
        run.aside(lambda x=x, way=way: run.task.translate(x, way), 0) for x, way in ((a, "AtoB"), (b, "BtoA"))
    )
    figures = {
        "cycle_weight": config.cycle_weight,
        "steps": report.step,
        "seconds": round(report.seconds),
        "read_untranslated": kept(judge, digits, labels),
        "read_recoloured": kept(judge, in_white(b), labels),
        "kept_AtoB": kept(judge, in_white(there), labels),
        "kept_BtoA": kept(judge, back.mean(1, keepdim=True), labels),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
