"""What each token of a sequence is worth: the discriminator's mean opinion of how sequences go on from there.

Yu et al. 2017, section 3.1, equation 4: a prefix is completed by the generator several times (Monte Carlo
search), and the token that ended it is worth the mean probability of being real of what came of it. As it is
usually written, each prefix is read again for each completion. Here a prefix's state is computed once, and
all completions of all prefixes advance together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmgan_seqgan.networks import START, Generator
from mmgan_seqgan.sampling import draw

#: Rows whose logits are computed and drawn from at once: few enough to stay in a processor's cache.
DRAWN_AT_ONCE = 256


@torch.no_grad()
def rewards(
    generator: Generator, score: Callable[[Tensor], Tensor], tokens: Tensor, rollouts: int, rows: int = 1024
) -> Tensor:
    """Estimate the action value Q of every token.

    Args:
        generator: The policy of the completions.
        score: From int64 (n, length) to the probability of being real, (n,).
        tokens: The generator's sequences, int64 (batch, length).
        rollouts: Completions of each prefix.
        rows: Sequences that are scored at once, and completed at once where one rollout has no more of them.

    Returns:
        (batch, length), each in [0, 1]. The last token's is the sequence's own score.
    """
    batch, length = tokens.shape
    total = torch.zeros(length - 1, batch, device=tokens.device)
    at_once = max(1, rows // (batch * max(1, length - 1)))
    for first in range(0, rollouts, at_once):
        done = complete(generator, tokens, min(at_once, rollouts - first))
        scores = torch.cat([score(part) for part in done.view(-1, length).split(rows)])
        total += scores.view(done.shape[:3]).sum(1)
    return torch.cat([total / rollouts, score(tokens)[None]]).T


@torch.no_grad()
def complete(generator: Generator, tokens: Tensor, rollouts: int) -> Tensor:
    """Let the generator complete every prefix of sequences.

    Args:
        generator: The policy.
        tokens: int64 (batch, length).
        rollouts: Completions of each prefix.

    Returns:
        int64 (length - 1, rollouts, batch, length); [t - 1] keeps the first t tokens and draws the others.
    """
    batch, length = tokens.shape
    done = tokens.expand(length - 1, rollouts, batch, length).clone()
    begun = generator.advance(torch.full_like(tokens[:, 0], START))
    running: tuple[Tensor, Any] | None = None
    for position in range(1, length):
        # The prefix that ends here is read on by one token, and its completions join those of shorter ones.
        begun = generator.advance(tokens[:, position - 1], begun[1])
        joining = _map(lambda x: x.repeat(*[1] * (x.ndim - 2), rollouts, 1), begun)
        running = (
            joining if running is None else _map(lambda a, b: torch.cat([a, b], dim=-2), running, joining)
        )
        drawn = draw_from(generator.output, running[0])
        done[:position, :, :, position] = drawn.view(position, rollouts, batch)
        running = generator.advance(drawn, running[1])
    return done


def draw_from(output: nn.Module, features: Tensor, temperature: float = 1.0) -> Tensor:
    """Draw a token for each row of features (rows, hidden): int64 (rows,)."""
    return torch.cat([draw(output(part), temperature) for part in features.split(DRAWN_AT_ONCE)])


@torch.no_grad()
def generate(generator: Generator, count: int, length: int, temperature: float = 1.0) -> Tensor:
    """Let the generator write sequences: int64 (count, length)."""
    token = torch.full((count,), START, device=generator.output.weight.device)
    state, tokens = None, []
    for _ in range(length):
        features, state = generator.advance(token, state)
        token = draw_from(generator.output, features, temperature)
        tokens.append(token)
    return torch.stack(tokens, dim=1)


def _map(function: Callable[..., Tensor], *trees: Any) -> Any:
    """Apply a function to the tensors of equal nested tuples."""
    if isinstance(trees[0], Tensor):
        return function(*trees)
    return tuple(_map(function, *parts) for parts in zip(*trees, strict=True))
