"""The paper's synthetic data: sequences sampled from a random LSTM, so that their true likelihood is known.

Yu et al. 2017, section 4: every weight of the oracle is drawn from N(0, 1). A generator is measured by the
negative log-likelihood of its sequences under the oracle.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgan import DataError, Dataset, Draw, UsageError
from mmgan_seqgan.networks import Generator, oracle
from mmgan_seqgan.rollouts import generate

if TYPE_CHECKING:
    from mmgan_seqgan.config import SeqGANConfig

#: The number of sequences to train on, and of those to measure likelihood on, as in the paper's code.
SIZE = 9_984
#: Most digits of a number: Python refuses to parse thousands of them.
DIGITS = 10
#: Sequences whose logits are in memory at once.
CHUNK = 128


class Numbers:
    """The oracle's language, in which a token is written as its number: a tokenizer without boundaries.

    Args:
        vocabulary: Number of tokens.
    """

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def __len__(self) -> int:
        return self.vocabulary

    def encode(self, text: str) -> list[int]:
        """Turn ``"17 4 2024"`` into numbers.

        Raises:
            UsageError: A word is not the number of a token.
        """
        words = text.split()
        for word in words:
            if not word.isdecimal() or len(word) > DIGITS or int(word) >= self.vocabulary:
                raise UsageError(
                    f"{word!r} is not a token of the oracle's language: "
                    f"these are 0 to {self.vocabulary - 1}.",
                    hint="For example: --prompt '17 4 2024'",
                )
        return [int(word) for word in words]

    def decode(self, tokens: Iterable[int]) -> str:
        """Write tokens as numbers."""
        return " ".join(str(int(token)) for token in tokens)

    def state(self) -> dict[str, Any]:
        """Return an empty state: everything is in the settings."""
        return {}


class OracleData(Dataset):
    """Sequences sampled from an oracle.

    Args:
        config: Vocabulary and length.
        seed: Decides the oracle and its sequences.
    """

    def __init__(self, config: SeqGANConfig, seed: int) -> None:
        # Always drawn on the CPU, so that a seed gives the same oracle everywhere.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.oracle: Generator = oracle(config.vocabulary)
            #: int64 (9984, length), to train on.
            self.tokens = generate(self.oracle, SIZE, config.length)
            #: int64 (9984, length), held out.
            self.held_out = generate(self.oracle, SIZE, config.length)
        self.description = (
            f"{SIZE:,} sequences of {config.length} tokens, written by random LSTM number {seed} "
            f"with a vocabulary of {config.vocabulary:,}"
        )

    def __len__(self) -> int:
        return SIZE

    def batch(self, indices: Tensor, draw: Draw) -> Tensor:
        """Return sequences, int64 (batch, length)."""
        return self.tokens[indices]

    def nll(self, tokens: Tensor) -> float:
        """Return the oracle's negative log-likelihood of sequences (n, length), in nats a token."""
        return nll(self.oracle, tokens.cpu())


@torch.no_grad()
def nll(
    generator: Generator, tokens: Tensor, weights: Tensor | None = None, temperature: float = 1.0
) -> float:
    """Return the mean negative log-likelihood of sequences under a generator, in nats a token.

    Args:
        generator: The model.
        tokens: int64 (n, length).
        weights: (n, length), 1 for tokens that count and 0 for padding; by default all count.
        temperature: Divides the logits.
    """
    weights = torch.ones_like(tokens, dtype=torch.float32) if weights is None else weights
    total = 0.0
    for part, counted in zip(torch.split(tokens, CHUNK), torch.split(weights, CHUNK), strict=True):
        logits = generator(part).float() / temperature
        losses = F.cross_entropy(logits.flatten(0, 1), part.flatten(), reduction="none")
        total += float((losses * counted.flatten()).sum())
    return total / float(weights.sum())


def open_oracle(argument: str, config: SeqGANConfig) -> OracleData:
    """Open ``oracle`` or ``oracle:SEED``; by default the oracle has the run's seed.

    Raises:
        DataError: The text after the colon is not a seed.
    """
    if argument and (not argument.isdecimal() or len(argument) > DIGITS or int(argument) >= 2**32):
        raise DataError(
            f"data = {f'oracle:{argument}'!r}: what follows the colon must be a whole number below 2**32.",
            hint="--data oracle:1",
        )
    return OracleData(config, int(argument) if argument else config.seed)
