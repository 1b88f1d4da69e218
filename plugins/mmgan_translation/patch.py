"""PatchGAN discriminators, which score patches of a picture (Isola et al. 2017, 3.2.2 and 6.1.2)."""

from __future__ import annotations

from torch import Tensor, nn

from mmgan_translation.layers import Norm, has_bias, initialise, norm_layers


class PatchDiscriminator(nn.Module):
    """A PatchGAN: C64-C128-C256-C512 and one score for each patch, by 4x4 convolutions.

    Args:
        inputs: Channels of the pictures: of both sides together where D sees pairs.
        width: Feature maps of the first layer; they double up to eight times as many.
        layers: 1 to 5 for patches of 16, 34, 70 (the papers'), 142, 286 pixels; each halves the picture, and
            two more convolutions follow at that size.
        norm: After all convolutions but the first and the last.
        running: Running statistics for batch norm; see :func:`mmgan_translation.layers.norm_layers`.
    """

    def __init__(
        self, inputs: int, width: int = 64, layers: int = 3, norm: Norm = "batch", running: bool = False
    ) -> None:
        super().__init__()
        narrow, bias = width, has_bias(norm)
        modules: list[nn.Module] = [nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for layer in range(1, layers + 1):
            wide = width * min(2**layer, 8)
            stride = 2 if layer < layers else 1
            modules += [
                nn.Conv2d(narrow, wide, 4, stride, 1, bias=bias),
                *norm_layers(norm, wide, running),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            narrow = wide
        modules.append(nn.Conv2d(narrow, 1, 4, 1, 1))
        self.layers = nn.Sequential(*modules)
        self.apply(initialise)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to raw scores (batch, 1, rows, columns)."""
        scores: Tensor = self.layers(pictures)
        return scores


class PixelDiscriminator(nn.Module):
    """The 1x1 PatchGAN: it judges each pixel separately, by C64-C128 of 1x1 convolutions.

    Args:
        inputs: Channels of the pictures: of both sides together where D sees pairs.
        width: Feature maps of the first layer.
        norm: After the second convolution.
        running: Running statistics for batch norm; see :func:`mmgan_translation.layers.norm_layers`.
    """

    def __init__(self, inputs: int, width: int = 64, norm: Norm = "batch", running: bool = False) -> None:
        super().__init__()
        bias = has_bias(norm)
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, width, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            *norm_layers(norm, 2 * width, running),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )
        self.apply(initialise)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to raw scores (batch, 1, height, width)."""
        scores: Tensor = self.layers(pictures)
        return scores


def receptive_field(discriminator: nn.Module) -> int:
    """Return the side of the patch that one score depends on, in pixels."""
    side = 1
    for layer in reversed([m for m in discriminator.modules() if isinstance(m, nn.Conv2d)]):
        side = (side - 1) * layer.stride[0] + layer.kernel_size[0]
    return side
