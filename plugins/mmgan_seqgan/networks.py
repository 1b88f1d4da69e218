"""SeqGAN's two networks (Yu et al. 2017, "Sequence Generative Adversarial Nets with Policy Gradient")."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgan_seqgan.transformer import Transformer

#: The token before a sequence. For the oracle it is an ordinary token, as in the paper's code; for texts it
#: is the boundary, which also ends and pads them.
START = 0
#: Widths of the discriminator's convolutions, and the number of filters of each (appendix of the paper).
FILTERS = {
    1: 100, 2: 200, 3: 200, 4: 200, 5: 200, 6: 100, 7: 100, 8: 100, 9: 100, 10: 100, 15: 160, 20: 160,
}  # fmt: skip
#: Sequences that a CPU scores at once outside of training: few enough to stay in its cache.
SCORED = 256


class Generator(nn.Module):
    """Predicts the next token of a sequence: an embedding, a recurrent layer, and a linear one.

    Args:
        vocabulary: Number of tokens.
        embedding: Length of a token's vector; a transformer's is ``hidden``.
        hidden: Length of the state.
        cell: ``lstm``, ``gru``, or ``transformer``, which replaces the recurrent layer.
        std: Standard deviation of the initial weights (except a transformer's own).
        length: The most tokens that a transformer can read.
    """

    def __init__(
        self,
        vocabulary: int,
        embedding: int = 32,
        hidden: int = 32,
        cell: str = "lstm",
        std: float = 0.1,
        length: int = 20,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden if cell == "transformer" else embedding)
        self.output = nn.Linear(hidden, vocabulary)
        if cell == "transformer":
            self.recurrent: nn.Module = Transformer(hidden, length)
            drawn = [*self.embedding.parameters(), *self.output.parameters()]
        else:
            self.recurrent = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](embedding, hidden, batch_first=True)
            drawn = list(self.parameters())
        for parameter in drawn:
            nn.init.normal_(parameter, std=std)
        if cell != "transformer":
            # torch adds two biases where the paper has one.
            nn.init.zeros_(self.recurrent.get_parameter("bias_hh_l0"))

    def forward(self, tokens: Tensor) -> Tensor:
        """Predict each token from those before it: int64 (batch, length) to logits (batch, length, V)."""
        before = F.pad(tokens[:, :-1], (1, 0), value=START)
        # In float32: a CPU has no LSTM in float16, and the time goes into the output layer.
        with torch.autocast(tokens.device.type, enabled=False):
            features, _ = self.recurrent(self.embedding(before))
        logits: Tensor = self.output(features)
        return logits

    def advance(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Read one token of each sequence.

        Args:
            tokens: int64 (rows,).
            state: The state that the last call returned; by default sequences begin, after :data:`START`.

        Returns:
            Features for :attr:`output`, (rows, hidden), and the new state: nested tuples of tensors whose
            last axes are (rows, hidden).
        """
        features, state = self.recurrent(self.embedding(tokens[:, None]), state)
        return features[:, 0], state


class Discriminator(nn.Module):
    """Classifies sequences as real or generated: convolutions over all n-grams, and a highway layer.

    Args:
        vocabulary: Number of tokens.
        length: Tokens in a sequence. Wider filters are left out.
        embedding: Length of a token's vector.
        dropout: Fraction of the features that is dropped in training. The paper **keeps** 0.75.
    """

    def __init__(self, vocabulary: int, length: int = 20, embedding: int = 64, dropout: float = 0.25) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        nn.init.uniform_(self.embedding.weight, -1, 1)
        filters = {width: count for width, count in FILTERS.items() if width <= length}
        self.convolutions = nn.ModuleList(
            nn.Conv1d(embedding, count, width) for width, count in filters.items()
        )
        features = sum(filters.values())
        self.highway = Highway(features)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(features, 2)
        for layer in (*self.convolutions, self.output):
            nn.init.trunc_normal_(layer.weight, std=0.1, a=-0.2, b=0.2)
            nn.init.constant_(layer.bias, 0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map int64 (batch, length) to logits (batch, 2): generated, real."""
        x = self.embedding(tokens).transpose(1, 2)
        found = torch.cat([convolution(x).amax(2) for convolution in self.convolutions], dim=1)
        # ReLU commutes with the maximum, after which there are far fewer numbers.
        logits: Tensor = self.output(self.dropout(self.highway(found.relu())))
        return logits

    @torch.no_grad()
    def probability(self, tokens: Tensor) -> Tensor:
        """Return how likely sequences are real, in [0, 1], with dropout off: int64 (n, length) to (n,)."""
        return self.judge(tokens[None, None])[0, 0]

    @torch.no_grad()
    def judge(self, completions: Tensor) -> Tensor:
        """Return how likely completions of prefixes are real, with dropout off.

        The filters' responses in a prefix are the same for all its completions, and are computed once.

        Args:
            completions: int64 (prefixes, rollouts, batch, length). Those at [t - 1] share their first t
                tokens with the sequences [-1, 0], as :func:`mmgan_seqgan.rollouts.complete` makes them.

        Returns:
            (prefixes, rollouts, batch), each in [0, 1].
        """
        prefixes, rollouts, batch = completions.shape[:3]
        whole = self.embedding(completions[-1, 0]).transpose(1, 2)
        # [..., p] is a filter's maximum from the first place to place p.
        most = [convolution(whole).cummax(2).values for convolution in self.convolutions]
        sequences = torch.arange(batch, device=completions.device).repeat(rollouts)
        scores = []
        for kept in range(1, prefixes + 1):
            rows = completions[kept - 1].flatten(0, 1)
            for part, sequence in zip(in_parts(rows, SCORED), in_parts(sequences, SCORED), strict=True):
                x = self.embedding(part).transpose(1, 2)
                found = [
                    self._beyond(convolution, x, kept, before, sequence)
                    for convolution, before in zip(self.convolutions, most, strict=True)
                ]
                logits = self.output(self.highway(torch.cat(found, dim=1).relu()))
                scores.append(logits.float().softmax(1)[:, 1])
        return torch.cat(scores).view(prefixes, rollouts, batch)

    @staticmethod
    def _beyond(convolution: nn.Module, x: Tensor, kept: int, before: Tensor, sequence: Tensor) -> Tensor:
        """Return the filters' maxima: where they reach beyond the prefix, and within the prefix itself."""
        (width,) = cast(nn.Conv1d, convolution).kernel_size
        found = convolution(x[..., max(0, kept - width + 1) :]).amax(2)
        return found if kept < width else torch.maximum(found, before[sequence, :, kept - width])


class Highway(nn.Module):
    """A highway layer: a gate blends each feature with its transformation (Srivastava et al. 2015).

    Args:
        features: The number of features.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.transform = nn.Linear(features, features)
        self.gate = nn.Linear(features, features)
        for layer in (self.transform, self.gate):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, features) to as many."""
        # The gates begin nearly closed, so that at first most features pass unchanged.
        gate = torch.sigmoid(self.gate(x) - 2)
        return gate * torch.relu(self.transform(x)) + (1 - gate) * x


def in_parts(rows: Tensor, count: int) -> tuple[Tensor, ...]:
    """Split rows into parts that fit into a CPU's cache; a GPU gets parts 32 times as large, to stay busy.

    Args:
        rows: (n, …).
        count: Rows in a part, on a CPU.
    """
    return torch.split(rows, count if rows.device.type == "cpu" else 32 * count)


def oracle(vocabulary: int = 5000, hidden: int = 32) -> Generator:
    """Make the paper's oracle: a generator whose weights are drawn from N(0, 1)."""
    return Generator(vocabulary, hidden, hidden, std=1.0).requires_grad_(False).eval()
