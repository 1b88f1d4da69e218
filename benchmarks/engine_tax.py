"""What the engine costs: a step through mmgan beside the same step in a bare loop.

Both compute the same: the same networks, batch, precision, memory format and optimizer, data in memory, fakes
made once a step. They alternate in one process, some steps of the one and then as many of the other, and the
figure is the ratio of their medians over the rounds. Run it on an idle machine.

    python benchmarks/engine_tax.py --rounds 10 > tax.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bare_models import build_discriminator, build_generator
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

import mmgan
from mmgan.config import check
from mmgan.plugins import Plugins
from mmgan_gan.networks import point_discriminator, point_generator

Step = Callable[[], None]


class Pictures(mmgan.Dataset):
    """Random pictures in memory: a real data set would say more of the disk than of the engine."""

    description = "random pictures"

    def __init__(self, size: int) -> None:
        self.pictures = torch.rand(1024, 3, size, size) * 2 - 1

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, indices: Tensor, draw: mmgan.Draw) -> Tensor:
        """Return pictures (batch, 3, size, size)."""
        return self.pictures[indices]


def bare_step(
    g: nn.Module, d: nn.Module, batch: Callable[[], Tensor], latents: Callable[[], Tensor], **options: Any
) -> Step:
    """Return a step of the plain game, as it is written by hand."""
    precision, lr, betas = options["precision"], options["lr"], options["betas"]
    if options["channels_last"]:
        g.to(memory_format=torch.channels_last)
        d.to(memory_format=torch.channels_last)
    opt_g = torch.optim.Adam(g.parameters(), lr, betas, fused=True)
    opt_d = torch.optim.Adam(d.parameters(), lr, betas, fused=True)

    def autocast() -> Any:
        return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()

    def step() -> None:
        real = batch()
        with autocast():
            fake = g(latents())
            on_real, on_fake = d(real).float(), d(fake.detach()).float()
            loss = bce(on_real, torch.ones_like(on_real)) + bce(on_fake, torch.zeros_like(on_fake))
        opt_d.zero_grad(set_to_none=True)
        loss.backward()
        opt_d.step()
        # Frozen, as the engine does it too: else the bare loop would compute gradients that it throws away.
        d.requires_grad_(False)
        with autocast():
            on_fake = d(fake).float()
            loss = bce(on_fake, torch.ones_like(on_fake))
        opt_g.zero_grad(set_to_none=True)
        loss.backward()
        opt_g.step()
        d.requires_grad_(True)

    return step


class Alternator:
    """A listener that runs the bare loop between stretches of the engine's, and times both."""

    def __init__(self, bare: Step, stretch: int) -> None:
        self.bare, self.stretch = bare, stretch
        self.engine_times: list[float] = []
        self.bare_times: list[float] = []
        self.start = 0.0

    @mmgan.hookimpl
    def before_run(self) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    @mmgan.hookimpl(trylast=True)
    def after_step(self, step: int) -> None:
        """Change over after every stretch."""
        if step % self.stretch:
            return
        self.engine_times.append((time.perf_counter() - self.start) / self.stretch)
        start = time.perf_counter()
        for _ in range(self.stretch):
            self.bare()
        self.bare_times.append((time.perf_counter() - start) / self.stretch)
        self.start = time.perf_counter()


def measure(
    plugin: str, bare: Step, stretch: int, rounds: int, dataset: mmgan.Dataset | None, **settings: Any
) -> Any:
    """Return the medians over the rounds, without the first, and their ratio and difference."""
    alternator = Alternator(bare, stretch)
    plugins = Plugins(alternator)
    task = plugins.task(plugin)
    if dataset is not None:
        task = type(task.__name__, (task,), {"data": lambda self: dataset})
        plugins.tasks[plugin].thing = task
    # All that a run does by default, but sampling and saving, which both happen at the very end.
    settings |= {"plugin": plugin, "steps": stretch * (rounds + 1), "device": "cpu"}
    settings |= {"sample_every": 0, "checkpoint_every": 0}
    with tempfile.TemporaryDirectory() as folder:
        run = mmgan.new_run(check(task.Config, settings), plugins, Path(folder) / "run")
        mmgan.train(run)
    engine = statistics.median(alternator.engine_times[1:])
    by_hand = statistics.median(alternator.bare_times[1:])
    ratios = [a / b for a, b in zip(alternator.engine_times[1:], alternator.bare_times[1:], strict=True)]
    return {
        "engine_ms": round(engine * 1e3, 3),
        "bare_ms": round(by_hand * 1e3, 3),
        "ratio": round(statistics.median(ratios), 4),
        "more_us": round((engine - by_hand) * 1e6, 1),
    }


def dcgan(rounds: int, precision: str) -> Any:
    """DCGAN at 64 pixels, as the paper: width 64, batch 64."""
    data = Pictures(64)
    batch = lambda: data.pictures[torch.randint(len(data), (64,))]  # noqa: E731
    g, d = build_generator(64, 3, 64, 100), build_discriminator(64, 3, 64)
    latents = lambda: torch.randn(64, 100, 1, 1)  # noqa: E731
    options = {"precision": precision, "lr": 2e-4, "betas": (0.5, 0.999), "channels_last": True}
    bare = bare_step(g, d, batch, latents, **options)
    # Without the moving average, which the bare loop does not have.
    return measure(
        "dcgan",
        bare,
        4,
        rounds,
        data,
        size=64,
        channels=3,
        width=64,
        batch_size=64,
        ema=0.0,
        precision=precision,
    )


def ring(rounds: int) -> Any:
    """The fully connected GAN on the ring, with PacGAN's networks and batch."""
    points = torch.randn(100_000, 2)
    batch = lambda: points[torch.randint(len(points), (100,))]  # noqa: E731
    g, d = point_generator(2, 400, batch_norm=True), point_discriminator(2, 200, dropout=0.0)
    options = {"precision": "fp32", "lr": 1e-4, "betas": (0.8, 0.999), "channels_last": False}
    bare = bare_step(g, d, batch, lambda: torch.randn(100, 2), **options)
    return measure("gan", bare, 100, rounds, None, data="ring", precision="fp32", ema=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10, help="rounds that are counted (default 10)")
    parser.add_argument(
        "--precision", default="bf16", choices=("fp32", "bf16"), help="of dcgan (default bf16)"
    )
    parser.add_argument("--only", choices=("dcgan", "gan"), help="one of the two")
    arguments = parser.parse_args()
    results: dict[str, Any] = {"torch": str(torch.__version__), "threads": torch.get_num_threads()}
    if arguments.only != "dcgan":
        results["gan ring"] = ring(arguments.rounds)
        print(f"gan ring: {results['gan ring']}", file=sys.stderr)
    if arguments.only != "gan":
        name = f"dcgan 64 {arguments.precision}"
        results[name] = dcgan(arguments.rounds, arguments.precision)
        print(f"{name}: {results[name]}", file=sys.stderr)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
