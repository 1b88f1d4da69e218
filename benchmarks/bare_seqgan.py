"""SeqGAN's adversarial stage as a plain port of the paper's procedure: PyTorch, float32, Adam as it comes.

For the rewards the generator reads each prefix for each rollout, draws the other tokens one by one with
``torch.multinomial``, and the discriminator scores the batch. It shares nothing with the toolkit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from styles import AS_IT_COMES, Style
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20)
FILTERS = (100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160)


class Generator(nn.Module):
    """An LSTM over tokens."""

    def __init__(self, vocabulary: int = 5000, size: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size)
        self.lstm = nn.LSTM(size, size, batch_first=True)
        self.output = nn.Linear(size, vocabulary)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)

    def read(self, tokens: Tensor, state: object = None) -> tuple[Tensor, object]:
        """Return features (batch, tokens, size) for the output layer, and the state."""
        return self.lstm(self.embedding(tokens), state)


class Discriminator(nn.Module):
    """Convolutions of many widths, the maximum over time, a highway."""

    def __init__(self, vocabulary: int = 5000, size: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(1, count, (width, size)) for width, count in zip(WIDTHS, FILTERS, strict=True)
        )
        self.gate, self.transform = (nn.Linear(sum(FILTERS), sum(FILTERS)) for _ in range(2))
        self.dropout = nn.Dropout(0.25)
        self.output = nn.Linear(sum(FILTERS), 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (batch, 2)."""
        x = self.embedding(tokens)[:, None]
        pooled = []
        for convolution in self.convolutions:
            found = F.relu(convolution(x))[..., 0]
            pooled.append(F.max_pool1d(found, found.shape[2])[..., 0])
        x = torch.cat(pooled, 1)
        gate = torch.sigmoid(self.gate(x) - 2)
        x = gate * F.relu(self.transform(x)) + (1 - gate) * x
        return self.output(self.dropout(x))


@torch.no_grad()
def rewards(generator: Generator, discriminator: Discriminator, tokens: Tensor, rollouts: int) -> Tensor:
    """Return the rewards of the generator's sequences: (batch, length)."""
    batch, length = tokens.shape
    start = torch.zeros(batch, 1, dtype=torch.int64, device=tokens.device)
    total = torch.zeros(batch, length, device=tokens.device)
    for _ in range(rollouts):
        for given in range(1, length):
            features, state = generator.read(torch.cat([start, tokens[:, :given]], 1))
            parts = [tokens[:, :given]]
            for position in range(given, length):
                logits = generator.output(features[:, -1])
                parts.append(torch.multinomial(logits.softmax(1), 1))
                if position < length - 1:
                    features, state = generator.read(parts[-1], state)
            total[:, given - 1] += discriminator(torch.cat(parts, 1)).softmax(1)[:, 1]
        total[:, -1] += discriminator(tokens).softmax(1)[:, 1]
    return total / rollouts


@torch.no_grad()
def generate(generator: Generator, count: int, length: int) -> Tensor:
    """Draw sequences, token by token: int64 (count, length)."""
    tokens: list[Tensor] = []
    device = generator.output.weight.device
    last, state = torch.zeros(count, 1, dtype=torch.int64, device=device), None
    for _ in range(length):
        features, state = generator.read(last, state)
        last = torch.multinomial(generator.output(features[:, -1]).softmax(1), 1)
        tokens.append(last)
    return torch.cat(tokens, 1)


def adversarial_iteration(
    batch: Callable[[], Tensor],
    rollouts: int = 16,
    negatives: int = 9_984,
    vocabulary: int = 5000,
    length: int = 20,
    batch_size: int = 64,
    style: Style = AS_IT_COMES,
) -> Callable[[], None]:
    """Return a function that plays one iteration: an update of G, then D's on as many negatives.

    Args:
        batch: Gives real sequences, int64 (batch_size, length). D learns from half of them.
        rollouts: Completions of each prefix.
        negatives: Sequences that G writes anew for D; each is seen once.
        vocabulary: Number of tokens.
        length: Tokens in a sequence, at least the widest filter's.
        batch_size: Sequences in a batch: G's, and D's of both kinds together.
        style: How D computes, and where both are.
    """
    g, d = style.network(Generator(vocabulary)), style.network(Discriminator(vocabulary))
    opt_g, opt_d = style.adam(g.parameters(), 1e-2), style.adam(d.parameters(), 1e-4)
    half = batch_size // 2
    kinds = torch.tensor([1] * half + [0] * half, device=style.device)

    def update_g() -> None:
        tokens = generate(g, batch_size, length)
        d.eval()
        values = rewards(g, d, tokens, rollouts)
        d.train()
        before = F.pad(tokens[:, :-1], (1, 0))
        logits = g.output(g.read(before)[0])
        chosen = logits.log_softmax(2).gather(2, tokens[:, :, None])[:, :, 0]
        opt_g.zero_grad()
        (-chosen * values).sum().backward()
        nn.utils.clip_grad_norm_(g.parameters(), 5.0)
        opt_g.step()

    def update_d(fake: Tensor) -> None:
        logits = d(torch.cat([batch()[:half], fake]))
        decay = d.output.weight.square().sum() + d.output.bias.square().sum()
        opt_d.zero_grad()
        (F.cross_entropy(logits, kinds) + 0.2 / 2 * decay).backward()
        opt_d.step()

    def play() -> None:
        update_g()
        written = torch.cat([generate(g, batch_size, length) for _ in range(negatives // batch_size)])
        for part in torch.randperm(len(written)).split(half):
            update_d(written[part])

    return play
