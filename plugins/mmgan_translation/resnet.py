"""CycleGAN's generator: residual blocks at a quarter of the size (Zhu et al. 2017, section 7.2)."""

from __future__ import annotations

from torch import Tensor, nn

from mmgan_translation.layers import Dropout, Norm, ReflectionPad, When, has_bias, initialise, norm_layers


class ResNet(nn.Module):
    """c7s1-64, d128, d256, R256 x blocks, u128, u64, c7s1-3 (Johnson et al. 2016), reflected at the edges.

    Args:
        inputs: Channels of the input pictures.
        outputs: Channels of the output pictures.
        width: Feature maps of the first layer.
        blocks: Residual blocks: 9 in the paper for 256 pixels, 6 for 128.
        norm: After all convolutions but the last.
        noise: When there is dropout in the blocks: ``always``, in ``training``, or ``none`` as in the paper.
        running: Running statistics for batch norm; see :func:`mmgan_translation.layers.norm_layers`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 64,
        blocks: int = 9,
        norm: Norm = "instance",
        noise: When = "none",
        running: bool = False,
    ) -> None:
        super().__init__()
        bias = has_bias(norm)

        def normalised(convolution: nn.Module, channels: int) -> list[nn.Module]:
            return [convolution, *norm_layers(norm, channels, running), nn.ReLU(inplace=True)]

        layers = [ReflectionPad(3), *normalised(nn.Conv2d(inputs, width, 7, bias=bias), width)]
        for wide in (2 * width, 4 * width):
            layers += normalised(nn.Conv2d(wide // 2, wide, 3, 2, 1, bias=bias), wide)
        layers += [ResidualBlock(4 * width, norm, noise, running) for _ in range(blocks)]
        for narrow in (2 * width, width):
            up = nn.ConvTranspose2d(2 * narrow, narrow, 3, 2, 1, output_padding=1, bias=bias)
            layers += normalised(up, narrow)
        layers += [ReflectionPad(3), nn.Conv2d(width, outputs, 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(initialise)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map (batch, inputs, height, width), sides multiples of 4, to (batch, outputs, …) in [-1, 1]."""
        generated: Tensor = self.layers(pictures)
        return generated


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to the input (He et al. 2016), no ReLU after the sum."""

    def __init__(self, channels: int, norm: Norm, noise: When, running: bool) -> None:
        super().__init__()
        bias = has_bias(norm)
        self.layers = nn.Sequential(
            ReflectionPad(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            *norm_layers(norm, channels, running),
            nn.ReLU(inplace=True),
            Dropout(noise),
            ReflectionPad(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            *norm_layers(norm, channels, running),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        changed: Tensor = self.layers(features)
        return features + changed
