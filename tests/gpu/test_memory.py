"""A long run takes no more memory on the GPU than its first hundred steps."""

from __future__ import annotations

import gc

import pytest
import torch
from on_gpu import GAMES, make, skip_without_graphs

from mmgan.engine import play, training

#: The games whose steps are short play 2,000, the others 500.
LONG = {"gan": 2000, "dcgan": 2000}
#: Bytes: a leak of one float in each step would be more, in whole blocks of 512 bytes.
ALLOCATED = 64 * 1024
#: Bytes that torch asks the driver for at once.
SEGMENT = 20 * 2**20


@pytest.mark.parametrize("graphs", ["off", "on"])
@pytest.mark.parametrize("game", GAMES)
def test_memory_does_not_grow(game: str, graphs: str) -> None:
    skip_without_graphs(game, graphs)
    # Losses are kept until the next log, and 100 and the last step are logs.
    run = make(game, graphs=graphs, log_every=20, steps=10_000)
    with training(run):
        play(run, 100)
        before = taken()
        play(run, LONG.get(game, 500))
        after = taken()
    assert after[0] <= before[0] + ALLOCATED
    assert after[1] <= before[1] + SEGMENT


def taken() -> tuple[int, int]:
    """Return the bytes that tensors have, and those that torch holds."""
    gc.collect()
    return torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
