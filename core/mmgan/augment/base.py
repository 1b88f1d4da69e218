"""What an augmentation is: a change to what the discriminator sees, by a probability on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmgan.errors import UsageError

#: From the number of steps done to p.
Schedule = Callable[[int], float]


class Augmentation:
    """Changes what the discriminator sees, so that it can't learn the data by heart.

    Subclass it and register the class for the setting ``augment``. Whatever reaches D passes through
    :meth:`see`, real and fake examples alike, in G's update too; :meth:`real` is asked first, with the real
    ones.

    Both get ``p``, a scalar of float32 on the examples' device, in [0, 1]: compare random numbers with it
    (``torch.rand(n, device=…) < p``), and don't read it, since that would wait for a GPU. Draw from torch's
    own generator, as dropout does. What :meth:`see` returns must be differentiable twice by its input, and
    each example may depend on itself alone: gradient penalties need both.

    Args:
        config: The run's settings.

    Attributes:
        adaptive: Whether a controller moves p, by how well D does on real examples; otherwise p is 1.
        updates: How often the controller has moved p: a scalar of int64 on the device, the same on all ranks;
            None where p is not controlled.
    """

    adaptive: ClassVar[bool] = False
    updates: Tensor | None = None

    def __init__(self, config: Any) -> None:
        self.config = config

    def real(self, real: Tensor, fake: Tensor, p: Tensor) -> Tensor:
        """Return what D is shown as real: by default the real examples.

        Args:
            real: Real examples (batch, …).
            fake: Generated ones, as many.
            p: The probability.
        """
        return real

    def see(self, examples: Tensor, p: Tensor) -> Tensor:
        """Return what D sees of examples: by default the examples.

        Args:
            examples: In [-1, 1]: pictures (batch, channels, height, width), sounds (batch, channels, length).
            p: The probability.

        Returns:
            The same shape, dtype and order in memory.
        """
        return examples

    def schedule(self) -> Schedule | None:
        """Return how p follows from the step, or None where it does not."""
        return None


class Unchanged(Augmentation):
    """``augment=none``: D sees the examples as they are."""


def computed(change: Callable[[Tensor], Tensor], examples: Tensor) -> Tensor:
    """Return ``change(examples)``, computed in float32 at least, in the form of the examples."""
    with torch.autocast(examples.device.type, enabled=False):
        changed = change(examples.to(torch.promote_types(examples.dtype, torch.float32)))
    last = examples.dim() == 4 and not examples.is_contiguous()
    last = last and examples.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return changed.to(examples.dtype).contiguous(memory_format=layout)


def need_pictures(examples: Tensor, name: str, channels: tuple[int, ...] = ()) -> None:
    """Refuse what is not a batch of pictures.

    Args:
        examples: What D is to see.
        name: The augmentation's.
        channels: How many channels they may have; any number by default.

    Raises:
        UsageError: These are not pictures, or have other channels.
    """
    if examples.dim() != 4 or (channels and examples.shape[1] not in channels):
        allowed = f" with {' or '.join(map(str, channels))} channels" if channels else ""
        raise UsageError(
            f"augment = {name} is for pictures (batch, channels, height, width){allowed}, and D sees "
            f"examples of the shape {tuple(examples.shape)}.",
            hint="--set augment=apa is for examples of any kind; augment=none changes nothing.",
        )


def over(values: Tensor, examples: Tensor) -> Tensor:
    """Return a value for each example (batch,) in a shape that goes with examples (batch, …)."""
    return values.view(-1, *(1 for _ in examples.shape[1:]))


def where_made(made: Tensor, examples: Tensor, change: Callable[..., Tensor], *amounts: Tensor) -> Tensor:
    """Return ``change(examples, *amounts)`` where it is made, and the other examples as they are.

    On a CPU only those are computed. Elsewhere all are, since which ones they are could not be read without
    waiting.

    Args:
        made: bool (batch,).
        examples: (batch, …).
        change: Works on each example by itself, and draws nothing.
        amounts: What it needs beside the examples, each (batch, …).
    """
    if examples.device.type != "cpu":
        return torch.where(over(made, examples), change(examples, *amounts), examples)
    which = made.nonzero()[:, 0]
    if not len(which):
        return examples
    changed = change(examples.index_select(0, which), *(amount[which] for amount in amounts))
    return examples.index_copy(0, which, changed)


def uniform(examples: Tensor, low: float, high: float) -> Tensor:
    """Draw a number from U[low, high) for each example."""
    return torch.empty(len(examples), device=examples.device, dtype=examples.dtype).uniform_(low, high)


def normal(examples: Tensor, deviation: float) -> Tensor:
    """Draw a number from N(0, deviation²) for each example."""
    return deviation * torch.randn(len(examples), device=examples.device, dtype=examples.dtype)


def coins(examples: Tensor, p: Tensor) -> Tensor:
    """Toss a coin for each example: true with probability p."""
    return torch.rand(len(examples), device=examples.device) < p
