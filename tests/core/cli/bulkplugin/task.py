"""The games."""

import torch
from pydantic import Field
from torch import nn

from mmgan import Player
from mmgan.tasks.audio import AudioTask, AudioTaskConfig
from mmgan.tasks.image import ImageTask, ImageTaskConfig


class Stretched(nn.Module):
    def __init__(self, latent, shape):
        super().__init__()
        self.shape = shape
        self.linear = nn.Linear(latent, 1)

    def forward(self, latents):
        ones = torch.ones(len(latents), *self.shape)
        return ones * self.linear(latents).tanh().view(-1, *[1] * len(self.shape))


class Bulk:
    def build(self):
        self.g, self.d = Stretched(4, self.shape), nn.Linear(1, 1)
        return {
            name: Player(net, torch.optim.SGD(net.parameters(), 1e-3))
            for name, net in (("G", self.g), ("D", self.d))
        }

    def loss(self, phase, real, shared):
        made = self.g(self.latents(len(real))).flatten(1).mean(1, keepdim=True)
        return {phase: (self.d(made) if phase == "G" else self.d(made.detach())).square().mean()}


class Picture(Bulk, ImageTask):
    class Config(ImageTaskConfig):
        size: int = Field(128, description="side")
        channels: int = Field(1, description="grey")
        latent: int = Field(4, description="latent")
        tensorboard: bool = False

    @property
    def shape(self):
        return self.config.channels, self.config.size, self.config.size


class Sound(Bulk, AudioTask):
    class Config(AudioTaskConfig):
        length: int = Field(16384, description="frames")
        latent: int = Field(4, description="latent")
        tensorboard: bool = False

    @property
    def shape(self):
        return self.config.channels, self.config.length
