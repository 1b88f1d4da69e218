"""A small transformer with the interface of ``torch.nn.LSTM``, as a replacement of the recurrent layer.

Vaswani et al. 2017, with normalisation before each block (Xiong et al. 2020), as in today's language models.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgan_seqgan.config import HEADS

LAYERS = 2

#: For each layer the keys and values of all tokens that were read, each (read, rows, width).
State = tuple[tuple[Tensor, Tensor], ...]


class Transformer(nn.Module):
    """Layers of causal self-attention. Its state, as that of a recurrent layer, is the tokens read so far.

    Args:
        width: Length of a token's vector, a multiple of 4.
        length: The most tokens that can be read.
    """

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.empty(length, width))
        self.layers = nn.ModuleList(Layer(width) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            # As in GPT-2: small weights, no biases; the gains of the normalisations stay 1.
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read vectors (rows, tokens, width); with a state, one token that goes on from it.

        Returns:
            Features (rows, tokens, width), each of which depends on the tokens up to its own; the new state.
        """
        read = 0 if state is None else len(state[0][0])
        x = x + self.position[read : read + x.shape[1]]
        states = []
        for number, layer in enumerate(self.layers):
            x, kept = layer(x, None if state is None else state[number])
            states.append(kept)
        return self.norm(x), tuple(states)


class Layer(nn.Module):
    """Self-attention, then a layer for each token by itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attention, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for layer in (self.attention, self.mix, self.inner, self.outer):
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map (rows, tokens, width) to as many, and return the keys and values of all tokens so far."""
        query, key, value = self.attention(self.norms[0](x)).transpose(0, 1).chunk(3, dim=-1)
        if state is not None:
            key, value = torch.cat([state[0], key]), torch.cat([state[1], value])
        # A single token may attend to all before it; several must not attend to later ones.
        q, k, v = _heads(query), _heads(key), _heads(value)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=state is None)
        x = x + self.mix(seen.transpose(1, 2).flatten(2))
        x = x + self.outer(F.gelu(self.inner(self.norms[1](x))))
        return x, (key, value)


def _heads(x: Tensor) -> Tensor:
    """Map (tokens, rows, width) to (rows, heads, tokens, width / heads)."""
    return torch.unflatten(x, 2, (HEADS, -1)).permute(1, 2, 0, 3)
