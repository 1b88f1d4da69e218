"""Drawn tokens follow the softmax, and rewards are those that the paper's plain procedure gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from mmgan_seqgan.networks import Generator
from mmgan_seqgan.rollouts import complete, generate, rewards
from mmgan_seqgan.sampling import draw


@pytest.mark.slow
@pytest.mark.parametrize("vocabulary", [2, 63, 64, 65, 131, 1000])
def test_tokens_follow_the_softmax(vocabulary: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(vocabulary)
    for temperature in (1.0, 0.5):
        tokens = torch.cat([draw(logits.expand(20_000, -1), temperature) for _ in range(5)])
        found = torch.bincount(tokens, minlength=vocabulary).double()
        expected = 100_000 * (logits.double() / temperature).softmax(0)
        often = expected >= 5
        rare = [float(found[~often].sum())], [float(expected[~often].sum())]
        counts = [*found[often].tolist(), *(rare[0] if rare[1][0] >= 5 else [])]
        hopes = [*expected[often].tolist(), *(rare[1] if rare[1][0] >= 5 else [])]
        scale = sum(counts) / sum(hopes)
        assert chisquare(counts, [hope * scale for hope in hopes]).pvalue > 1e-3


def test_each_row_has_its_own_distribution() -> None:
    torch.manual_seed(0)
    wanted = torch.randint(300, (500,))
    logits = torch.zeros(500, 300)
    logits[torch.arange(500), wanted] = 60.0
    assert torch.equal(draw(logits), wanted)


def test_large_logits_do_not_overflow_and_impossible_tokens_are_never_drawn() -> None:
    torch.manual_seed(0)
    logits = torch.full((5_000, 130), -1e30)
    logits[:, 5] = 1e4
    logits[:, 129] = 1e4
    found = draw(logits).unique().tolist()
    assert found == [5, 129]
    assert draw(torch.full((1, 5), 3e38)).item() < 5
    assert draw(torch.tensor([[1.0, 3.0, 2.0]]), temperature=1e-39).item() == 1


def test_draws_at_the_very_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A uniform number of 0, or one that rounds to 1, finds a token that can be drawn."""
    logits = torch.full((1, 200), -1e30)
    logits[0, 70:80] = 0.0
    for number, token in ((0.0, 70), (1.0, 79)):
        monkeypatch.setattr(torch, "rand", lambda *size, number=number, **_: torch.full(size, number))
        assert draw(logits).item() == token


def plain_rewards(generator: Generator, score: object, tokens: Tensor, rollouts: int) -> Tensor:
    """As the paper's code goes about it: each completion of each prefix by itself."""
    batch, length = tokens.shape
    values = torch.zeros(batch, length)
    for _ in range(rollouts):
        for kept in range(1, length):
            x = tokens.clone()
            for position in range(kept, length):
                probabilities = generator(x)[:, position].softmax(1)
                x[:, position] = torch.multinomial(probabilities, 1)[:, 0]
            values[:, kept - 1] += score(x)  # type: ignore[operator]
    values /= rollouts
    values[:, -1] = score(tokens)  # type: ignore[operator]
    return values


class Liking:
    """An opinion that every position has a part in: how many neighbours rise."""

    def judge(self, tokens: Tensor) -> Tensor:
        return (tokens[..., 1:] > tokens[..., :-1]).double().mean(-1).float()

    probability = judge


LIKING: Any = Liking()


def liking(tokens: Tensor) -> Tensor:
    return LIKING.judge(tokens)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru", "transformer"])
def test_rewards_equal_the_plain_ones_within_monte_carlo_error(cell: str) -> None:
    torch.manual_seed(0)
    generator = Generator(9, 4, 8, cell, std=1.5)
    tokens = generate(generator, 3, 5)
    with torch.no_grad():
        plain = plain_rewards(generator, liking, tokens, 600)
    ours = rewards(generator, LIKING, tokens, 600)
    assert ours.shape == (3, 5)
    assert torch.equal(ours[:, -1], liking(tokens))
    # A completion's score deviates by less than 0.5: five standard errors of the difference of two means.
    assert (ours - plain).abs().max() < 5 * 0.5 * (2 / 600) ** 0.5


def test_prefixes_are_kept_and_the_rest_is_drawn() -> None:
    torch.manual_seed(0)
    generator = Generator(1000, 4, 6)
    tokens = generate(generator, 8, 6)
    done = complete(generator, tokens, 4)
    assert done.shape == (5, 4, 8, 6)
    for kept in range(1, 6):
        assert (done[kept - 1, ..., :kept] == tokens[:, :kept]).all()
        # By chance one in a thousand is equal.
        assert (done[kept - 1, ..., kept:] == tokens[:, kept:]).double().mean() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("rows", [50, 4, 1])
def test_parts_that_are_computed_at_once_change_nothing_but_the_draws(rows: int) -> None:
    torch.manual_seed(0)
    generator = Generator(9, 4, 6, std=1.5)
    tokens = generate(generator, 4, 5)
    sizes: list[int] = []

    class Watched(Liking):
        def judge(self, tokens: Tensor) -> Tensor:
            sizes.append(tokens[..., 0].numel())
            return super().judge(tokens)

    watched: Any = Watched()
    small = rewards(generator, watched, tokens, 100, rows=rows)
    assert max(sizes) <= max(rows, 4)  # at least one completion of each of a sequence's prefixes
    assert sum(sizes) == 100 * 4 * 4
    assert (small - rewards(generator, LIKING, tokens, 100)).abs().max() < 5 * 0.5 * (2 / 100) ** 0.5


def never_back(sequences: Tensor) -> bool:
    """Whether nothing follows a token 0 but others."""
    ended = (sequences == 0).long()
    return torch.equal(ended, ended.cummax(1).values)


@pytest.mark.parametrize("cell", ["lstm", "gru", "transformer"])
def test_what_has_ended_stays_ended(cell: str) -> None:
    torch.manual_seed(0)
    generator = Generator(5, 4, 8, cell, length=7)
    tokens = generate(generator, 20, 7, ends=True)
    done = complete(generator, tokens, 3, ends=True)
    for sequences in (tokens, done.flatten(0, 2)):
        assert (sequences == 0).any()
        assert never_back(sequences)
    # Without ends the boundary is a token like any other.
    assert not never_back(generate(generator, 50, 7))


def test_prompts_and_what_is_not_to_be_written() -> None:
    torch.manual_seed(0)
    generator = Generator(5, 4, 8)
    tokens = generate(generator, 100, 6, prompt=[3, 1], without=2)
    assert (tokens[:, :2] == torch.tensor([3, 1])).all()
    assert set(tokens[:, 2:].flatten().tolist()) == {0, 1, 3, 4}


def test_generated_sequences_follow_the_generator() -> None:
    """The likelihood of what it writes is what its own entropy says: for a uniform one, ln V a token."""
    torch.manual_seed(0)
    generator = Generator(50, 4, 4)
    for parameter in generator.parameters():
        torch.nn.init.zeros_(parameter)
    tokens = generate(generator, 2_000, 3)
    counts = torch.bincount(tokens.flatten(), minlength=50)
    assert chisquare(counts.tolist()).pvalue > 1e-3
    nll = torch.nn.functional.cross_entropy(generator(tokens).flatten(0, 1), tokens.flatten())
    assert nll.item() == pytest.approx(torch.tensor(50.0).log().item(), rel=1e-5)
    assert generate(generator, 4, 6).shape == (4, 6)
