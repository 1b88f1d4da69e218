"""The networks are the papers': weights counted, patches measured, noise where it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mmgan.config import check
from mmgan.errors import ConfigError
from mmgan_translation.config import CycleGANConfig, Pix2PixConfig
from mmgan_translation.layers import Dropout
from mmgan_translation.patch import PatchDiscriminator, PixelDiscriminator, receptive_field
from mmgan_translation.resnet import ResNet
from mmgan_translation.unet import UNet


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def pix2pix(**settings: Any) -> Pix2PixConfig:
    return check(Pix2PixConfig, {"plugin": "pix2pix", "data": "pictures"} | settings)


def cyclegan(**settings: Any) -> CycleGANConfig:
    return check(CycleGANConfig, {"plugin": "cyclegan", "data": "pictures"} | settings)


def test_parameter_counts_are_the_papers() -> None:
    """As the reference implementations have them."""
    assert count(pix2pix(size=256).make_generator(3, 3)) == 54_413_955
    assert count(pix2pix(size=128).make_generator(3, 3)) == 41_828_995
    assert count(pix2pix().make_discriminator(6)) == 2_768_705
    assert count(cyclegan(size=256).make_generator(3, 3)) == 11_378_179
    assert count(cyclegan(size=128).make_generator(3, 3)) == 7_837_699
    assert count(cyclegan().make_discriminator(3)) == 2_764_737
    # 1x1: 6·64 + 64, 64·128 and batch norm's 2·128, 128.
    assert count(pix2pix(discriminator="pixel").make_discriminator(6)) == 448 + 8_192 + 256 + 128


@pytest.mark.parametrize(
    ("layers", "patch", "side"), [(1, 16, 126), (2, 34, 62), (3, 70, 30), (4, 142, 14), (5, 286, 6)]
)
def test_patches(layers: int, patch: int, side: int) -> None:
    discriminator = PatchDiscriminator(3, 2, layers, norm="none")
    assert receptive_field(discriminator) == patch
    assert discriminator(torch.zeros(1, 3, 256, 256)).shape == (1, 1, side, side)


def test_a_score_depends_on_its_patch_and_on_nothing_else() -> None:
    """The receptive field by its meaning: which pixels have a gradient."""
    torch.manual_seed(0)
    pictures = torch.randn(1, 3, 128, 128, requires_grad=True)
    scores = PatchDiscriminator(3, 4, 2, norm="none")(pictures)
    (gradient,) = torch.autograd.grad(scores[0, 0, 15, 15], pictures)
    rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
    assert int(rows[-1] - rows[0]) + 1 == 34
    assert receptive_field(PixelDiscriminator(3)) == 1


def test_layers_of_the_u_net() -> None:
    network = UNet(3, 3)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert all(m.kernel_size == (4, 4) and m.stride == (2, 2) for m in convolutions)
    down = [m.out_channels for m in convolutions if isinstance(m, nn.Conv2d)]
    up = [(m.in_channels, m.out_channels) for m in convolutions if isinstance(m, nn.ConvTranspose2d)]
    assert down == [64, 128, 256, 512, 512, 512, 512, 512]
    assert up == [
        (512, 512), (1024, 512), (1024, 512), (1024, 512), (1024, 256), (512, 128), (256, 64), (128, 3)
    ]  # fmt: skip
    # None after the first convolution, the bottleneck and the last.
    assert [any(isinstance(m, nn.BatchNorm2d) for m in layer.modules()) for layer in network.down] == [
        False, *[True] * 6, False
    ]  # fmt: skip
    assert [any(isinstance(m, nn.BatchNorm2d) for m in layer.modules()) for layer in network.up] == [
        *[True] * 7, False
    ]  # fmt: skip
    assert [any(isinstance(m, Dropout) for m in layer.modules()) for layer in network.up] == [
        *[True] * 3, *[False] * 5
    ]  # fmt: skip
    assert {m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}


def test_skips_carry_the_encoder_s_features() -> None:
    """Without its skips a decoder can't know a pixel: with a dead bottleneck the output still follows it."""
    torch.manual_seed(0)
    network = UNet(1, 1, 4, 5, norm="none", noise="none")
    nn.init.zeros_(network.down[-1][1].weight)
    pictures = torch.randn(1, 1, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(pictures)[0, 0, 16, 16], pictures)
    assert gradient[0, 0, 14:18, 14:18].abs().min() > 0


def test_layers_of_the_resnet() -> None:
    network = ResNet(3, 3, blocks=9)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [m.out_channels for m in convolutions] == [64, 128, 256, *[256] * 18, 128, 64, 3]
    assert [m.kernel_size[0] for m in convolutions] == [7, *[3] * 22, 7]
    norms = [m for m in network.modules() if isinstance(m, nn.InstanceNorm2d)]
    assert len(norms) == 23
    assert not any(m.affine or m.track_running_stats for m in norms)
    assert network(torch.zeros(2, 3, 20, 28)).shape == (2, 3, 20, 28)


