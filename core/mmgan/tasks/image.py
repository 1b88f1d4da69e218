"""What every game on pictures has in common: its data, its samples, its walk, its scores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor
from typing_extensions import TypeVar

from mmgan.config import Config
from mmgan.data.image.dataset import ImageConfig, ImageData
from mmgan.errors import PluginError
from mmgan.metrics.features import Features
from mmgan.metrics.image import image_scores
from mmgan.metrics.scores import check_best
from mmgan.plugins.choices import Registered
from mmgan.samples import ImageSamples, Samples
from mmgan.task import Task
from mmgan.tasks.walks import closed_walk, slerp

#: Samples that are generated at once: enough to keep two cores busy, little enough for their memory.
CHUNK = 256


class ImageTaskConfig(ImageConfig):
    """Settings of a game that turns latents into pictures."""

    data: str = Field("digits", description="a folder of pictures, digits, or torchvision:NAME")
    latent: int = Field(100, ge=1, description="length of the latent vector z")
    features: Annotated[str, Registered("features", "images")] = Field(
        "random", description="what `evaluate` compares pictures by; inception needs inception_weights"
    )
    inception_weights: str = Field("", description="a file with torchvision's inception_v3 weights")

    @field_validator("inception_weights")
    @classmethod
    def _wherever_it_is_evaluated(cls, value: str) -> str:
        return str(Path(os.path.expanduser(value)).absolute()) if value else ""


#: The settings of a game on pictures; of any kind, as far as a type checker knows, where a task does not say.
C = TypeVar("C", bound=ImageTaskConfig, default=Any)


class ImageTask(Task[C]):
    """A task whose player ``G`` turns latents into pictures. Subclasses write ``build`` and ``loss``."""

    Config: ClassVar[type[Config]] = ImageTaskConfig
    data_kind = "images"

    @property
    def best_score(self) -> str:
        """The Fréchet distance on the chosen features."""
        return f"frechet_{self.config.features}"

    def data(self) -> Any:
        """Open the pictures: (batch, channels, size, size) in [-1, 1].

        Raises:
            ConfigError: The run is to be evaluated, and there are too few pictures for its best score.
        """
        data = ImageData(self.run.open_data("images"), self.config, progress=self.run.progress)
        if self.config.evaluate_every and self.best_score.startswith("frechet_"):
            check_best(self, len(data), self.features().dimensions, "picture")
        return data

    def latents(self, n: int) -> Tensor:
        """Draw z ~ N(0, I): (n, latent)."""
        return torch.randn(n, self.config.latent, device=self.run.device.torch)

    def generate(self, latents: Tensor) -> Tensor:
        """Turn latents into pictures (n, channels, size, size) in [-1, 1], by the averaged G if any."""
        generator = self.run.players["G"].sampler
        return torch.cat([generator(chunk) for chunk in torch.split(latents, CHUNK)])

    def sample(self, n: int) -> ImageSamples:
        """Generate ``n`` pictures."""
        return ImageSamples(self.generate(self.latents(n)))

    def sample_chunks(self, n: int, prompt: str = "") -> Iterator[Samples]:
        """Generate ``n`` pictures, 256 at a time."""
        for latents in torch.split(self.latents(n), CHUNK):
            yield ImageSamples(self.generate(latents))

    def interpolate(self, n: int) -> ImageSamples:
        """Generate ``n`` pictures along a closed walk over the sphere that Gaussian latents lie near."""
        walk = closed_walk(self.latents(max(2, n // 8)), n, slerp)
        return ImageSamples(self.generate(walk))

    def features(self) -> Features:
        """Return the feature module that the config chooses."""
        name = self.config.features
        found: Features = self.run.registered("features", name, "images")(self.config)
        if found.name != name:
            # The best score goes by the setting, and scores go by the features' own name.
            raise PluginError(f"The features registered as {name!r} have the name {found.name!r}.")
        return found

    def evaluate(self, n: int) -> dict[str, float]:
        """Score ``n`` pictures (0: as many as the data, at most 10,000) against as many of the data."""
        dataset: ImageData = self.run.dataset
        n = n or min(len(dataset), 10_000)
        generated = (self.generate(self.latents(len(chunk))) for chunk in torch.split(torch.arange(n), CHUNK))
        # At random, since a folder's pictures come class by class; the same ones each time.
        chosen = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:n]
        real = (dataset.pictures(chunk) for chunk in torch.split(chosen, CHUNK))
        return image_scores(
            generated, real, self.features(), self.run.device.torch, self.run.metrics("images")
        )
