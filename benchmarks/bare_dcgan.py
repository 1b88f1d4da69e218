"""A bare PyTorch DCGAN on MNIST, as a good practitioner would write it by hand, judged at marks of time.

    python benchmarks/bare_dcgan.py --root DATA --judge judge.pt --precision bf16 --seconds 60,120

prints one JSON line at each mark: seconds of training (the clock stands still while the pictures are judged),
steps, milliseconds a step, and the judge's distance of 10,000 generated pictures, of G and of its average.
It shares with mmgan the preparation of the pictures and nothing else.

    python benchmarks/bare_dcgan.py --time 20 --size 64 --channels 3 --width 64

times steps on random pictures instead, once for each precision, memory format and optimizer.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from bare_models import build_discriminator, build_generator
from judge import mnist, open_judge
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torchvision.utils import save_image

JUDGED = 10_000


class Training:
    """G, D, their optimizers, and one step of the game.

    Args:
        args: The command line's.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        layout = torch.channels_last if args.channels_last else torch.contiguous_format
        device = getattr(args, "device", "cpu")
        self.g = build_generator(args.size, args.channels, args.width, args.latent)
        self.d = build_discriminator(args.size, args.channels, args.width)
        for network in (self.g, self.d):
            network.to(device, memory_format=layout)
        # The moving average's buffers, batch norm's running statistics, are copied: they average already.
        self.average = copy.deepcopy(self.g) if args.ema else None
        self.ema = args.ema
        self.g_opt = self._adam(self.g, args)
        self.d_opt = self._adam(self.d, args)
        self.layout = layout
        self.bf16 = args.precision == "bf16"
        self.latent = args.latent
        self.ones = torch.ones(args.batch_size, device=device)
        self.zeros = torch.zeros(args.batch_size, device=device)

    @staticmethod
    def _adam(module: nn.Module, args: argparse.Namespace) -> torch.optim.Adam:
        # So a CUDA graph may hold it.
        capturable = args.fused and getattr(args, "device", "cpu") != "cpu"
        return torch.optim.Adam(
            module.parameters(), 2e-4, (0.5, 0.999), fused=args.fused or None, capturable=capturable
        )

    def step(self, real: Tensor) -> tuple[Tensor, Tensor]:
        """Update D, then G by the same fakes; return their losses, detached."""
        real = real.contiguous(memory_format=self.layout)
        latents = torch.randn(len(real), self.latent, 1, 1, device=real.device)
        self.d.requires_grad_(True)
        self.d_opt.zero_grad(set_to_none=True)
        with torch.autocast(real.device.type, torch.bfloat16, enabled=self.bf16):
            fake = self.g(latents)
            d_loss = bce(self.d(real), self.ones) + bce(self.d(fake.detach()), self.zeros)
        d_loss.backward()
        self.d_opt.step()

        # In G's phase the gradients of D's weights would be computed for nothing.
        self.d.requires_grad_(False)
        self.g_opt.zero_grad(set_to_none=True)
        with torch.autocast(real.device.type, torch.bfloat16, enabled=self.bf16):
            g_loss = bce(self.d(fake), self.ones)
        g_loss.backward()
        self.g_opt.step()

        if self.average is not None:
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.parameters()), list(self.g.parameters()), 1 - self.ema)
                torch._foreach_copy_(list(self.average.buffers()), list(self.g.buffers()))
        return d_loss.detach(), g_loss.detach()

    def generate(self, generator: nn.Module, n: int, statistics: str) -> Tensor:
        """Generate n pictures in fp32, always from the same latents.

        Args:
            generator: G or its average; it is left as it was.
            n: How many.
            statistics: What batch norm normalises by: "running" averages, or those of the "batch" (of 500).
        """
        generator = copy.deepcopy(generator).train(statistics == "batch")
        latents = torch.randn(n, self.latent, 1, 1, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            return torch.cat([generator(batch) for batch in latents.split(500)]).contiguous()


def batches(data: Tensor, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Yield batches without end, shuffled anew each epoch; an epoch's incomplete last batch is left out."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        for index in torch.randperm(len(data), generator=generator).split(batch_size):
            if len(index) == batch_size:
                yield data[index]


def train(args: argparse.Namespace) -> None:
    """Train on MNIST, and print a line at each mark of time."""
    judge = open_judge(args.root, args.judge)
    training, stream = Training(args), batches(mnist(args.root, train=True)[0], args.batch_size, args.seed)
    for _ in range(3):  # the first steps of a process choose kernels; they count for nobody
        copy.deepcopy(training).step(next(stream))
    seconds, steps = 0.0, 0
    for mark in args.seconds:
        start = time.perf_counter() - seconds
        while (seconds := time.perf_counter() - start) < mark:
            d_loss, g_loss = training.step(next(stream))
            steps += 1
            if steps % 500 == 0:
                print(f"step {steps}: {seconds:.0f} s, D {d_loss:.3f}, G {g_loss:.3f}", file=sys.stderr)
        pictures = training.generate(training.g, JUDGED, args.statistics)
        scores = judge.score(pictures)
        line = {
            "seconds": mark,
            "steps": steps,
            "step_ms": round(1000 * seconds / steps, 2),
            "distance": scores["distance"],
            "distance_ema": None,
            "confidence": scores["confidence"],
            "histogram": scores["histogram"],
        }
        if training.average is not None:
            pictures = training.generate(training.average, JUDGED, args.statistics)
            averaged = judge.score(pictures)
            line |= {"distance_ema": averaged["distance"], "confidence_ema": averaged["confidence"]}
        print(json.dumps(line), flush=True)
    if args.grid:
        save_image(pictures[:64], args.grid, nrow=8, normalize=True, value_range=(-1, 1))


def time_steps(args: argparse.Namespace) -> None:
    """Print the median milliseconds of a step for each precision, memory format and optimizer."""
    real = torch.rand(args.batch_size, args.channels, args.size, args.size) * 2 - 1
    choices = list(itertools.product(("fp32", "bf16"), (False, True), (False, True)))
    runs = []
    for precision, channels_last, fused in choices:
        settings = {"precision": precision, "channels_last": channels_last, "fused": fused}
        training = Training(argparse.Namespace(**{**vars(args), **settings}))
        for _ in range(3):
            training.step(real)
        runs.append((settings, training, []))
    # In turns, so that whatever else the machine does falls on all of them alike.
    for _ in range(args.time):
        for _, training, found in runs:
            start = time.perf_counter()
            training.step(real)
            found.append(1000 * (time.perf_counter() - start))
    for settings, _, found in runs:
        figures = {"median_ms": sorted(found)[len(found) // 2], "least_ms": min(found)}
        print(json.dumps(settings | {name: round(value, 1) for name, value in figures.items()}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--root", type=Path, help="the folder that holds torchvision's MNIST/")
    add("--judge", type=Path, help="the judge's file; trained if missing")
    add("--seconds", type=_marks, default="60,120,240,480", help="marks of training time (%(default)s)")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16: by autocast (%(default)s)")
    add("--channels-last", action="store_true", help="weights and pictures in channels-last order")
    add("--fused", action="store_true", help="Adam's fused kernel")
    add("--ema", type=float, default=0.0, help="decay of G's moving average, such as 0.999; 0: none")
    add("--statistics", choices=("running", "batch"), default="running", help="batch norm's while sampling")
    add("--batch-size", type=int, default=64, help="pictures in a batch (%(default)s)")
    add("--width", type=int, default=32, help="feature maps next to the pictures (%(default)s)")
    add("--latent", type=int, default=100, help="length of a latent (%(default)s)")
    add("--seed", type=int, default=0, help="seed of weights, latents and order (%(default)s)")
    add("--threads", type=int, default=torch.get_num_threads(), help="CPU threads (%(default)s)")
    add("--grid", type=Path, help="where to save an 8x8 PNG at the end (of the average if there is one)")
    add("--time", type=int, metavar="N", help="only time N steps of each variant, on random pictures")
    add("--size", type=int, choices=(32, 64, 128), default=32, help="with --time: height and width")
    add("--channels", type=int, choices=(1, 3), default=1, help="with --time: channels")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.time:
        time_steps(args)
    elif args.root is None or args.judge is None:
        parser.error("--root and --judge are needed to train (or --time N to time steps)")
    elif (args.size, args.channels) != (32, 1):
        parser.error("--size and --channels are for --time: MNIST is trained on at 32x32 in grey")
    else:
        train(args)


def _marks(text: str) -> list[float]:
    """Read "60,120" as ascending seconds."""
    marks = [float(mark) for mark in text.split(",")]
    if marks != sorted(marks) or marks[0] <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: ascending seconds are needed, such as 60,120")
    return marks


if __name__ == "__main__":
    main()
