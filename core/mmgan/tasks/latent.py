"""What every game has in common whose generator turns latents into examples: samples, a walk, classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import TypeVar

from mmgan.config import Config
from mmgan.errors import ConfigError
from mmgan.metrics.classes import Classes
from mmgan.samples import Samples
from mmgan.task import Task
from mmgan.tasks.walks import closed_walk, slerp


class LatentConfig(Config):
    """Settings of a game that turns latents into examples."""

    latent: int = Field(100, ge=1, description="length of the latent vector z")


class ConditionalConfig(Config):
    """The setting of a game that can learn classes."""

    conditional: bool = Field(
        False, description="learn classes: subfolders, or a column `label` of metadata.csv"
    )


#: The settings of such a game; of any kind, as far as a type checker knows, where a task does not say.
C = TypeVar("C", bound=LatentConfig, default=Any)


class LatentTask(Task[C]):
    """A task whose player ``G`` turns latents into examples.

    With a :class:`ConditionalConfig` and ``conditional=true`` it learns classes: a batch holds labels, ``G``
    is called as ``G(latents, label)``, and a label can be asked for when it is sampled from.
    """

    #: Samples that are generated at once: enough to keep two cores busy, little enough for their memory.
    chunk: ClassVar[int] = 256

    @property
    def holds(self) -> tuple[str, ...]:  # type: ignore[override]
        """The examples, and where classes are learned their labels."""
        return (self.data_kind, "label") if self._is_conditional else (self.data_kind,)

    @property
    def conditions(self) -> tuple[str, ...]:  # type: ignore[override]
        """A label, where classes are learned, and truncation."""
        return ("label", "truncation") if self._is_conditional else ("truncation",)

    @property
    def _is_conditional(self) -> bool:
        return bool(getattr(self.config, "conditional", False))

    @cached_property
    def classes(self) -> int:
        """How many classes are learned; 0 where none are.

        Raises:
            ConfigError: The data has fewer than two.
        """
        if "label" not in self.holds:
            return 0
        classes = len(self.run.data_info.classes)
        if classes < 2:
            raise ConfigError(
                f"{self.config.plugin} shall learn classes, and the data {self.config.data!r} has "
                f"{'one' if classes else 'none'}; at least 2 are needed.",
                hint="A class is a subfolder, or a value in the column `label` of a metadata.csv. A run that "
                "has begun without classes can't learn them.",
            )
        return classes

    def parts(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        """Return a batch's examples, and its labels, int64 (batch,), or None where no classes are learned."""
        return (batch, None) if isinstance(batch, Tensor) else (batch[self.holds[0]], batch.get("label"))

    def conditioned(self, network: Callable[..., Tensor], label: Tensor | None) -> Callable[[Tensor], Tensor]:
        """Return a network as a function of its input alone: it is given ``label`` too, if there is one.

        Several batches that pass together, as real and fake examples do, have the same labels each.
        """
        if label is None:
            return network

        def function(inputs: Tensor) -> Tensor:
            several = len(inputs) // len(label)
            output: Tensor = network(inputs, label=label if several < 2 else label.repeat(several))
            return output

        return function

    def latents(self, n: int) -> Tensor:
        """Draw z ~ N(0, I): (n, latent)."""
        return torch.randn(n, self.config.latent, device=self.run.device.torch, generator=self.run.generator)

    def truncate(self, latents: Tensor, truncation: Tensor | None) -> Tensor:
        """Draw latents towards their mean, for samples that are more typical and less varied.

        Args:
            latents: (n, latent).
            truncation: For each, in (0, 1], (n,): 1 or None leaves it. BigGAN's psi (Brock et al. 2019), but
                for the tails, which are not drawn anew.
        """
        return latents if truncation is None else latents * truncation[:, None]

    def generate(self, latents: Tensor, label: Tensor | None = None) -> Tensor:
        """Turn latents into examples, by the averaged G if any.

        Args:
            latents: (n, latent).
            label: The class of each, int64 (n,), where classes are learned.
        """
        generator = self.run.players["G"].sampler
        return torch.cat([self.conditioned(generator, of)(part) for part, of in self._chunks(latents, label)])

    @abstractmethod
    def present(self, examples: Tensor) -> Samples:
        """Make of generated examples what a person sees or hears."""

    def sample(self, n: int, label: Tensor | None = None, truncation: Tensor | None = None) -> Samples:
        """Generate ``n`` samples.

        Args:
            n: How many.
            label: The class of each, int64 (n,), where classes are learned.
            truncation: See :meth:`truncate`.
        """
        return self._presented(self.truncate(self.latents(n), truncation), label)

    def sample_chunks(
        self, n: int, prompt: str = "", label: Tensor | None = None, truncation: Tensor | None = None
    ) -> Iterator[Samples]:
        """Generate ``n`` samples, some at a time; see :meth:`sample`."""
        for part, of in self._chunks(self.truncate(self.latents(n), truncation), label):
            yield self._presented(part, of)

    def interpolate(self, n: int, label: Tensor | None = None, truncation: Tensor | None = None) -> Samples:
        """Generate ``n`` samples along a closed walk over the sphere that Gaussian latents lie near; see
        :meth:`sample`.
        """
        return self.walk(n, slerp, label, truncation)

    def walk(
        self,
        n: int,
        between: Callable[[Tensor, Tensor, Tensor], Tensor],
        label: Tensor | None = None,
        truncation: Tensor | None = None,
    ) -> Samples:
        """Generate ``n`` samples along a closed walk, eight from corner to corner.

        Args:
            n: How many.
            between: Interpolates two sets of latents: :func:`mmgan.tasks.walks.slerp`, or ``torch.lerp``.
            label, truncation: As for :meth:`sample`.
        """
        walk = closed_walk(self.latents(max(2, n // 8)), n, between)
        return self._presented(self.truncate(walk, truncation), label)

    def alike(self, n: int, label: Tensor | None = None) -> Iterator[Tensor]:
        """Generate ``n`` examples to be scored, some at a time.

        Args:
            n: How many.
            label: The classes of real examples, int64 (m,), where classes are learned: the generated ones get
                the same, in the same order and over again.
        """
        for part in torch.split(torch.arange(n), self.chunk):
            of = None if label is None else label[part % len(label)].to(self.run.device.torch)
            yield self.generate_by(self.latents(len(part)), of)

    def _chunks(self, latents: Tensor, label: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Cut latents and their labels into chunks."""
        parts = torch.split(latents, self.chunk)
        labels = [None] * len(parts) if label is None else torch.split(label, self.chunk)
        return zip(parts, labels, strict=True)

    def generate_by(self, latents: Tensor, label: Tensor | None) -> Tensor:
        """Call :meth:`generate`, with ``label`` if there is one: a subclass that learns no classes may
        override it without.
        """
        return self.generate(latents) if label is None else self.generate(latents, label)

    def _presented(self, latents: Tensor, label: Tensor | None) -> Samples:
        return self.present(self.generate_by(latents, label))

    def labels_of(self, dataset: Any, which: Tensor) -> Tensor | None:
        """Return the labels of some examples, int64 (n,), or None where no classes are learned: data of a
        plugin's need have none then.
        """
        return dataset.labels[which] if "label" in self.conditions else None

    def score_classes(self, n: int, label: Tensor | None) -> Classes | None:
        """Return the classes of ``n`` examples that :meth:`alike` makes, and of the real ones."""
        if label is None:
            return None
        return Classes(self.run.data_info.classes, label[torch.arange(n) % len(label)], label)


def chosen(count: int, n: int) -> Tensor:
    """Choose ``n`` of ``count`` examples at random, always the same ones: a folder's come class by class."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:n]
