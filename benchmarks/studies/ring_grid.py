"""Ring and grid: how many modes are found, how sharply, and how evenly (PacGAN's protocol).

    python benchmarks/studies/ring_grid.py --out runs/ring-grid
    python benchmarks/studies/ring_grid.py --out runs/ring-grid --table

Lin et al. 2018, section 4.1: eight Gaussians on a circle and 25 on a grid; 2,500 samples of each run are
scored; ten runs. Their GAN trains for 400 epochs of 100,000 points, 400,000 steps of 100; ours and both
baselines get ``--steps`` steps, so the baselines are not theirs: their published figures stand below.
"""

from __future__ import annotations

from study import Row, Study, arguments_of, chosen, markdown, mean, play

BASE = {"plugin": "gan", "log_every": 1000, "sample_every": 0, "evaluate_every": 0}
#: What the relativistic loss with both penalties is given: rates, penalty and decay rates fall by cosines.
PAIRING = {
    "loss": "rpgan",
    "penalty": "r1r2",
    "batch_norm": False,
    "width": 128,
    "batch_size": 256,
    "lr": 3e-3,
    "lr_end": 1.5e-5,
    "betas": [0.0, 0.99],
    "penalty_weight": 0.05,
    "penalty_weight_end": 0.0003,
    "ema": 0.999,
}
ROWS = [
    Row("GAN", {}),
    Row("PacGAN2", {"packing": 2}),
    Row("RpGAN + R1 + R2", PAIRING),
]
DATA = ("ring", "grid")
#: Lin et al. 2018, table 1: means and standard errors of 10 runs.
PUBLISHED = [
    "GAN (published) | 6.3 ± 0.5 | 98.2 ± 0.2 | 0.45 ± 0.09 | 17.3 ± 0.8 | 94.8 ± 0.7 | 0.70 ± 0.07",
    "PacGAN2 (published) | 7.9 ± 0.1 | 95.6 ± 2.0 | 0.07 ± 0.03 | 23.8 ± 0.7 | 91.3 ± 0.8 | 0.13 ± 0.04",
    "PacGAN4 (published) | 7.8 ± 0.1 | 95.9 ± 1.4 | 0.07 ± 0.02 | 24.8 ± 0.2 | 93.6 ± 0.6 | 0.04 ± 0.01",
    "a perfect sampler | 8 | 98.9 | 0.0014 | 25 | 98.9 | 0.0048",
]


def table(study: Study) -> str:
    """Return the table: for each of both data sets modes, high quality in %, and reverse KL."""
    columns = [f"{data}: {what}" for data in DATA for what in ("modes", "HQ %", "reverse KL")]
    rows = []
    for row in ROWS:
        cells, seconds = [], []
        for data in DATA:
            lines = study.of(row=row.name, data=data)
            seconds += [line["seconds"] for line in lines]
            cells += [
                mean([line["modes"] for line in lines], 1),
                mean([100 * line["high_quality"] for line in lines], 1),
                mean([line["reverse_kl"] for line in lines], 4),
            ]
        if seconds:
            counts = [str(len(study.of(row=row.name, data=data))) for data in DATA]
            rows.append([row.name, *cells, " and ".join(counts), f"{sum(seconds) / len(seconds):.0f}"])
    published = ([*line.split(" | "), "10", ""] for line in PUBLISHED)
    return markdown(["", *columns, "runs", "seconds"], [*rows, *published])


def main(arguments: list[str] | None = None) -> None:
    parser = arguments_of(__doc__, ROWS, seeds=10, out="runs/ring-grid")
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA, help="which (both)")
    parser.add_argument("--steps", type=int, default=12_000, help="steps of a run (%(default)s)")
    args = parser.parse_args(arguments)

    def work(study: Study) -> None:
        for seed in range(args.seeds):
            for row in chosen(ROWS, args):
                for data in args.data:
                    key = {"row": row.name, "data": data, "seed": seed}
                    if study.has(**key):
                        continue
                    settings = BASE | row.settings | {"data": data, "seed": seed, "steps": args.steps}
                    run = study.trained(f"{data}-{row.slug}-{seed}", settings)
                    study.add(key | {"steps": run.step, "seconds": round(run.seconds, 1)} | run.evaluate())

    play(args, work, table)


if __name__ == "__main__":
    main()
