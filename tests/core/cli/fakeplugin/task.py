"""A game on points that trains in no time, and that can be told to misbehave."""

import sys
import time
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from mmgan import Config, DataError, Dataset, ImageSamples, Player, Task
from mmgan.losses import adversarial_loss


class FakeConfig(Config):
    steps: int = Field(12, ge=1, description="length of the run")
    batch_size: int = Field(8, ge=1, description="examples in a batch")
    log_every: int = Field(1, ge=1, description="steps between two logs")
    sample_every: int = Field(5, ge=0, description="steps between two sample files")
    checkpoint_every: int = Field(5, ge=0, description="steps between two checkpoints")
    tensorboard: bool = Field(False, description="off: it is slow to import")
    lr: float = Field(1e-3, gt=0, description="learning rate")
    latents: int | None = Field(None, description="size of the latent vector")
    fault: Literal["none", "bug", "nan", "memory", "full", "hang", "no-data", "slow-data", "no-walk"] = Field(
        "none", description="what goes wrong, at step 3 where it is a loss"
    )
    pause: float = Field(0.0, description="seconds that each loss of D takes")


class Dots(Dataset):
    description = "100 dots around (1, 1)"

    def __len__(self):
        return 100

    def batch(self, indices, draw):
        return 1 + 0.1 * draw.normal("dot", 2).float()


class Pictures(ImageSamples):
    def save_walk(self, folder):
        raise NotImplementedError


class Fake(Task):
    Config = FakeConfig
    best_score = "distance"

    def build(self):
        self.g, self.d = nn.Linear(4, 2), nn.Linear(2, 1)
        return {
            name: Player(net, torch.optim.SGD(net.parameters(), self.config.lr), compile=False)
            for name, net in (("G", self.g), ("D", self.d))
        }

    def data(self):
        if self.config.fault == "no-data":
            raise DataError("There is no data.", hint="Bring some.")
        for done in range(1, 4):
            if self.run.progress:
                self.run.progress(done, 3)
        if self.config.fault == "slow-data":
            print("opening data", file=sys.stderr, flush=True)
            time.sleep(60)
        return Dots()

    def loss(self, phase, batch, shared):
        if self.run.step == 2:
            self.misbehave()
        time.sleep(self.config.pause if phase == "D" else 0)
        fake = self.g(torch.randn(len(batch), 4))
        bce = adversarial_loss("nonsaturating")
        if phase == "G":
            return {"G/adv": bce.generator(self.d(fake))}
        scale = float("nan") if self.run.step == 2 and self.config.fault == "nan" else 1.0
        return {"D/adv": scale * bce.discriminator(self.d(batch), self.d(fake.detach()))}

    def misbehave(self):
        fault = self.config.fault
        if fault == "bug":
            raise ValueError("two of\nthese shapes differ")
        if fault == "memory":
            raise MemoryError("none is left")
        if fault == "full":
            raise OSError(28, "No space left on device", "somewhere")
        if fault == "hang":
            print("hanging", file=sys.stderr, flush=True)
            time.sleep(60)

    def sample(self, n):
        points = self.g(torch.randn(n, 4))
        return ImageSamples(points.reshape(n, 1, 1, 2).expand(n, 1, 4, 2))

    def interpolate(self, n):
        kind = Pictures if self.config.fault == "no-walk" else ImageSamples
        return kind(self.sample(n).images)

    def evaluate(self, n):
        self.data()
        points = self.g(torch.randn(n or 50, 4))
        return {"distance": float((points.mean(0) - 1).norm()), "n": float(n), "endless": float("inf")}
