"""Tokens drawn from many softmax distributions at once.

``torch.multinomial`` goes through a whole distribution for each token. Here a block of the vocabulary is
drawn first, then a token of that block, each by inverting a cumulative sum (Devroye 1986, *Non-Uniform Random
Variate Generation*, section III.2): one pass of additions, and two short searches.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: Tokens in a block. About the square root of a vocabulary of thousands, so that both searches are short.
BLOCK = 64


def draw(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Draw a token from each row's softmax.

    Args:
        logits: (rows, vocabulary), finite; no gradient passes.
        temperature: Divides the logits: below 1 likely tokens become likelier.

    Returns:
        int64 (rows,), each in [0, vocabulary).
    """
    logits = logits.detach().float()
    if temperature != 1:
        logits = logits / temperature
    # Less the greatest, no exponential is above 1, and at least one is 1.
    weights = (logits - logits.amax(1, keepdim=True)).exp_()
    blocks = F.pad(weights, (0, -weights.shape[1] % BLOCK)).view(len(weights), -1, BLOCK)
    sums = blocks.sum(2)
    block, rest = _invert(sums, torch.rand(len(weights), 1, device=logits.device) * sums.sum(1, keepdim=True))
    inside = blocks.gather(1, block[:, :, None].expand(-1, 1, BLOCK))[:, 0]
    token, _ = _invert(inside, rest)
    return (block * BLOCK + token)[:, 0]


def _invert(weights: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Find where each row's cumulative sum first exceeds a target, and what of the target is left there.

    Rounding may bring a target up to the whole sum; it is kept below, and thus what weighs nothing is never
    found.
    """
    sums = weights.cumsum(1)
    last = torch.nextafter(sums[:, -1:], sums.new_zeros(()))
    target = target.clamp(min=0).minimum(last)
    found = torch.searchsorted(sums, target, right=True)
    return found, target - (sums - weights).gather(1, found)
