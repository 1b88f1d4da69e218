"""Each game's case of the benchmarks, tiny."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from cases import Case

TINY: dict[str, dict[str, Any]] = {
    "gan": {"data": "ring", "width": 8, "batch_size": 4},
    "dcgan": {"preset": "paper", "size": 32, "channels": 1, "width": 4, "batch_size": 4, "ema": 0.0},
    "dcgan-r1r2": {"size": 32, "channels": 1, "width": 4, "batch_size": 4, "ema": 0.0, "penalty_every": 1},
    "r3gan": {
        "size": 32, "channels": 1, "widths": (8, 8, 8, 8), "group": 8, "batch_size": 4, "penalty_every": 1,
        "ema_half_life": 0.0,
    },
    "wavegan": {"length": 16_384, "dim": 1, "batch_size": 2, "ema": 0.0},
    "seqgan": {
        "data": "oracle", "vocabulary": 20, "batch_size": 4, "negatives": 8, "rollouts": 2,
        "mle_steps": 0, "pretrain_rounds": 0,
    },
    "pix2pix": {"size": 32, "width": 4, "d_width": 4, "d_layers": 1},
    # A pool so small that it gives old pictures back.
    "cyclegan": {"size": 32, "width": 4, "blocks": 1, "d_width": 4, "d_layers": 1, "pool": 1},
}  # fmt: skip

DCGAN = {"size": 32, "channels": 1, "width": 2, "batch_size": 2, "ema": 0.0}
#: There is no such plain loop.
BROKEN = Case("broken", "broken", "gan", {"data": "ring"}, loops=("mmgan", "plainest"))


def tiny(game: str, precision: str = "fp32") -> Case:
    settings = TINY.get(game) or TINY[game.partition("-")[0]]
    played = "dcgan" if game == "dcgan-r1r2" else game
    return Case("tiny", "tiny", played, settings, precision, 4 if game == "seqgan" else 1)
