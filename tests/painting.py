"""Small folders of plain pictures, in classes by their colours, and a game that learns them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

import mmgan
from mmgan import ImageSamples, Player
from mmgan.data.image.dataset import ImageConfig, ImageData
from mmgan.losses import adversarial_loss

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def paint(folder: Path, name: str, colour: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), COLOURS[colour]).save(path)
    return path


def classes(folder: Path) -> Path:
    for colour in COLOURS:
        for number in range(2):
            paint(folder, f"{colour}/{number}.png", colour)
    return folder


class Colours(mmgan.Task[ImageConfig]):
    """G turns a class into a colour, with little noise; D judges pairs of colour and class."""

    Config = ImageConfig
    data_kind = "images"
    holds = ("images", "label")
    conditions = ("label",)
    opened = 0

    def build(self) -> dict[str, Player]:
        info = self.run.data_info
        assert info.shape == (3, 8, 8)
        count = len(info.classes)
        self.g, self.d = nn.Embedding(count, 3), nn.Embedding(count, 3)
        adam = torch.optim.Adam
        return {
            "G": Player(self.g, adam(self.g.parameters(), 0.1, (0.0, 0.9))),
            "D": Player(self.d, adam(self.d.parameters(), 0.1, (0.0, 0.9)), clip_weights=0.5),
        }

    def data(self) -> Any:
        type(self).opened += 1
        return ImageData(self.run.open_data("images"), self.config, self.run.progress, self.holds)

    def pictures(self, label: Tensor) -> Tensor:
        colour = torch.tanh(self.g(label) + 0.01 * torch.randn(len(label), 3))
        return colour[:, :, None, None].expand(-1, -1, 8, 8)

    def score(self, images: Tensor, label: Tensor) -> Tensor:
        return (self.d(label) * images.mean((2, 3))).sum(1)

    def loss(self, phase: str, batch: dict[str, Tensor], shared: None) -> dict[str, Tensor]:
        label = batch["label"]
        hinge = adversarial_loss("hinge")
        fake = self.score(self.pictures(label), label)
        if phase == "D":
            return {"D/adv": hinge.discriminator(self.score(batch["images"], label), fake)}
        return {"G/adv": hinge.generator(fake)}

    def sample(self, n: int, label: Tensor | None = None) -> ImageSamples:  # type: ignore[override]
        assert label is not None
        return ImageSamples(self.pictures(label))
