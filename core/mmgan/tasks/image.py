"""What every game on pictures has in common: its data, its samples, its walk, its scores."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor
from typing_extensions import TypeVar

from mmgan.config import Config
from mmgan.data.image.dataset import ImageConfig, ImageData
from mmgan.data.image.sources import Judge
from mmgan.errors import PluginError
from mmgan.metrics.features import Features
from mmgan.metrics.image import image_scores
from mmgan.metrics.scores import check_best
from mmgan.plugins.choices import Registered
from mmgan.samples import ImageSamples, Samples
from mmgan.tasks.latent import LatentConfig, LatentTask, chosen


class ImageTaskConfig(ImageConfig, LatentConfig):
    """Settings of a game that turns latents into pictures."""

    data: str = Field("digits", description="a folder of pictures, digits, or torchvision:NAME")
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


class ImageTask(LatentTask[C]):
    """A task whose player ``G`` turns latents into pictures. Subclasses write ``build`` and ``loss``."""

    Config: ClassVar[type[Config]] = ImageTaskConfig
    data_kind = "images"

    @property
    def best_score(self) -> str:
        """The Fréchet distance on the chosen features."""
        return f"frechet_{self.config.features}"

    def data(self) -> Any:
        """Open the pictures: (batch, channels, size, size) in [-1, 1]; in a dict where a batch holds more.

        Raises:
            ConfigError: The run is to be evaluated, and there are too few pictures for its best score.
        """
        data = ImageData(self.run.open_data("images"), self.config, self.run.progress, self.holds)
        if self.config.evaluate_every and self.best_score.startswith("frechet_"):
            check_best(self, len(data), self.features().dimensions, "picture")
        return data

    def present(self, examples: Tensor) -> Samples:
        """Return pictures (n, channels, size, size) in [-1, 1] as samples."""
        return ImageSamples(examples)

    def features(self) -> Features:
        """Return the feature module that the config chooses."""
        name = self.config.features
        found: Features = self.run.registered("features", name, "images")(self.config)
        if found.name != name:
            # The best score goes by the setting, and scores go by the features' own name.
            raise PluginError(f"The features registered as {name!r} have the name {found.name!r}.")
        return found

    def evaluate(self, n: int) -> dict[str, float]:
        """Score ``n`` pictures (0: as many as the data, at most 10,000) against as many of the data; where
        classes are learned, each class for itself too. Data with a judge has its scores as well, of ``n``
        pictures, or of as many as it wants.
        """
        dataset: ImageData = self.run.dataset
        count = n or min(len(dataset), 10_000)
        which = chosen(len(dataset), count)
        label = self.labels_of(dataset, which)
        scores = image_scores(
            self.alike(count, label),
            (dataset.pictures(part) for part in torch.split(which, self.chunk)),
            self.features(),
            self.run.device.torch,
            self.run.metrics("images"),
            self.score_classes(count, label),
        )
        judge: Judge | None = getattr(dataset, "judge", None)
        if judge:
            judged = self.alike(n or judge.samples, label)
            scores.include(judge.scores(judged, self.run.device.torch, self.run.progress))
        return scores
