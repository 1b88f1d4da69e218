"""Shared by both games: translating pictures, and strips that show the results."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar

from mmgan import ImageSamples, Player, Samples, Task
from mmgan.counting import counted
from mmgan.data.pairs.degradations import Derivation, derivation
from mmgan_translation.config import TranslationConfig
from mmgan_translation.schedule import over_a_run

#: Pictures that are translated at once, if the results don't depend on the batch.
CHUNK = 16


C = TypeVar("C", bound=TranslationConfig, default=Any)


class TranslationTask(Task[C]):
    """A task whose generators turn pictures into pictures."""

    data_kind = "images"
    sample_settings = frozenset({"dropout"})

    @property
    @abstractmethod
    def directions(self) -> tuple[str, ...]:
        """The directions in which it translates: ``AtoB``, ``BtoA``."""

    @property
    def multiple(self) -> int:
        """The number that the sides of a picture must be multiples of."""
        return self.config.multiple

    @property
    def derivation(self) -> Derivation | None:
        """How A is derived from B, if the pairs are derived."""
        return None if self.config.derive == "none" else derivation(self.config)

    @property
    def input_channels(self) -> int:
        """Channels of A."""
        derived = self.derivation
        return derived.input_channels(self.config.channels) if derived else self.config.channels

    def player(self, module: nn.Module, lr: float | None = None, **options: Any) -> Player:
        """Make a player with Adam, whose rate, ``config.lr`` by default, falls in the run's second half."""
        c = self.config
        return Player(
            module,
            torch.optim.Adam(module.parameters(), lr or c.lr, c.betas),
            schedule=over_a_run(c.steps, c.lr_constant, c.lr_decay),
            **options,
        )

    def generator(self, direction: str) -> nn.Module:
        """Return the network that translates in a direction, its moving average if there is one."""
        raise NotImplementedError

    def translate(self, inputs: Tensor, direction: str) -> Tensor:
        """Translate pictures of any size whose sides are multiples of :attr:`multiple`.

        Args:
            inputs: (n, channels, height, width) in [-1, 1], on any device.
            direction: One of :attr:`directions`.

        Returns:
            float32 (n, channels, height, width) in [-1, 1] on the CPU.
        """
        # Batch norm without running statistics uses the batch's: then each picture is a batch of its own.
        alone = self.config.norm == "batch" and not self.config.running
        network, device = self.generator(direction), self.run.device.torch
        chunks = torch.split(inputs, 1 if alone else CHUNK)
        return torch.cat([network(chunk.to(device)).float().cpu() for chunk in chunks])

    def spread(self, n: int) -> Tensor:
        """Return the indices of up to ``n`` fixed pictures, spread over the validation part; 0: of all."""
        count = self.run.dataset.validation_count
        return torch.linspace(0, count - 1, min(n or count, count)).round().long()

    def translated(self, a: Tensor, b: Tensor) -> ImageSamples:
        """Translate pictures of both sides, and show them beside the results."""
        raise NotImplementedError

    def sample(self, n: int) -> ImageSamples:
        """Translate up to ``n`` validation pictures of each side."""
        return self.translated(*self.validation(n))

    def sample_chunks(self, n: int, prompt: str = "") -> Iterator[Samples]:
        """Translate up to ``n`` validation pictures of each side, 16 at a time."""
        for part in torch.split(self.chosen(n), CHUNK):
            yield self.translated(*self.run.dataset.validation(part))

    def validation(self, n: int) -> tuple[Tensor, Tensor]:
        """Return up to ``n`` fixed validation pictures of each side."""
        a, b = self.run.dataset.validation(self.chosen(n))
        return a, b

    def chosen(self, n: int) -> Tensor:
        """Return the indices of up to ``n`` fixed validation pictures; warn if there are fewer."""
        chosen = self.spread(n)
        if n > len(chosen) and n != self.run.sample_count:
            warnings.warn(
                f"{n} were asked for, and the data has {counted(len(chosen), 'picture')} to validate on: "
                "no more are shown. `mmgan translate` takes any pictures.",
                stacklevel=2,
            )
        return chosen

    def shown(self, a: Tensor) -> Tensor:
        """Return pictures of A for display; derived ones are converted from the network's input."""
        derived = self.derivation
        return derived.show(a) if derived else a


def strips(*columns: Tensor) -> ImageSamples:
    """Put pictures side by side: one sample is ``input | output | target``.

    Args:
        columns: (n, 1 or 3, height, width) in [-1, 1] each; grey ones become RGB if others are.
    """
    channels = max(column.shape[1] for column in columns)
    wide = [column.cpu().expand(-1, channels, -1, -1) for column in columns]
    return ImageSamples(torch.cat(wide, 3), columns=2)


def per_picture(judge: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Average patch scores per image, as a gradient penalty needs."""
    return lambda pictures: judge(pictures).flatten(1).mean(1)


def some(count: int, n: int) -> Tensor:
    """Choose ``n`` of ``count`` pictures at random, the same ones each time."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:n]
