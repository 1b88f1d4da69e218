"""WaveGAN's networks are the paper's: sizes, layers, phase shuffle, initialisation."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgan.losses import gradient_penalty
from mmgan_wavegan import layers
from mmgan_wavegan import phase_shuffle as shuffling
from mmgan_wavegan.layers import PostFilter
from mmgan_wavegan.networks import Critic, Generator
from mmgan_wavegan.phase_shuffle import gathered, phase_shuffle, shift


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "dim", "g", "d"),
    [
        (16_384, 64, 19_065_345, 17_427_969),
        (32_768, 64, 73_149_953, 69_875_201),
        (65_536, 64, 73_149_953, 69_875_201),
        (16_384, 16, 1_502_337, 1_092_993),
        # Six layers: G 101·16·512, then 25·w·w/2 + w/2 for w = 512, 256, 128, 64, 32 and 25·16 + 1.
        (32_768, 16, 5_193_089, 4_374_401),
        (65_536, 16, 5_193_089, 4_374_401),
    ],
)
def test_parameter_counts(length: int, dim: int, g: int, d: int) -> None:
    assert (count(Generator(length, 1, dim, 100)), count(Critic(length, 1, dim))) == (g, d)


def test_options_change_the_counts_as_they_should() -> None:
    mono, stereo = Critic(16_384, 1, 4), Critic(16_384, 2, 4)
    assert count(stereo) - count(mono) == 25 * 4
    plain, filtered = Generator(16_384, 1, 4, 100), Generator(16_384, 1, 4, 100, post_filter=512)
    assert count(filtered) - count(plain) == 512
    assert count(Generator(16_384, 1, 4, 100, upsampling="nearest")) == count(plain)


@pytest.mark.parametrize("length", [16_384, 32_768, 65_536])
@pytest.mark.parametrize("channels", [1, 2])
def test_lengths_on_the_way(length: int, channels: int) -> None:
    g, d = Generator(length, channels, 2, 10), Critic(length, channels, 2)
    seen: list[int] = []
    for layer in (*g.layers, *d.layers):
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[2]))
    sounds = g(torch.rand(2, 10))
    assert sounds.shape == (2, channels, length)
    assert sounds.abs().max() <= 1
    assert d(sounds).shape == (2,)
    ups = {16_384: [64, 256, 1024, 4096], 32_768: [64, 256, 1024, 4096, 16_384]}.get(
        length, [64, 256, 1024, 4096, 16_384]
    )
    downs = {16_384: [4096, 1024, 256, 64, 16], 32_768: [8192, 2048, 512, 128, 32, 16]}.get(
        length, [16_384, 4096, 1024, 256, 64, 16]
    )
    assert seen == [*ups, length, *downs]


@pytest.mark.parametrize("upsampling", ["nearest", "linear"])
@pytest.mark.parametrize("post_filter", [0, 512])
def test_other_generators(upsampling: str, post_filter: int) -> None:
    g = Generator(16_384, 2, 2, 10, upsampling=upsampling, post_filter=post_filter)
    assert g(torch.rand(2, 10)).shape == (2, 2, 16_384)


def test_nearest_upsampling_repeats_samples() -> None:
    layer = layers.ResizeConvolution(1, 1, 5, 4, "nearest")
    with torch.no_grad():
        layer.convolution.weight.zero_()[2] = 1.0
    assert layer(torch.tensor([[[1.0, 2.0]]])).tolist() == [[[1.0] * 4 + [2.0] * 4]]


def test_the_networks_are_the_paper_s_layer_by_layer() -> None:
    """Written once more, in torch's own functions."""
    torch.manual_seed(0)
    g, d = Generator(16_384, 1, 4, 10), Critic(16_384, 1, 4, shuffle=0)
    for module in (g, d):
        for parameter in module.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter)
    z = torch.rand(3, 10) * 2 - 1
    x = F.relu(g.dense(z)).view(3, 16, 64).transpose(1, 2)
    for number, layer in enumerate(g.layers):
        x = F.conv_transpose1d(x, layer.weight.permute(2, 1, 0), layer.bias, 4, 11, 1)
        x = torch.tanh(x) if number == 4 else F.relu(x)
    torch.testing.assert_close(g(z), x, rtol=0, atol=1e-3)
    for layer in d.layers:
        x = F.leaky_relu(F.conv1d(x, layer.weight.permute(2, 1, 0), layer.bias, 4, 11), 0.2)
    scores = F.linear(x.transpose(1, 2).flatten(1), d.dense.weight, d.dense.bias)[:, 0]
    torch.testing.assert_close(d(g(z)), scores, rtol=1e-3, atol=1e-3)


def test_initialisation_is_glorot_s_uniform_with_zero_bias() -> None:
    torch.manual_seed(0)
    for layer in (*Generator(16_384, 1, 16, 100).layers, *Critic(16_384, 1, 16).layers):
        bound = sqrt(6 / (25 * (layer.weight.shape[1] + layer.weight.shape[2])))
        assert layer.weight.abs().max() <= bound
        assert layer.weight.abs().max() > 0.98 * bound
        assert float(layer.weight.detach().std()) == pytest.approx(bound / sqrt(3), rel=0.1)
        assert not layer.bias.any()
    assert not Critic(16_384, 1, 2).dense.bias.any()


def test_there_is_no_batch_norm() -> None:
    for module in (*Generator(16_384, 1, 2, 10).modules(), *Critic(16_384, 1, 2).modules()):
        assert "Norm" not in type(module).__name__


