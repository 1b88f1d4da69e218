"""The fully connected GAN's game, on pictures and on points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mmgan import Dataset, Player, PointSamples, Samples, Stage
from mmgan.augment import augment_for
from mmgan.losses import Objective, shifted
from mmgan.nn import spectral
from mmgan.tasks.image import ImageTask
from mmgan_gan import networks
from mmgan_gan.config import GANConfig
from mmgan_gan.points import Mixture


class GAN(ImageTask[GANConfig]):
    """A generator against a discriminator (Goodfellow et al. 2014), both fully connected.

    On pictures it is the GAN of the first tutorials; on points a laboratory in which losses and what
    stabilises them are compared in seconds. A subclass that overrides :meth:`loss` is at home on both.
    """

    Config = GANConfig
    needed_to_sample = ("G",)
    reentrant = True
    graphs = True

    @property
    def best_score(self) -> str:
        """The share of the data that is missing, for points; the Fréchet distance for pictures."""
        return "missing" if self.config.on_points else super().best_score

    @property
    def stages(self) -> tuple[Stage, ...]:
        """D, as often as ``critic_steps`` says, then G."""
        return self.config.stages

    def build(self) -> dict[str, Player]:
        """Make G and D, for pictures or for points."""
        c = self.config
        # Dropout and all else in D is of each example alone.
        shift = None if c.on_points else self.shifted
        self.objective = Objective(c, self.run, c.penalty == "r1r2", augment_for(c, self.run), shift)
        deviation = c.batch_size // c.packing if c.minibatch_stddev else 0
        if c.on_points:
            self.g = networks.point_generator(c.latent, c.width, c.batch_norm, self.classes)
            self.d = networks.point_discriminator(
                2 * c.packing, c.width // 2, c.dropout, self.classes, deviation
            )
            self.run.sample_count = 1000  # a scatter plot of the usual number of samples shows little
        else:
            shape = (c.channels, c.size, c.size)
            pixels = c.packing * c.channels * c.size**2
            self.g = networks.picture_generator(c.latent, c.width, shape, c.batch_norm, self.classes)
            self.d = networks.picture_discriminator(pixels, c.width, c.dropout, self.classes, deviation)
        if c.d_norm == "spectral":
            spectral(self.d)
        return {
            "G": c.player(self.g, self.optimizer(self.g, c.lr), **c.averaging),
            "D": c.player(
                self.d,
                self.optimizer(self.d, c.d_lr or c.lr),
                clip_weights=c.clip_weights or None,
                compile=c.penalty == "none",
            ),
        }

    def optimizer(self, module: torch.nn.Module, lr: float) -> torch.optim.Optimizer:
        """Make a player's optimizer."""
        if self.config.optimizer == "rmsprop":
            return torch.optim.RMSprop(module.parameters(), lr)
        return torch.optim.Adam(module.parameters(), lr, self.config.betas)

    def forward(self, batch: Any) -> Tensor:
        """Make the fakes of a step once: D learns from them, then G through the same graph."""
        real, label = self.parts(batch)
        return self.conditioned(self.g, label)(self.latents(len(real)))

    def loss(self, phase: str, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """Return D's loss on packs of real and fake examples, or G's by D's scores."""
        real, label = self.parts(batch)
        if self.config.packing > 1:
            real, fake = self.pack(real), self.pack(fake)
        critic = self.conditioned(self.score, label)
        if phase == "D":
            return self.objective.discriminator(critic, real, fake)
        return self.objective.generator(critic, real, fake)

    def pack(self, examples: Tensor) -> Tensor:
        """Lay ``packing`` examples side by side, so that D can see that they are all alike (Lin et al. 2018).

        Args:
            examples: Pictures (batch, channels, size, size) or points (batch, 2).

        Returns:
            (batch / packing, packing x numbers in an example).
        """
        return examples.reshape(len(examples) // self.config.packing, -1)

    def score(self, examples: Tensor, label: Tensor | None = None) -> Tensor:
        """Let D score examples (batch, …) or packs of them: (batch, 1)."""
        return self.conditioned(self.d, label)(examples.flatten(1))

    def shifted(self, examples: Tensor) -> Tensor:
        """Shift pictures, or those in packs (batch / packing, packing x pixels)."""
        pictures = examples.view(-1, self.config.channels, self.config.size, self.config.size)
        return shifted(pictures).view_as(examples)

    # Where points differ from pictures.

    @property
    def holds(self) -> tuple[str, ...]:  # type: ignore[override]
        """Pictures or points, and where classes are learned their labels; a point's class is its mode."""
        return ("points" if self.config.on_points else "images", *super().holds[1:])

    def data(self) -> Dataset:
        """Open the pictures, (batch, channels, size, size) in [-1, 1], or the points, (batch, 2)."""
        if not self.config.on_points:
            return super().data()  # type: ignore[no-any-return]
        points = self.mixture()
        points.labelled = self.config.conditional
        return points

    def mixture(self) -> Mixture:
        """Open the points."""
        points: Mixture = self.run.open_data("points")
        return points

    def present(self, examples: Tensor) -> Samples:
        """Return pictures, or points (n, 2) to be shown over as many of the data, as samples."""
        if not self.config.on_points:
            return super().present(examples)
        return PointSamples(examples, self.mixture().points[: len(examples)])

    def sample_chunks(
        self, n: int, prompt: str = "", label: Tensor | None = None, truncation: Tensor | None = None
    ) -> Iterator[Samples]:
        """Generate pictures in chunks; points take little memory, and are drawn together."""
        if self.config.on_points:
            yield self.sample(n, label, truncation)
        else:
            yield from super().sample_chunks(n, prompt, label, truncation)

    def interpolate(self, n: int, label: Tensor | None = None, truncation: Tensor | None = None) -> Samples:
        """Walk through latent space; for points once around an ellipse, each of whose latents is N(0, I)."""
        if not self.config.on_points:
            return super().interpolate(n, label, truncation)
        start, side = self.latents(2)
        angle = torch.linspace(0, 2 * torch.pi, n, device=start.device)[:, None]
        latents = self.truncate(angle.cos() * start + angle.sin() * side, truncation)
        return PointSamples(self.generate_by(latents, label))

    def evaluate(self, n: int) -> dict[str, float]:
        """Score pictures as :meth:`ImageTask.evaluate` does, or ``n`` points (0: 2,500) by their modes."""
        if not self.config.on_points:
            return super().evaluate(n)
        latents, mixture = self.latents(n or 2_500), self.mixture()
        label = self.labels_of(mixture, torch.arange(len(latents)) % len(mixture))
        label = None if label is None else label.to(latents.device)
        return mixture.scores(self.generate_by(latents, label), label)
