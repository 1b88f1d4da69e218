"""DCGAN's networks as a page of plain PyTorch, for the bare loops that mmgan is measured against.

The layers are those of Radford et al. 2016 in the form of PyTorch's example. They are written out again here,
so that a bare loop shares nothing with the toolkit.
"""

from __future__ import annotations

from torch import nn


def build_generator(size: int, channels: int, width: int, latent: int) -> nn.Sequential:
    """Return a network from latents (N, latent, 1, 1) to pictures (N, channels, size, size) in [-1, 1].

    Args:
        size: 32, 64 or 128.
        channels: 1 or 3.
        width: Feature maps of the layer before the pictures.
        latent: Length of the latents.
    """
    maps = width * size // 8
    layers: list[nn.Module] = [nn.ConvTranspose2d(latent, maps, 4, 1, 0, bias=False)]
    while maps > width:
        layers += [nn.BatchNorm2d(maps), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(maps, maps // 2, 4, 2, 1, bias=False)]
        maps //= 2
    layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    layers += [nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh()]
    return nn.Sequential(*layers).apply(_initialise)


def build_discriminator(size: int, channels: int, width: int, norm: bool = True) -> nn.Sequential:
    """Return a network from pictures (N, channels, size, size) to logits (N,).

    Args:
        size: 32, 64 or 128.
        channels: 1 or 3.
        width: Feature maps of the first layer.
        norm: Batch norm; without it layers have biases, and PyTorch's initialisation.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 4, 2, 1, bias=not norm),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    maps = width
    while maps < width * size // 8:
        layers += [nn.Conv2d(maps, maps * 2, 4, 2, 1, bias=not norm)]
        maps *= 2
        layers += [nn.BatchNorm2d(maps)] if norm else []
        layers += [nn.LeakyReLU(0.2, inplace=True)]
    layers += [nn.Conv2d(maps, 1, 4, 1, 0, bias=not norm), nn.Flatten(0)]
    network = nn.Sequential(*layers)
    return network.apply(_initialise) if norm else network


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