# Phase shuffle.


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (2, [2, 1, 0, 1, 2, 3]),
        (-2, [2, 3, 4, 5, 4, 3]),
        (1, [1, 0, 1, 2, 3, 4]),
        (-1, [1, 2, 3, 4, 5, 4]),
        (0, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_shift_reflects_at_the_edges(by: int, expected: list[int]) -> None:
    x = torch.arange(6.0).expand(2, 3, 6)
    assert torch.equal(shift(x, [by]), torch.tensor(expected).float().expand(2, 3, 6))
    padded = F.pad(x, (max(by, 0), max(-by, 0)), "reflect")
    assert torch.equal(shift(x, [by]), padded[..., :6] if by > 0 else padded[..., -6:])


@pytest.mark.parametrize("shifts", [[2], [-2], [0], [1, -1], [2, 0, -2, 1]])
def test_shifts_that_stay_on_a_gpu_do_the_same(shifts: list[int]) -> None:
    x = torch.rand(4, 3, 8, dtype=torch.float64, requires_grad=True)
    one, other = shift(x, shifts), gathered(x, torch.tensor(shifts))
    assert torch.equal(one, other)
    weight = torch.rand_like(one)
    by_hand, by_torch = (torch.autograd.grad((y.square() * weight).sum(), x)[0] for y in (one, other))
    torch.testing.assert_close(by_hand, by_torch)
    assert torch.autograd.gradgradcheck(lambda x: gathered(x, torch.tensor(shifts)).square(), x)


def test_phase_shuffle_draws_all_shifts_for_a_batch_or_each_sample() -> None:
    torch.manual_seed(0)
    x = torch.arange(32.0).expand(4, 1, 32)
    together = {tuple(phase_shuffle(x, 2)[:, 0, 10].tolist()) for _ in range(200)}
    assert together == {(float(v),) * 4 for v in (8, 9, 10, 11, 12)}
    apart = torch.cat([phase_shuffle(x, 2, 4)[:, 0, 10] for _ in range(50)])
    assert set(apart.tolist()) == {8.0, 9.0, 10.0, 11.0, 12.0}
    assert torch.equal(phase_shuffle(x, 0), x)


def test_sets_of_sounds_pass_together_as_if_each_came_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    critic, real, fake = Critic(16_384, 1, 4), torch.rand(3, 1, 16_384), torch.rand(3, 1, 16_384)
    drawn: list[list[int]] = []

    def watched(x: Tensor, shifts: list[int]) -> Tensor:
        drawn.append(shifts)
        return shift(x, shifts)

    monkeypatch.setattr(shuffling, "shift", watched)
    monkeypatch.setattr(torch, "randint", lambda low, high, size: torch.tensor([2, -1])[: size[0]])
    together = critic(torch.cat([real, fake]), sets=2)
    assert drawn == [[2, -1]] * 4
    monkeypatch.setattr(torch, "randint", lambda low, high, size: torch.tensor([2]))
    on_real = critic(real)
    monkeypatch.setattr(torch, "randint", lambda low, high, size: torch.tensor([-1]))
    torch.testing.assert_close(together, torch.cat([on_real, critic(fake)]), rtol=1e-4, atol=1e-5)


def test_each_sound_may_have_shifts_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mmgan_wavegan.networks.phase_shuffle",
        lambda x, n, draws: x if draws == 5 else pytest.fail(str(draws)),
    )
    Critic(16_384, 1, 2, shuffle_each="sample")(torch.rand(5, 1, 16_384))


@pytest.mark.parametrize("shifts", [[2], [-1], [0, 1, -2]])
def test_shift_is_differentiable_twice(shifts: list[int]) -> None:
    x = torch.randn(3, 2, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: shift(x, shifts), x)
    assert torch.autograd.gradgradcheck(lambda x: shift(x, shifts), x)


@pytest.mark.parametrize(
    ("length", "shuffled"),
    [
        (16_384, [4096, 1024, 256, 64]),
        (32_768, [8192, 2048, 512, 128]),
        (65_536, [16_384, 4096, 1024, 256]),
    ],
)
def test_the_critic_shuffles_its_four_outer_layers_and_each_pass_anew(
    length: int, shuffled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the paper's code does for every length."""
    lengths: list[int] = []

    def watched(x: Tensor, n: int, draws: int) -> Tensor:
        lengths.append(x.shape[2])
        assert (n, draws) == (2, 1)
        return phase_shuffle(x, n, draws)

    monkeypatch.setattr("mmgan_wavegan.networks.phase_shuffle", watched)
    torch.manual_seed(0)
    critic, x = Critic(length, 1, 2), torch.rand(2, 1, length)
    scores = [critic(x) for _ in range(4)]
    assert lengths == shuffled * 4
    assert len({score[0].item() for score in scores}) > 1


def test_a_post_filter_that_passes_one_tap_changes_nothing() -> None:
    filtered = PostFilter(1, 512)
    with torch.no_grad():
        filtered.weight.zero_()[0, 0, 255] = 1.0
    x = torch.randn(2, 1, 1000)
    torch.testing.assert_close(filtered(x), x)
    assert PostFilter(2, 511)(torch.randn(1, 2, 600)).shape == (1, 2, 600)


# The penalty on a critic of 16,384 samples (figures: lambda = 10).


@pytest.mark.parametrize(("slope", "expected"), [(0.0, 10.0), (1.0, 161_290.0), (1 / 128, 0.0)])
def test_the_penalty_of_linear_critics(slope: float, expected: float) -> None:
    gradient = torch.full((4, 1, 16_384), slope)
    assert float(10 * gradient_penalty(gradient)) == pytest.approx(expected, rel=1e-5, abs=1e-6)
