"""SeqGAN's networks have the paper's sizes."""

from __future__ import annotations

import pytest
import torch

from mmgan_seqgan.networks import Discriminator, Generator, Highway, oracle
from mmgan_seqgan.rollouts import complete


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_are_as_many_as_the_paper_s() -> None:
    # 128 of them are the recurrent layer's second bias, which torch has and the paper has not.
    assert count(Generator(5000)) == 333_320 + 128
    assert count(Discriminator(5000)) == 7_045_402
    assert count(Generator(5000, cell="gru")) == 160_000 + 3 * (32 * 64 + 64) + 165_000
    # Positions; per layer attention, mixing, two inner layers with biases, two normalisations; the last one.
    layer = 3 * 32 * 33 + 32 * 33 + 128 * 33 + 32 * 129 + 4 * 32
    assert count(Generator(5000, cell="transformer")) == 160_000 + 20 * 32 + 2 * layer + 64 + 165_000


def test_weights_are_drawn_as_in_the_paper() -> None:
    torch.manual_seed(0)
    for generator, std in ((Generator(5000), 0.1), (oracle(), 1.0)):
        assert generator.embedding.weight.std().item() == pytest.approx(std, rel=0.02)
        assert generator.output.bias.std().item() == pytest.approx(std, rel=0.05)
        # Two biases with this deviation would make one with twice the variance.
        assert generator.recurrent.bias_ih_l0.std().item() == pytest.approx(std, rel=0.2)
        assert not generator.recurrent.bias_hh_l0.any()
    d = Discriminator(50)
    assert d.embedding.weight.abs().max() <= 1
    assert d.embedding.weight.std().item() == pytest.approx(3**-0.5, rel=0.05)
    assert d.output.weight.abs().max() <= 0.2


def test_an_oracle_learns_nothing() -> None:
    assert not any(parameter.requires_grad for parameter in oracle(50, 4).parameters())


@pytest.mark.parametrize("cell", ["lstm", "gru", "transformer"])
def test_predictions_depend_on_what_came_before_only(cell: str) -> None:
    torch.manual_seed(0)
    generator = Generator(11, 5, 8, cell, std=1.0)
    tokens = torch.randint(11, (3, 6))
    logits = generator(tokens)
    assert logits.shape == (3, 6, 11)
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 11
    assert torch.equal(generator(changed)[:, :4], logits[:, :4])
    assert not torch.equal(generator(changed)[:, 4:], logits[:, 4:])


@pytest.mark.parametrize("cell", ["lstm", "gru", "transformer"])
def test_reading_token_by_token_is_the_same(cell: str) -> None:
    torch.manual_seed(0)
    generator = Generator(11, 5, 8, cell, std=1.0)
    tokens = torch.randint(11, (3, 6))
    state, token, steps = None, torch.zeros(3, dtype=torch.int64), []
    for position in range(6):
        features, state = generator.advance(token, state)
        steps.append(generator.output(features))
        token = tokens[:, position]
    torch.testing.assert_close(torch.stack(steps, 1), generator(tokens))


def test_short_sequences_have_no_wide_filters() -> None:
    d = Discriminator(30, length=12)
    assert max(convolution.kernel_size[0] for convolution in d.convolutions) == 10
    assert d.output.in_features == 1400
    assert d(torch.randint(30, (4, 12))).shape == (4, 2)


def test_a_highway_s_gate_and_transform_are_two_layers() -> None:
    torch.manual_seed(0)
    highway, x = Highway(3), torch.randn(2, 3)
    gate = torch.sigmoid(x @ highway.gate.weight.T - 2)
    transformed = torch.relu(x @ highway.transform.weight.T)
    torch.testing.assert_close(highway(x), gate * transformed + (1 - gate) * x)


def test_a_filter_finds_its_n_gram_wherever_it_is() -> None:
    torch.manual_seed(0)
    d = Discriminator(30, length=20).eval()
    one, other = torch.zeros(1, 20, dtype=torch.int64), torch.zeros(1, 20, dtype=torch.int64)
    one[0, 9], other[0, 10] = 7, 7
    # The widest two fit in a few places only, where they see the token in some of their own.
    with torch.no_grad():
        for convolution in d.convolutions[-2:]:
            convolution.weight.zero_()
    torch.testing.assert_close(d(one), d(other))


@pytest.mark.parametrize(("length", "batch", "rollouts"), [(20, 3, 2), (7, 5, 60), (2, 2, 1)])
def test_completions_are_judged_as_if_each_came_alone(length: int, batch: int, rollouts: int) -> None:
    torch.manual_seed(0)
    d = Discriminator(30, length)
    done = complete(Generator(30), torch.randint(30, (batch, length)), rollouts)
    together = d.judge(done)
    assert together.shape == (length - 1, rollouts, batch)
    d.eval()
    with torch.no_grad():
        alone = d(done.flatten(0, 2)).softmax(1)[:, 1].view_as(together)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_dropout_drops_a_quarter_and_only_in_training() -> None:
    torch.manual_seed(0)
    d = Discriminator(30)
    tokens = torch.randint(30, (2, 20))
    assert d.dropout.p == 0.25
    assert not torch.equal(d(tokens), d(tokens))
    d.eval()
    assert torch.equal(d(tokens), d(tokens))
