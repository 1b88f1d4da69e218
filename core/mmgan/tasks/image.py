"""What every game on pictures has in common: its data, its samples, its walk, its scores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator
from torch import Tensor
from typing_extensions import TypeVar

from mmgan.config import Config
from mmgan.data.image.dataset import ImageConfig, ImageData
from mmgan.errors import PluginError
from mmgan.metrics.features import Features
from mmgan.metrics.image import Gathered
from mmgan.metrics.scores import check_best
from mmgan.plugins.choices import Registered
from mmgan.samples import ImageSamples, Samples
from mmgan.tasks.judging import judge
from mmgan.tasks.latent import LatentConfig, LatentTask

#: The distance that chooses the best checkpoint, by features, where it is not Fréchet's.
BEST = {"efficientnet": "kernel"}


#: Data sets of pictures no larger than 32 pixels, and the channels that they have.
SMALL = {"digits": 1, "CIFAR10": 3, "CIFAR100": 3, "SVHN": 3, "stacked-mnist": 3} | dict.fromkeys(
    ("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "USPS"), 1
)


def fit_small(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``size`` and ``channels`` that fit the data set which settings name, if it is known to be
    small; else nothing. For a config whose default is ``data="digits"``, in a validator of mode ``before``.
    """
    name = str(values.get("data", "digits")).removeprefix("torchvision:")
    return {"size": 32, "channels": SMALL[name]} if name in SMALL else {}


class ImageTaskConfig(ImageConfig, LatentConfig):
    """Settings of a game that turns latents into pictures."""

    data: str = Field("digits", description="a folder of pictures, digits, or torchvision:NAME")
    features: Annotated[str, Registered("features", "images")] = Field(
        "random",
        description="what `evaluate` compares pictures by; efficientnet needs mmgan[features], inception "
        "inception_weights",
    )
    inception_weights: str = Field("", description="a file with torchvision's inception_v3 weights")
    holdout: float = Field(
        0.0,
        ge=0,
        description="pictures kept out of training, to measure on: a share up to 0.5, or a number; 0: none",
    )
    cas: bool = Field(
        False,
        description="`evaluate` trains a classifier on samples too, where classes are learned (minutes)",
    )

    @field_validator("holdout")
    @classmethod
    def _share_or_number(cls, value: float) -> float:
        if 0.5 < value < 1 or (value > 1 and value % 1):
            raise ValueError("Input should be a share from 0 to 0.5, or a whole number of pictures")
        return value

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
    evaluate_settings = frozenset({"features", "inception_weights", "cas"})

    @property
    def best_score(self) -> str:
        """The Fréchet distance on the chosen features; with ``efficientnet``, which has too many dimensions
        for that in most folders, the kernel distance.
        """
        return f"{BEST.get(self.config.features, 'frechet')}_{self.config.features}"

    @cached_property
    def judged_by(self) -> dict[str, tuple[tuple[Any, ...], Gathered]]:
        """Features of real pictures, kept from one evaluation to the next: by what they are, with a key."""
        return {}

    def data(self) -> Any:
        """Open the pictures: (batch, channels, size, size) in [-1, 1]; in a dict where a batch holds more.

        Raises:
            ConfigError: The run is to be evaluated, and there are too few pictures for its best score.
        """
        data = ImageData(self.run.open_data("images"), self.config, self.run.progress, self.holds)
        # A stranger's settings may be of before this was there.
        if holdout := getattr(self.config, "holdout", 0):
            data.hold_out(holdout, self.config.seed)
        if self.config.evaluate_every:
            # Features that can't be had are an error before an hour of training, not after it.
            dimensions, held = self.features().dimensions, data.held_out
            if self.best_score.startswith("frechet_"):
                compared, what = (data, "picture") if held is None else (held, "held-out picture")
                check_best(self, len(compared), dimensions, what)
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
        """Score ``n`` pictures (0: as many as there are real ones, at most 10,000) against as many of the
        data, or of what was held out; where classes are learned, each class for itself too. Data with a judge
        has its scores as well, of ``n`` pictures, or of as many as it wants.
        """
        return judge(self, n)
