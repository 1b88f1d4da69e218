"""Stacked MNIST: how many of 1,000 modes a generator knows, and how evenly.

    python benchmarks/studies/stacked_mnist.py --mnist DATA --out runs/stacked-mnist
    python benchmarks/studies/stacked_mnist.py --out runs/stacked-mnist --table

The protocol of Srivastava et al. 2017 and Lin et al. 2018: 128,000 pictures of three digits, 26,000 samples,
a classifier that reads them. All rows are trained at 32 pixels for ``--steps`` batches of 64 (the papers':
100,000 at 28 pixels). Below the baseline and the two games that should win stands an ablation: the same
networks with both penalties or with R1 alone, under the relativistic pairing loss and under GAN's own (Huang
et al. 2024, table 1). The first line of the results is what real pictures get from the judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from study import Row, Study, arguments_of, chosen, markdown, mean, play
from torch import Tensor

import mmgan
from mmgan.data.image.dataset import ImageData

BASE: dict[str, Any] = {
    "data": "stacked-mnist", "size": 32, "channels": 3, "batch_size": 64, "log_every": 500,
    "sample_every": 2000, "evaluate_every": 0,
}  # fmt: skip
#: DCGAN's networks in the paper's own game.
DCGAN = {"plugin": "dcgan", "preset": "paper"}
#: The same networks at the rates that the two penalties let them bear.
BOTH = {"plugin": "dcgan", "preset": "r1r2", "loss": "nonsaturating", "penalty": "r1r2", "lr_end": 2e-4}
ONE = BOTH | {"penalty": "r1"}
PAIRING = {"loss": "rpgan"}
ROWS = [
    Row("DCGAN", DCGAN),
    Row("RpGAN + R1 + R2", BOTH | PAIRING),
    Row("R3GAN", {"plugin": "r3gan", "preset": "small-cpu"}),
    Row("GAN + R1 + R2", BOTH),
    Row("RpGAN + R1", ONE | PAIRING),
    Row("GAN + R1", ONE),
]
REAL = "real pictures"
#: Lin et al. 2018, table 2; Huang et al. 2024, table 1 and text.
PUBLISHED = [
    ["DCGAN (published)", "99", "3.40"],
    ["VEEGAN (published)", "150", "2.95"],
    ["PacDCGAN2 (published)", "1000", "0.06"],
    ["StyleGAN2 (published)", "940", "0.42"],
    ["R3GAN (published)", "1000", "0.029"],
    ["RpGAN + R1 + R2 (published ablation)", "1000", "0.078"],
    ["GAN + R1 + R2 (published ablation)", "693", "0.927"],
    ["a perfect sampler", "1000", "0.0192"],
]


def pictures(run: mmgan.Run, n: int) -> Iterator[Tensor]:
    """Yield ``n`` samples of a run in batches, (…, 3, 32, 32) in [-1, 1]."""
    chunks: Any = run.sample_chunks(n, seed=0)
    return (chunk.images for chunk in chunks)


def judged(data: ImageData, batches: Iterator[Tensor]) -> dict[str, float]:
    """Return the scores that only these data have: modes, mode_kl, judge_error."""
    assert data.judge is not None
    return dict(data.judge.scores(batches, torch.device("cpu"), None))


def table(study: Study) -> str:
    """Return the table: modes and KL, and with how many runs, steps and seconds they were had."""
    rows = []
    for name in (REAL, *(row.name for row in ROWS)):
        if lines := study.of(row=name):
            modes = [line["modes"] for line in lines]
            seconds = sum(line["seconds"] for line in lines) / len(lines)
            cells = [mean(modes, 1), f"{min(modes):.0f}", mean([line["mode_kl"] for line in lines], 3)]
            rows.append([name, *cells, str(len(lines)), f"{lines[0]['steps']:,}", f"{seconds:,.0f}"])
    rows += [[name, modes, "", kl, "", "", ""] for name, modes, kl in PUBLISHED]
    return markdown(["", "modes", "least", "KL", "runs", "steps", "s"], rows)


def main(arguments: list[str] | None = None) -> None:
    parser = arguments_of(__doc__, ROWS, seeds=3, out="runs/stacked-mnist")
    parser.add_argument("--mnist", type=Path, default=Path("data"), help="the folder that holds MNIST/")
    parser.add_argument("--steps", type=int, default=20_000, help="steps of a run (%(default)s)")
    parser.add_argument("--width", type=int, default=64, help="dcgan's width: the papers' networks have 64")
    parser.add_argument("--samples", type=int, default=26_000, help="samples that are judged (%(default)s)")
    args = parser.parse_args(arguments)
    base = BASE | {"data_root": str(args.mnist), "steps": args.steps}

    def work(study: Study) -> None:
        for seed in range(args.seeds):
            for row in chosen(ROWS, args):
                key = {"row": row.name, "seed": seed}
                if study.has(**key):
                    continue
                width = {"width": args.width} if row.settings["plugin"] == "dcgan" else {}
                run = study.trained(f"{row.slug}-{seed}", base | width | row.settings | {"seed": seed})
                data: ImageData = run.dataset
                if not study.has(row=REAL):
                    which = torch.arange(min(args.samples, len(data)))
                    real = (data.pictures(part) for part in which.split(500))
                    study.add({"row": REAL, "steps": 0, "seconds": 0} | judged(data, real))
                line = {"steps": run.step, "seconds": round(run.seconds, 1)}
                study.add(key | line | judged(data, pictures(run, args.samples)))

    play(args, work, table)


if __name__ == "__main__":
    main()
