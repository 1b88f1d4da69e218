"""WaveGAN's round as a page of plain PyTorch: float32 and the library's convolutions.

Five updates of the critic with a gradient penalty and one of the generator, each with fresh latents. It
shares nothing with the toolkit.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from styles import AS_IT_COMES, Style
from torch import Tensor, nn
from torch.nn import functional as F


class Generator(nn.Module):
    """From latents (N, 100) to sounds (N, 1, 16384)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        widths = (16 * dim, 8 * dim, 4 * dim, 2 * dim, dim, 1)
        self.dense = nn.Linear(100, 16 * widths[0])
        self.layers = nn.ModuleList(
            nn.ConvTranspose1d(a, b, 25, stride=4, padding=11, output_padding=1) for a, b in pairwise(widths)
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Generate."""
        x = F.relu(self.dense(latents)).view(len(latents), -1, 16)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return torch.tanh(self.layers[-1](x))


class Critic(nn.Module):
    """From sounds (N, 1, 16384) to scores (N, 1)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        widths = (1, dim, 2 * dim, 4 * dim, 8 * dim, 16 * dim)
        self.layers = nn.ModuleList(nn.Conv1d(a, b, 25, stride=4, padding=11) for a, b in pairwise(widths))
        self.dense = nn.Linear(16 * widths[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Score."""
        for number, layer in enumerate(self.layers):
            x = F.leaky_relu(layer(x), 0.2)
            if number < 4:
                x = phase_shuffle(x)
        return self.dense(x.flatten(1))


def phase_shuffle(x: Tensor, n: int = 2) -> Tensor:
    """Shift by -n to n samples, reflecting."""
    by = int(torch.randint(-n, n + 1, ()))
    length = x.shape[2]
    x = F.pad(x, (max(by, 0), max(-by, 0)), mode="reflect")
    return x[..., :length] if by > 0 else x[..., -length:]


def round_of_training(
    dim: int, batch_size: int, batch: Callable[[], Tensor], style: Style = AS_IT_COMES
) -> Callable[[], None]:
    """Return a function that plays one round: five updates of the critic and one of the generator."""
    g, d = style.network(Generator(dim)), style.network(Critic(dim))
    for module in (*g.modules(), *d.modules()):
        if isinstance(module, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    opt_g = style.adam(g.parameters(), 1e-4, (0.5, 0.9))
    opt_d = style.adam(d.parameters(), 1e-4, (0.5, 0.9))

    def latents() -> Tensor:
        return torch.rand(batch_size, 100, device=style.device) * 2 - 1

    def play() -> None:
        for _ in range(5):
            real = batch()
            with torch.no_grad():
                fake = g(latents())
            alpha = torch.rand(batch_size, 1, 1, device=style.device)
            between = (alpha * real + (1 - alpha) * fake).requires_grad_()
            (gradient,) = torch.autograd.grad(d(between).sum(), between, create_graph=True)
            penalty = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
            loss = d(fake).mean() - d(real).mean() + 10 * penalty
            opt_d.zero_grad()
            loss.backward()
            opt_d.step()
        d.requires_grad_(False)
        opt_g.zero_grad()
        (-d(g(latents())).mean()).backward()
        opt_g.step()
        d.requires_grad_(True)

    return play
