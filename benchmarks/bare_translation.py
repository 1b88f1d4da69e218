"""Steps of pix2pix and of CycleGAN as a page of plain PyTorch: float32, contiguous, torch's default Adam.

The networks and the order of updates are the papers' (U-Net, ResNet, 70x70 PatchGAN). They are written out
again here, so that the bare loop shares nothing with the toolkit.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import torch
from styles import AS_IT_COMES, Style
from torch import Tensor, nn
from torch.nn import functional as F

Batch = Callable[[], tuple[Tensor, Tensor]]


class UNet(nn.Module):
    """From pictures (N, 3, size, size) to pictures; ``depth`` is log2(size)."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        widths = [3] + [64 * min(2**layer, 8) for layer in range(depth)]
        self.down = nn.ModuleList()
        for layer, (a, b) in enumerate(pairwise(widths)):
            norm = [nn.BatchNorm2d(b)] if 0 < layer < depth - 1 else []
            act = [nn.LeakyReLU(0.2)] if layer else []
            self.down.append(nn.Sequential(*act, nn.Conv2d(a, b, 4, 2, 1, bias=False), *norm))
        self.up = nn.ModuleList()
        for layer, (a, b) in enumerate(pairwise(widths[:0:-1])):
            drop = [nn.Dropout(0.5)] if layer < 3 else []
            wide = a if layer == 0 else 2 * a
            conv = nn.ConvTranspose2d(wide, b, 4, 2, 1, bias=False)
            self.up.append(nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(b), *drop))
        self.up.append(nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(128, 3, 4, 2, 1), nn.Tanh()))

    def forward(self, x: Tensor) -> Tensor:
        """Translate."""
        skips = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        for number, layer in enumerate(self.up):
            x = layer(x if number == 0 else torch.cat([skips[-number - 1], x], 1))
        return x


class Block(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        half = lambda: [nn.ReflectionPad2d(1), nn.Conv2d(256, 256, 3), nn.InstanceNorm2d(256)]  # noqa: E731
        self.layers = nn.Sequential(*half(), nn.ReLU(True), *half())

    def forward(self, x: Tensor) -> Tensor:
        """Add."""
        return x + self.layers(x)


def resnet(blocks: int) -> nn.Sequential:
    """Return CycleGAN's generator."""
    layers: list[nn.Module] = [
        nn.ReflectionPad2d(3),
        nn.Conv2d(3, 64, 7),
        nn.InstanceNorm2d(64),
        nn.ReLU(True),
    ]
    for a in (64, 128):
        layers += [nn.Conv2d(a, 2 * a, 3, 2, 1), nn.InstanceNorm2d(2 * a), nn.ReLU(True)]
    layers += [Block() for _ in range(blocks)]
    for a in (256, 128):
        up = nn.ConvTranspose2d(a, a // 2, 3, 2, 1, output_padding=1)
        layers += [up, nn.InstanceNorm2d(a // 2), nn.ReLU(True)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(64, 3, 7), nn.Tanh())


def patch_gan(inputs: int, norm: Callable[[int], nn.Module], bias: bool) -> nn.Sequential:
    """Return the 70x70 PatchGAN."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, 64, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for a, b, stride in ((64, 128, 2), (128, 256, 2), (256, 512, 1)):
        layers += [nn.Conv2d(a, b, 4, stride, 1, bias=bias), norm(b), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 1, 1))


def initialise(module: nn.Module) -> None:
    """N(0, 0.02²)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)


def adam(style: Style, *modules: nn.Module) -> torch.optim.Adam:
    """Return the papers' optimizer."""
    return style.adam([p for m in modules for p in m.parameters()], 2e-4, (0.5, 0.999))


def pix2pix_step(size: int, batch: Batch, style: Style = AS_IT_COMES) -> Callable[[], None]:
    """Return a function that plays one step: D, then G."""
    g = style.network(UNet(size.bit_length() - 1).apply(initialise))
    d = style.network(patch_gan(6, nn.BatchNorm2d, False).apply(initialise))
    opt_g, opt_d = adam(style, g), adam(style, d)

    def bce(logits: Tensor, target: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    def step() -> None:
        a, b = batch()
        fake = g(a)
        opt_d.zero_grad()
        loss = bce(d(torch.cat([a, fake.detach()], 1)), 0.0) + bce(d(torch.cat([a, b], 1)), 1.0)
        (loss / 2).backward()
        opt_d.step()
        d.requires_grad_(False)
        opt_g.zero_grad()
        (bce(d(torch.cat([a, fake], 1)), 1.0) + 100 * F.l1_loss(fake, b)).backward()
        opt_g.step()
        d.requires_grad_(True)

    return step


def cyclegan_step(blocks: int, batch: Batch, style: Style = AS_IT_COMES) -> Callable[[], None]:
    """Return a function that plays one step: both generators, then both discriminators."""
    ab, ba = (style.network(resnet(blocks).apply(initialise)) for _ in range(2))
    judges = [style.network(patch_gan(3, nn.InstanceNorm2d, True).apply(initialise)) for _ in range(2)]
    opt_g, opt_d = adam(style, ab, ba), adam(style, *judges)
    pools: list[list[Tensor]] = [[], []]

    def mse(scores: Tensor, target: float) -> Tensor:
        return F.mse_loss(scores, torch.full_like(scores, target))

    def exchange(pool: list[Tensor], fake: Tensor) -> Tensor:
        if len(pool) < 50:
            pool.append(fake)
        elif random.random() < 0.5:
            place = random.randrange(50)
            fake, pool[place] = pool[place], fake
        return fake

    def step() -> None:
        a, b = batch()
        fake_b, fake_a = ab(a), ba(b)
        back_a, back_b = ba(fake_b), ab(fake_a)
        for judge in judges:
            judge.requires_grad_(False)
        opt_g.zero_grad()
        same = F.l1_loss(ab(b), b) + F.l1_loss(ba(a), a)
        cycle = F.l1_loss(back_a, a) + F.l1_loss(back_b, b)
        (mse(judges[0](fake_a), 1.0) + mse(judges[1](fake_b), 1.0) + 10 * cycle + 5 * same).backward()
        opt_g.step()
        for judge in judges:
            judge.requires_grad_(True)
        opt_d.zero_grad()
        for judge, pool, real, fake in zip(judges, pools, (a, b), (fake_a, fake_b), strict=True):
            old = exchange(pool, fake.detach())
            ((mse(judge(real), 1.0) + mse(judge(old), 0.0)) / 2).backward()
        opt_d.step()

    return step