def test_initialisation() -> None:
    torch.manual_seed(0)
    for network in (UNet(3, 3, 32, 5), ResNet(3, 3, 32, 2), PatchDiscriminator(6)):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.weight.numel() > 5000:
                assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
            if isinstance(module, nn.BatchNorm2d):
                assert float(module.weight.detach().mean()) == pytest.approx(1, abs=0.02)
                assert not module.bias.detach().any()


@pytest.mark.parametrize("when", ["always", "training", "none"])
def test_dropout_is_the_noise(when: Any) -> None:
    torch.manual_seed(0)
    network = UNet(1, 1, 8, 5, norm="instance", noise=when)
    pictures = torch.randn(1, 1, 32, 32)
    assert torch.equal(network(pictures), network(pictures)) == (when == "none")
    network.eval()
    assert torch.equal(network(pictures), network(pictures)) == (when != "always")


def test_dropout_has_no_say_in_which_weights_there_are() -> None:
    """So that a run can be used with another setting than it was trained with."""
    for network in (UNet, ResNet):
        keys = [network(1, 1, 4, 4, noise=when).state_dict().keys() for when in ("always", "none")]
        assert keys[0] == keys[1]


def test_batch_norm_of_one_picture_is_its_own_in_use_too() -> None:
    """Isola et al.: statistics of the test batch, which at batch 1 is instance norm."""
    torch.manual_seed(0)
    alone = pix2pix(size=32, width=4, dropout="none").make_generator(3, 3)
    pictures = torch.randn(1, 3, 32, 32)
    trained = alone(pictures)
    alone.eval()
    assert torch.equal(alone(pictures), trained)
    assert not any(isinstance(m, nn.BatchNorm2d) and m.track_running_stats for m in alone.modules())
    many = pix2pix(size=32, width=4, batch_size=4).make_generator(3, 3)
    assert all(m.track_running_stats for m in many.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("generator", ["unet", "resnet"])
def test_every_choice_of_networks_passes_pictures(norm: str, generator: str) -> None:
    config = pix2pix(size=32, width=4, d_width=4, d_layers=1, generator=generator, norm=norm)
    fake = config.make_generator(2, 3)(torch.randn(1, 2, 32, 32))
    assert fake.shape == (1, 3, 32, 32)
    assert fake.abs().max() <= 1
    assert config.make_discriminator(3)(fake).shape == (1, 1, 14, 14)
    kinds = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
    found = [m for m in config.make_generator(2, 3).modules() if isinstance(m, tuple(kinds.values()))]
    assert all(isinstance(m, kinds[norm]) for m in found)
    assert bool(found) == (norm != "none")


def test_a_penalised_discriminator_has_no_batch_norm() -> None:
    discriminator = pix2pix(loss="wgan", penalty="wgan-gp").make_discriminator(6)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in discriminator.modules())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 48}, "powers of 2"),
        ({"size": 48, "depth": 5}, "multiple of 2\\^depth"),
        ({"size": 32, "depth": 1}, "at least 2"),
        ({"size": 34, "generator": "resnet"}, "multiples of 4"),
        ({"blocks": 6}, "no such thing"),
        ({"generator": "resnet", "depth": 5}, "no such thing"),
        ({"size": 32, "d_layers": 4}, "at least 48 pixels"),
        ({"lr_constant": 0, "lr_decay": 0}, "both 0"),
        ({"derive": "edges", "direction": "BtoA"}, "derived pairs go from A"),
    ],
)
def test_sizes_that_can_t_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pix2pix(**settings)


def test_what_cyclegan_can_t_derive() -> None:
    with pytest.raises(ConfigError, match="only be filled from pairs"):
        cyclegan(derive="inpaint")
    with pytest.raises(ConfigError, match="identity_weight=0"):
        cyclegan(derive="colorize")
    assert cyclegan(derive="colorize", identity_weight=0).derive == "colorize"


def test_multiples() -> None:
    assert pix2pix(size=256).multiple == 256
    assert pix2pix(size=96, depth=5).multiple == 32
    assert cyclegan(size=100).multiple == 8


def test_small_pictures_pass_a_resnet() -> None:
    network = cyclegan(width=2, blocks=1).make_generator(3, 3)
    assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("size", [16, "64"])
def test_digits_of_another_size_are_not_cropped(size: Any) -> None:
    for task, kind in (("pix2pix", Pix2PixConfig), ("cyclegan", CycleGANConfig)):
        config = check(kind, {"plugin": task, "size": size, "d_layers": 1})
        assert config.size == config.load_size == int(size)
