"""pix2pix's generator: an encoder and a decoder with skip connections (Isola et al. 2017, section 6.1.1)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from mmgan_translation.layers import Dropout, Norm, When, has_bias, initialise, norm_layers


class UNet(nn.Module):
    """Halve the picture ``depth`` times, then double it again, each time beside the encoder's features.

    U-Net-256 is ``depth=8``, U-Net-128 ``depth=7``: the bottleneck of a picture of that side is 1x1. Larger
    pictures are accepted too, if their sides are multiples of 2^depth.

    Args:
        inputs: Channels of the input pictures.
        outputs: Channels of the output pictures.
        width: Feature maps of the first layer; they double up to eight times as many.
        depth: How often the picture is halved, at least 2.
        norm: After all convolutions but the first, the bottleneck's and the last.
        noise: When there is dropout in the decoder's first three layers: ``always`` is the paper's, its only
            noise; or only in ``training``; or ``none``.
        running: Running statistics for batch norm; see :func:`mmgan_translation.layers.norm_layers`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        depth: int = 8,
        norm: Norm = "batch",
        noise: When = "always",
        running: bool = False,
    ) -> None:
        super().__init__()
        widths = [width * min(2**layer, 8) for layer in range(depth)]
        bias = has_bias(norm)
        down: list[nn.Module] = [nn.Conv2d(inputs, widths[0], 4, 2, 1, bias=bias)]
        for layer, (narrow, wide) in enumerate(pairwise(widths), 1):
            bottleneck = layer == depth - 1
            down.append(
                nn.Sequential(
                    nn.LeakyReLU(0.2),
                    nn.Conv2d(narrow, wide, 4, 2, 1, bias=bias),
                    # A 1x1 bottleneck has one value per channel: normalised, it would be 0.
                    *([] if bottleneck else norm_layers(norm, wide, running)),
                )
            )
        up: list[nn.Module] = []
        for layer, (wide, narrow) in enumerate(pairwise(widths[::-1])):
            up.append(
                nn.Sequential(
                    nn.ConvTranspose2d(wide if layer == 0 else 2 * wide, narrow, 4, 2, 1, bias=bias),
                    *norm_layers(norm, narrow, running),
                    *([Dropout(noise)] if layer < 3 else []),
                )
            )
        up.append(nn.Sequential(nn.ConvTranspose2d(2 * widths[0], outputs, 4, 2, 1), nn.Tanh()))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        self.apply(initialise)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs, height, width) in [-1, 1]."""
        features, skips = pictures, []
        for layer in self.down:
            features = layer(features)
            skips.append(features)
        skips.pop()
        for layer in self.up[:-1]:
            features = torch.cat([skips.pop(), layer(relu(features))], 1)
        generated: Tensor = self.up[-1](relu(features))
        return generated
