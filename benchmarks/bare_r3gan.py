"""R3GAN as a page of plain PyTorch: torch's layers and derivatives, float32, Adam as it comes.

It shares nothing with the toolkit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

import torch
from styles import Batch, Step, Style
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, softplus


class Block(nn.Module):
    """A residual bottleneck, whose last layer begins with zeros."""

    def __init__(self, width: int, group: int, blocks: int) -> None:
        super().__init__()
        inner = 2 * width
        self.layers = nn.Sequential(
            nn.Conv2d(width, inner, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner // group),
            nn.LeakyReLU(0.2),
            nn.Conv2d(inner, width, 1, bias=False),
        )
        for layer, gain in ((0, 1.387 * blocks**-0.25), (2, 1.387 * blocks**-0.25), (4, 0.0)):
            weight = self.layers[layer].weight
            nn.init.normal_(weight, 0.0, gain / sqrt(weight[0].numel()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, width, …) to its own shape."""
        return x + self.layers(x)


class Resample(nn.Module):
    """Twice or half the size, by the filter [1, 3, 3, 1]."""

    def __init__(self, channels: int, up: bool) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / (4 if up else 8)
        self.register_buffer("filter", torch.outer(line, line).repeat(channels, 1, 1, 1))
        self.resample = conv_transpose2d if up else conv2d

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, …) to twice or half the size."""
        return self.resample(x, self.filter, stride=2, padding=1, groups=x.shape[1])


class Generator(nn.Module):
    """From latents to pictures."""

    def __init__(self, widths: Sequence[int], group: int, blocks: int, channels: int, latent: int) -> None:
        super().__init__()
        self.linear = nn.Linear(latent, widths[0], bias=False)
        self.basis = nn.Parameter(torch.randn(widths[0], 4, 4))
        layers: list[nn.Module] = []
        for wide, narrow in pairwise([*widths, 0]):
            layers += [Block(wide, group, blocks * len(widths)) for _ in range(blocks)]
            if narrow:
                layers += [nn.Conv2d(wide, narrow, 1, bias=False), Resample(narrow, up=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], channels, 1, bias=False))

    def forward(self, latents: Tensor) -> Tensor:
        """Map (batch, latent) to (batch, channels, size, size)."""
        return self.layers(self.basis * self.linear(latents)[:, :, None, None])


class Discriminator(nn.Module):
    """From pictures to scores."""

    def __init__(self, widths: Sequence[int], group: int, blocks: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[-1], 1, bias=False)]
        for narrow, wide in pairwise([*reversed(widths), 0]):
            layers += [Block(narrow, group, blocks * len(widths)) for _ in range(blocks)]
            if wide:
                layers += [Resample(narrow, up=False), nn.Conv2d(narrow, wide, 1, bias=False)]
        basis = nn.Conv2d(widths[0], widths[0], 4, groups=widths[0], bias=False)
        self.layers = nn.Sequential(*layers, basis, nn.Flatten(), nn.Linear(widths[0], 1, bias=False))

    def forward(self, pictures: Tensor) -> Tensor:
        """Map (batch, channels, size, size) to scores (batch, 1)."""
        return self.layers(pictures)


def r3gan_step(
    g: nn.Module,
    d: nn.Module,
    latent: int,
    lr: float,
    betas: tuple[float, float],
    gamma: float,
    batch: Batch,
    style: Style,
    shared: bool = False,
) -> Step:
    """Return a function that plays one step: D with R1 and R2, then G.

    Args:
        g, d: Both networks.
        latent, lr, betas, gamma: Of the game.
        batch: Gives real pictures.
        style: How it computes.
        shared: Whether G learns by the pictures that D has seen, and not by others.
    """
    g, d = style.network(g), style.network(d)
    opt_g, opt_d = style.adam(g.parameters(), lr, betas), style.adam(d.parameters(), lr, betas)

    def squares(scores: Tensor, pictures: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(scores.sum(), pictures, create_graph=True)
        return gradient.square().sum((1, 2, 3)).mean()

    def step() -> None:
        real = batch()
        latents = torch.randn(2, len(real), latent, device=real.device)
        with torch.set_grad_enabled(shared):
            fake = g(latents[0])
        opt_d.zero_grad()
        real_, fake_ = real.detach().requires_grad_(), fake.detach().requires_grad_()
        on_real, on_fake = d(real_), d(fake_)
        loss = softplus(on_fake - on_real).mean()
        (loss + gamma / 2 * (squares(on_real, real_) + squares(on_fake, fake_))).backward()
        opt_d.step()
        d.requires_grad_(False)
        opt_g.zero_grad()
        softplus(d(real) - d(fake if shared else g(latents[1]))).mean().backward()
        opt_g.step()
        d.requires_grad_(True)

    return step
