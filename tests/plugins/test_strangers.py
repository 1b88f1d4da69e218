"""Games on pictures and sounds as strangers wrote them before classes could be learned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import mmgan
from mmgan import Dataset, Draw, ImageSamples, PluginError, Samples, UsageError
from mmgan_gan.task import GAN

SETTINGS: dict[str, Any] = {
    "size": 8,
    "channels": 1,
    "width": 8,
    "batch_size": 8,
    "steps": 2,
    "tensorboard": False,
    "device": "cpu",
}


class Noise(Dataset):
    """Pictures without labels, and without a word about what they are."""

    def __len__(self) -> int:
        return 200

    def pictures(self, indices: Tensor) -> Tensor:
        return torch.stack([torch.full((1, 8, 8), float(i % 3) - 1) for i in indices])

    def batch(self, indices: Tensor, draw: Draw) -> Tensor:
        return self.pictures(indices)


class OwnData(GAN):
    def data(self) -> Any:
        return Noise()


def test_data_without_labels_is_scored() -> None:
    scores = mmgan.train(OwnData, **SETTINGS).evaluate(200)
    assert "kernel_random" in scores


class OwnSample(OwnData):
    def sample(self, n: int) -> Samples:  # type: ignore[override]
        return ImageSamples(self.generate(self.latents(n)))

    def interpolate(self, n: int) -> Samples:  # type: ignore[override]
        return self.sample(n)


def test_what_a_task_does_not_take_is_refused() -> None:
    run = mmgan.train(OwnSample, **SETTINGS)
    assert len(run.sample(3)) == len(run.interpolate(3)) == 3
    for work in (run.sample, run.interpolate, run.sample_chunks):
        with pytest.raises(UsageError, match="of ownsample takes no truncation"):
            work(3, truncation=0.5)


class Captioned(OwnData):
    """It holds captions, and no labels."""

    holds = ("images", "text")

    def data(self) -> Any:
        class Told(Noise):
            def batch(self, indices: Tensor, draw: Draw) -> Any:
                return {"images": self.pictures(indices), "text": ["grey"] * len(indices)}

        return Told()


def test_captions_without_labels() -> None:
    run = mmgan.train(Captioned, **SETTINGS)
    assert run.step == 2


class Untold(OwnData):
    """It takes labels, and its data does not say which there are."""

    conditions = ("label",)

    def sample(self, n: int, label: Any = None) -> Samples:  # type: ignore[override]
        return ImageSamples(self.generate(self.latents(n)))


def test_labels_without_classes() -> None:
    with pytest.raises(PluginError, match="takes labels, and its data has no classes"):
        mmgan.train(Untold, sample_every=1, **SETTINGS)


class Busy(GAN):
    """It uses names of its own."""

    chunk = 3

    def build(self) -> Any:
        players = super().build()
        self.classes, self.parts_made = 3, 0
        return players


def test_attributes_of_the_same_names() -> None:
    run = mmgan.train(Busy, **SETTINGS)
    assert len(run.sample(7)) == 7
