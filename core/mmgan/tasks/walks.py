"""Walks through latent space."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def closed_walk(corners: Tensor, n: int, between: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """Return ``n`` latents at equal steps from corner to corner and back to the first one.

    Args:
        corners: (corners, latent).
        n: How many.
        between: Interpolates: :func:`slerp` for latents from a normal distribution, ``torch.lerp`` for
            uniform ones.

    Returns:
        (n, latent).
    """
    position = torch.arange(n, device=corners.device) * len(corners) / n
    start = position.long()
    return between(corners[start], corners[(start + 1) % len(corners)], (position - start)[:, None])


def slerp(start: Tensor, end: Tensor, position: Tensor) -> Tensor:
    """Interpolate along the great circle from ``start`` to ``end`` (Shoemake 1985; White 2016 for latents).

    Args:
        start: (n, latent).
        end: (n, latent).
        position: (n, 1), 0 at the start and 1 at the end.
    """
    unit = torch.nn.functional.normalize
    cosine = (unit(start, dim=1) * unit(end, dim=1)).sum(1, keepdim=True).clamp(-1, 1)
    angle = torch.acos(cosine).clamp(1e-4, torch.pi - 1e-4)
    return (torch.sin((1 - position) * angle) * start + torch.sin(position * angle) * end) / torch.sin(angle)
