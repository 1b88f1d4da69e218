"""What examples look like that are nearly the same: for the consistency of D's scores."""

from __future__ import annotations

import torch
from torch import Tensor

#: The greatest shift, as a part of each axis: four pixels of 32, as in the paper.
GREATEST = 1 / 8


def shifted(examples: Tensor) -> Tensor:
    """Shift each example by a random number of places along each of its axes; edges are repeated.

    Zhang et al. 2020, "Consistency Regularization for Generative Adversarial Networks"; of real and of fake
    examples (balanced: bCR) Zhao et al. 2021. They flip pictures too, which is wrong for digits and letters.

    Args:
        examples: Pictures (batch, channels, height, width) or sounds (batch, channels, length).

    Returns:
        As many, of the same shape; each axis is shifted by up to an eighth of its length.
    """
    for axis in range(2, examples.ndim):
        length = examples.shape[axis]
        most = int(length * GREATEST)
        by = torch.randint(-most, most + 1, (len(examples), 1), device=examples.device)
        places = (torch.arange(length, device=examples.device) + by).clamp(0, length - 1)
        shape = [len(examples), *[1] * (examples.ndim - 1)]
        shape[axis] = length
        examples = examples.gather(axis, places.view(shape).expand_as(examples))
    return examples
