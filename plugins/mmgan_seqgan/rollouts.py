"""Action values of tokens: the discriminator's mean score of completions from there (Monte Carlo rollouts).

Yu et al. 2017, section 3.1, equation 4: the generator completes a prefix several times (Monte Carlo search),
and the value of the prefix's last token is the mean probability that these completions are real. Usual
implementations read each prefix again for each completion. Here a prefix's state is computed once, and all
completions of all prefixes advance together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmgan_seqgan.networks import START, Discriminator, Generator, in_parts
from mmgan_seqgan.sampling import draw

#: Rows whose logits a CPU computes and draws from at once: few enough to stay in its cache.
DRAWN = 128
#: Sequences that a CPU samples at once for users, which bounds the memory of their states.
WRITTEN = 2_048


@torch.no_grad()
def rewards(
    generator: Generator,
    discriminator: Discriminator,
    tokens: Tensor,
    rollouts: int,
    rows: int = 4096,
    ends: bool = False,
) -> Tensor:
    """Estimate the action value Q of every token.

    Args:
        generator: The policy of the completions.
        discriminator: Scores the completions.
        tokens: The generator's sequences, int64 (batch, length).
        rollouts: Completions of each prefix.
        rows: Completions that are sampled and scored at once (at least one of each prefix of a sequence).
        ends: Whether :data:`START` also ends a sequence; then only it follows itself.

    Returns:
        (batch, length), each in [0, 1]. The last token's is the sequence's own score.
    """
    prefixes = tokens.shape[1] - 1
    values = []
    for part in torch.split(tokens, max(1, rows // max(1, prefixes))):
        total = torch.zeros(prefixes, len(part), device=tokens.device)
        at_once = max(1, rows // max(1, len(part) * prefixes))
        for first in range(0, rollouts, at_once):
            done = complete(generator, part, min(at_once, rollouts - first), ends)
            total += discriminator.judge(done).sum(1)
        values.append(torch.cat([total / rollouts, discriminator.probability(part)[None]]).T)
    return torch.cat(values)


@torch.no_grad()
def complete(generator: Generator, tokens: Tensor, rollouts: int, ends: bool = False) -> Tensor:
    """Complete every prefix of sequences, in float32: half precision would shift the probabilities.

    Args:
        generator: The policy.
        tokens: int64 (batch, length).
        rollouts: Completions of each prefix.
        ends: As in :func:`rewards`.

    Returns:
        int64 (length - 1, rollouts, batch, length); [t - 1] keeps the first t tokens and draws the others.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        return _complete(generator, tokens, rollouts, ends)


def _complete(generator: Generator, tokens: Tensor, rollouts: int, ends: bool) -> Tensor:
    batch, length = tokens.shape
    done = tokens.expand(length - 1, rollouts, batch, length).clone()
    begun = generator.advance(torch.full_like(tokens[:, 0], START))
    running: tuple[Tensor, Any] | None = None
    for position in range(1, length):
        # The prefix that ends here reads one more token, and its completions join those of shorter prefixes.
        begun = generator.advance(tokens[:, position - 1], begun[1])
        joining = _map(lambda x: x.repeat(*[1] * (x.ndim - 2), rollouts, 1), begun)
        running = (
            joining if running is None else _map(lambda a, b: torch.cat([a, b], dim=-2), running, joining)
        )
        drawn = draw_from(generator.output, running[0]).view(position, rollouts, batch)
        done[:position, ..., position] = _unless_over(drawn, done[:position, ..., position - 1], ends)
        if position < length - 1:
            running = generator.advance(done[:position, ..., position].flatten(), running[1])
    return done


def draw_from(
    output: nn.Module,
    features: Tensor,
    temperature: float = 1.0,
    without: int | None = None,
    uniform: Tensor | None = None,
) -> Tensor:
    """Draw a token other than ``without`` for each row of features (rows, hidden): int64 (rows,)."""
    uniform = _uniform(features) if uniform is None else uniform
    drawn = []
    for part, decides in zip(in_parts(features, DRAWN), in_parts(uniform, DRAWN), strict=True):
        logits = output(part)
        if without is not None:
            logits[:, without] = -torch.inf
        drawn.append(draw(logits, temperature, decides))
    return torch.cat(drawn)


@torch.no_grad()
def generate(
    generator: Generator,
    count: int,
    length: int,
    ends: bool = False,
    temperature: float = 1.0,
    prompt: Sequence[int] = (),
    without: int | None = None,
    uniform: Tensor | None = None,
) -> Tensor:
    """Sample sequences from the generator, in float32: half precision would shift the probabilities.

    Args:
        generator: The generator to sample from.
        count: How many.
        length: Tokens in each.
        ends: As in :func:`rewards`.
        temperature: Divides the logits.
        prompt: The beginning of all sequences, shorter than ``length``.
        without: A token that is never sampled.
        uniform: The random numbers, from U[0, 1), (tokens to sample, count, 1); drawn here by default.

    Returns:
        int64 (count, length).
    """
    token = torch.full((count,), START, device=generator.output.weight.device)
    state, tokens = None, []
    with torch.autocast(token.device.type, enabled=False):
        for position in range(length):
            features, state = generator.advance(token, state)
            if position < len(prompt):
                token = torch.full_like(token, prompt[position])
            else:
                decides = None if uniform is None else uniform[position - len(prompt)]
                drawn = draw_from(generator.output, features, temperature, without, decides)
                token = _unless_over(drawn, token, ends and position > 0)
            tokens.append(token)
    return torch.stack(tokens, dim=1)


def generate_in_parts(
    generator: Generator,
    count: int,
    length: int,
    ends: bool = False,
    temperature: float = 1.0,
    prompt: Sequence[int] = (),
    without: int | None = None,
) -> Iterator[Tensor]:
    """Yield the sequences of :func:`generate` in parts, (part, length), whose states take little memory.

    The random numbers are drawn for all sequences first, token by token, as :func:`generate` does.
    """
    rows = torch.empty(count, 0, device=generator.output.weight.device)
    uniform = torch.stack([_uniform(rows) for _ in range(length - len(prompt))])
    for decides in in_parts(uniform.transpose(0, 1), WRITTEN):
        yield generate(
            generator, len(decides), length, ends, temperature, prompt, without, decides.transpose(0, 1)
        )


def _uniform(rows: Tensor) -> Tensor:
    """Draw a number from U[0, 1) for each row, (rows, 1), in one call for each part on a CPU."""
    return torch.cat([torch.rand(len(part), 1, device=part.device) for part in in_parts(rows, DRAWN)])


def _unless_over(drawn: Tensor, before: Tensor, ends: bool) -> Tensor:
    """Once a sequence has ended, keep emitting :data:`START`; else return the drawn token."""
    return drawn.where(before != START, START) if ends else drawn


def _map(function: Callable[..., Tensor], *trees: Any) -> Any:
    """Apply a function to the tensors of equal nested tuples."""
    if isinstance(trees[0], Tensor):
        return function(*trees)
    return tuple(_map(function, *parts) for parts in zip(*trees, strict=True))
