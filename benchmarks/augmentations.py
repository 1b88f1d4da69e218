"""What D sees: a picture of each augmentation, and how long each takes beside a step of DCGAN.

python benchmarks/augmentations.py sheet FOLDER FILE.png    draws rows of augmented pictures
python benchmarks/augmentations.py speed                    measures CPU time on one thread
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from bare_models import build_discriminator, build_generator
from PIL import Image, ImageDraw
from torch import Tensor

from mmgan.augment import Ada, Augmentation, DiffAugment, Diffusion, InstanceNoise
from mmgan.losses import adversarial_loss

#: What is drawn and measured: the class, its policy, and p.
KINDS: dict[str, tuple[type[Augmentation], str, float]] = {
    "diffaugment": (DiffAugment, "", 1.0),
    "ada blit, p 1": (Ada, "blit", 1.0),
    "ada geom, p 1": (Ada, "geom", 1.0),
    "ada color, p 1": (Ada, "color", 1.0),
    "ada bgc, p 0.2": (Ada, "bgc", 0.2),
    "ada bgc, p 0.8": (Ada, "bgc", 0.8),
    "ada bgcfnc, p 0.5": (Ada, "bgcfnc", 0.5),
    "diffusion, p 0.8": (Diffusion, "", 0.8),
    "noise 0.1": (InstanceNoise, "", 1.0),
}
SIDE, COLUMNS, LABEL = 64, 12, 120


def made(name: str) -> tuple[Augmentation, Tensor]:
    kind, policy, p = KINDS[name]
    config = SimpleNamespace(augment_policy=policy, augment_noise=0.1, steps=1, seed=0)
    return kind(config), torch.tensor(p)


def opened(path: Path) -> Tensor:
    """Return a picture (3, 64, 64) in [-1, 1], on white where it is transparent."""
    with Image.open(path) as file:
        picture = file.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    small = white.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1) / 127.5 - 1


def sheet(folder: Path, target: Path) -> None:
    """Draw the same pictures of a folder once for each augmentation."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".jpg"))
    if len(paths) < COLUMNS:
        sys.exit(f"{folder} has {len(paths)} pictures, and {COLUMNS} are needed.")
    pictures = torch.stack([opened(path) for path in paths[:: len(paths) // COLUMNS][:COLUMNS]])
    torch.manual_seed(1)
    rows = {"as they are": pictures}
    for name in KINDS:
        augmentation, p = made(name)
        rows[name] = augmentation.see(pictures, p)
    drawn = Image.new("RGB", (LABEL + COLUMNS * SIDE, len(rows) * SIDE), "white")
    for row, (name, shown) in enumerate(rows.items()):
        ImageDraw.Draw(drawn).text((4, row * SIDE + SIDE // 2 - 6), name, fill="black")
        pixels = (shown.clamp(-1, 1) * 127.5 + 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        for column, picture in enumerate(pixels):
            drawn.paste(Image.fromarray(picture), (LABEL + column * SIDE, row * SIDE))
    target.parent.mkdir(parents=True, exist_ok=True)
    drawn.quantize(256).save(target, optimize=True)


def milliseconds(work: Callable[[], object], rounds: int = 7) -> float:
    """Return the median CPU time of a call, after two that do not count."""
    times = []
    for _ in range(rounds + 2):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times[2:]) * 1000


def step(channels: int, size: int, width: int, batch: int) -> Callable[[], object]:
    """Return a step of a plain DCGAN: an update of D and one of G, in float32."""
    g, d = build_generator(size, channels, width, 100), build_discriminator(size, channels, width)
    losses = adversarial_loss("nonsaturating")
    optimizers = [torch.optim.Adam(m.parameters(), 2e-4, (0.5, 0.999)) for m in (d, g)]
    real = torch.rand(batch, channels, size, size) * 2 - 1

    def play() -> None:
        fake = g(torch.randn(batch, 100, 1, 1))
        for network, optimizer in zip((d, g), optimizers, strict=True):
            optimizer.zero_grad()
            loss: Any = (
                losses.discriminator(d(real), d(fake.detach())) if network is d else losses.generator(d(fake))
            )
            loss.backward()
            optimizer.step()

    return play


def speed() -> None:
    """Print what each augmentation costs in a step: of real pictures, of fakes, of fakes with gradient."""
    torch.set_num_threads(1)
    print("| what | 1x32x32 | 3x64x64 |\n|---|---|---|")
    shapes = ((1, 32), (3, 64))
    plain = [milliseconds(step(channels, size, 32, 64), 3) for channels, size in shapes]
    print(f"| a step of DCGAN, width 32, float32 | {plain[0]:.0f} ms | {plain[1]:.0f} ms |")
    for name in KINDS:
        cells = []
        for (channels, size), whole in zip(shapes, plain, strict=True):
            augmentation, p = made(name)
            given = torch.rand(64, channels, size, size) * 2 - 1

            def play(augmentation: Augmentation = augmentation, p: Tensor = p, given: Tensor = given) -> None:
                for _ in range(2):
                    augmentation.see(given, p)
                augmentation.see(given.clone().requires_grad_(), p).sum().backward()

            took = milliseconds(play)
            cells.append(f"{took:.1f} ms, {took / whole:.0%}")
        print(f"| {name} | {' | '.join(cells)} |")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("sheet", help="draw rows of augmented pictures")
    drawing.add_argument("folder", type=Path, help="pictures")
    drawing.add_argument("file", type=Path, help="the PNG to write")
    commands.add_parser("speed", help="measure")
    given = parser.parse_args(arguments)
    if given.command == "sheet":
        sheet(given.folder, given.file)
    else:
        speed()


if __name__ == "__main__":
    main()
