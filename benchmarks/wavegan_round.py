"""A round of WaveGAN (5 critic updates, 1 generator update) through mmgan, beside the plain float32 loop.

The plain loop is ``bare_wavegan.py``: float32 and the library's convolutions. mmgan runs with its defaults
(metrics, the watch for NaN, TensorBoard) in the precision that is asked for. The two alternate in one
process; the figure is the median over the rounds of plain time / mmgan's time. Run it on an idle machine.

    python benchmarks/wavegan_round.py --rounds 5 > wavegan.json
"""

from __future__ import annotations

import argparse
import json
import sys

import torch
from bare_wavegan import round_of_training
from engine_tax import measure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds that are counted (default 5)")
    parser.add_argument("--stretch", type=int, default=2, help="steps of each loop in a round (default 2)")
    parser.add_argument("--dim", type=int, default=32, help="channels of the first layer (default 32)")
    parser.add_argument("--batch-size", type=int, default=16, help="sounds in a batch (default 16)")
    parser.add_argument("--precision", default="auto", help="mmgan's: auto, fp32 or bf16 (default auto)")
    arguments = parser.parse_args()
    sounds = torch.rand(256, 1, 16_384) * 2 - 1
    bare = round_of_training(
        arguments.dim,
        arguments.batch_size,
        lambda: sounds[torch.randint(len(sounds), (arguments.batch_size,))],
    )
    settings = {"dim": arguments.dim, "batch_size": arguments.batch_size, "precision": arguments.precision}
    result = measure(
        "wavegan",
        bare,
        arguments.stretch,
        arguments.rounds,
        None,
        data="drums:256",
        length=16_384,
        **settings,
    )
    times = {"mmgan_ms": result["engine_ms"], "bare_ms": result["bare_ms"]}
    figures = {"torch": str(torch.__version__), "threads": torch.get_num_threads(), **settings, **times}
    figures["times_faster"] = round(1 / result["ratio"], 3)
    print(figures, file=sys.stderr)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
