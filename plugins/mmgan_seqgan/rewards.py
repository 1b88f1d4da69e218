"""Transformations of action values before they weight the generator's log-probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

#: Steepness of rank rewards (delta in LeakGAN's rescaled activation).
STEEPNESS = 12.0


def shape(values: Tensor, counted: Tensor, rescale: str = "none", baseline: str = "none") -> Tensor:
    """Rescale rewards, and subtract a baseline.

    Args:
        values: Action values by D's scores, (batch, length) in [0, 1].
        counted: 1 for tokens, 0 for padding, (batch, length).
        rescale: ``none``, or ``rank``: at each position sigmoid(12 (1/2 - rank / batch)), rank 1 for the
            greatest, so that a confident D still says which is better (Guo et al. 2018,
            "Long Text Generation via Adversarial Training with Leaked Information", after RankGAN's idea).
        baseline: ``none``, or ``mean``: the batch's mean at each position, which lowers the variance of the
            gradient and changes its expectation only by the sample's own small share of the mean.

    Returns:
        (batch, length).
    """
    if rescale == "rank":
        # Padding comes last and does not affect the ranks of texts. Equal values share their mean rank.
        last = values.where(counted > 0, -1)
        above = (last[None] > last[:, None]).sum(1)
        ranks = above + ((last[None] == last[:, None]).sum(1) + 1) / 2
        alive = counted.sum(0).clamp(min=1)
        values = torch.sigmoid(STEEPNESS * (0.5 - ranks / alive))
    if baseline == "mean":
        values = values - (values * counted).sum(0) / counted.sum(0).clamp(min=1)
    return values
