"""The learning rate of both papers: constant for 100 epochs, then in a straight line to 0 over 100 more."""

from __future__ import annotations

from collections.abc import Callable


def linear_decay(epoch: int, constant: int, decay: int) -> float:
    """Return the factor on the learning rate in an epoch, from 0: 1, then linearly to 0.

    Of 100 + 100 epochs that is 1 in epoch 99, 100/101 in epoch 100, and 1/101 in epoch 199.

    Args:
        epoch: The epoch, from 0.
        constant: Epochs at the full rate.
        decay: Epochs over which it falls.
    """
    return 1 - max(0, epoch + 1 - constant) / (decay + 1)


def over_a_run(steps: int, constant: int, decay: int) -> Callable[[int], float]:
    """Return a player's schedule: the run as ``constant + decay`` equal parts, each of which is an epoch.

    So a run of any length, on data of any size, follows the papers' curve.

    Args:
        steps: The run's length.
        constant: Parts at the full rate.
        decay: Parts over which it falls; 0: none, the rate is constant.
    """

    def schedule(step: int) -> float:
        # Beyond its length, a run keeps the last part's rate.
        part = min(step * (constant + decay) // steps, constant + decay - 1)
        return linear_decay(part, constant, decay) if decay else 1.0

    return schedule
