"""Tokens drawn from many softmax distributions at once.

``torch.multinomial`` processes a whole distribution for each token. Here a block of the vocabulary is drawn
first, then a token of that block, each by inverting a cumulative sum (Devroye 1986, *Non-Uniform Random
Variate Generation*, section III.2): one pass of additions, and two short searches.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


def draw(logits: Tensor, temperature: float = 1.0, uniform: Tensor | None = None) -> Tensor:
    """Draw a token from each row's softmax.

    Args:
        logits: (rows, vocabulary), finite; no gradient passes.
        temperature: Divides the logits: below 1 likely tokens become likelier.
        uniform: The random numbers, from U[0, 1), (rows, 1); drawn here by default.

    Returns:
        int64 (rows,), each in [0, vocabulary).
    """
    logits = logits.detach().float()
    if temperature != 1:
        # The maximum is subtracted first, or a small temperature makes them infinite.
        logits = (logits - logits.amax(1, keepdim=True)) / temperature
    # Safe from overflow: softmax subtracts the maximum too.
    weights = logits.softmax(1)
    size = block_size(weights.shape[1])
    blocks = F.pad(weights, (0, -weights.shape[1] % size)).view(len(weights), -1, size)
    sums = blocks.sum(2)
    if uniform is None:
        uniform = torch.rand(len(weights), 1, device=logits.device)
    block, rest = _invert(sums, uniform * sums.sum(1, keepdim=True))
    inside = blocks.gather(1, block[:, :, None].expand(-1, 1, size))[:, 0]
    token, _ = _invert(inside, rest)
    return (block * size + token)[:, 0]


@cache
def block_size(vocabulary: int) -> int:
    """Choose the size of a block: about the square root of the vocabulary, so that both searches are short.

    A size that divides the vocabulary avoids a copy of all weights that is padded with zeros.
    """
    return next((size for size in range(128, 31, -1) if vocabulary % size == 0), 64)


def _invert(weights: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Find where each row's cumulative sum first exceeds a target, and the rest of the target there.

    Rounding may bring a target up to the whole sum; it is clamped below, so that zero weights are never
    found.
    """
    sums = weights.cumsum(1)
    last = torch.nextafter(sums[:, -1:], sums.new_zeros(()))
    target = target.clamp(min=0).minimum(last)
    found = torch.searchsorted(sums, target, right=True)
    return found, target - (sums - weights).gather(1, found)
