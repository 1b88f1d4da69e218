"""Drum kits: WaveGAN's own game against the relativistic pairing loss with APA, for equally long.

    python benchmarks/studies/drums.py --data DATA/drums --out runs/drums
    python benchmarks/studies/drums.py --out runs/drums --table

Networks are those that learn in minutes on a CPU (``dim=16``). The pairing loss updates its critic once a
round, WGAN-GP five times, so that it gets about four times as many rounds.
"""

from __future__ import annotations

from study import Row, hold, racing

BASE = {"plugin": "wavegan", "dim": 16, "batch_size": 32, "evaluate_every": 0}
WGAN_GP = {"loss": "wgan", "penalty": "wgan-gp", "critic_steps": 5, "lr": 6e-4, "betas": [0.5, 0.9]}
PAIRING = {
    "loss": "rpgan",
    "penalty": "r1r2",
    "penalty_weight": 1.0,
    "penalty_every": 4,
    "critic_steps": 1,
    "lr": 1e-3,
    "betas": [0.0, 0.99],
}
ROWS = [
    Row("WGAN-GP", WGAN_GP),
    Row("RpGAN + R1 + R2", PAIRING),
    Row("RpGAN + R1 + R2, APA", PAIRING | {"augment": "apa"}),
]
COLUMNS = {
    "recall": ("recall_logmel", 2),
    "coverage": ("coverage_logmel", 2),
    "precision": ("precision_logmel", 2),
    "frechet_logmel": ("frechet_logmel", 0),
}


def main(arguments: list[str] | None = None) -> None:
    hold(racing(__doc__, ROWS, "runs/drums", 20), arguments, ROWS, lambda _: BASE, COLUMNS, shown=16)


if __name__ == "__main__":
    main()
