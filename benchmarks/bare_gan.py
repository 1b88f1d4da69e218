"""A GAN on points as a page of plain PyTorch, with PacGAN's networks: float32, Adam as it comes.

It shares nothing with the toolkit.
"""

from __future__ import annotations

import torch
from styles import Batch, Step, Style
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce


class Maxout(nn.Module):
    """The greatest of five linear maps, for each unit."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 5 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs) to (batch, outputs)."""
        return self.linear(x).unflatten(1, (-1, 5)).amax(2)


def generator(latent: int, width: int) -> nn.Sequential:
    """Return a network from latents (batch, latent) to points (batch, 2)."""
    layers: list[nn.Module] = []
    for inputs in (latent, width, width, width):
        layers += [nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(width, 2))


def discriminator(width: int) -> nn.Sequential:
    """Return a network from points (batch, 2) to logits (batch, 1)."""
    return nn.Sequential(Maxout(2, width), Maxout(width, width), Maxout(width, width), nn.Linear(width, 1))


def gan_step(
    latent: int, width: int, lr: float, betas: tuple[float, float], batch: Batch, style: Style
) -> Step:
    """Return a function that plays one step: D, then G by the same fakes."""
    g, d = style.network(generator(latent, width)), style.network(discriminator(width // 2))
    opt_g, opt_d = style.adam(g.parameters(), lr, betas), style.adam(d.parameters(), lr, betas)

    def step() -> None:
        real = batch()
        fake = g(torch.randn(len(real), latent, device=real.device))
        opt_d.zero_grad()
        on_real, on_fake = d(real), d(fake.detach())
        (bce(on_real, torch.ones_like(on_real)) + bce(on_fake, torch.zeros_like(on_fake))).backward()
        opt_d.step()
        d.requires_grad_(False)
        opt_g.zero_grad()
        scores = d(fake)
        bce(scores, torch.ones_like(scores)).backward()
        opt_g.step()
        d.requires_grad_(True)

    return step
