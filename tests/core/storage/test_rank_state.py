"""What differs from rank to rank, and what must not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toys import toy_run

from mmgan import PluginError
from mmgan.backend.ranks import Ranks
from mmgan.storage import checkpoint
from mmgan.storage.rank_state import digest


class Two(Ranks):
    """Rank 0 of two, the other of which has another state in something."""

    world = 2

    def __init__(self, change: Callable[[dict[str, Any]], object]) -> None:
        self.change = change

    def gather_states(self, state: Any) -> list[Any]:
        other = {**state, "weights": dict(state["weights"])}
        self.change(other)
        return [other]


def save(folder: Path, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    run = toy_run(folder=folder)
    run.ranks, run.is_playing = Two(change), True
    return checkpoint.load(run.save())[1]


def test_weights_that_differ_between_ranks_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"different weights: those of D on rank 1 are not those on rank 0"):
        save(tmp_path / "run", lambda other: other["weights"].update(D="0"))
    assert checkpoint.steps(tmp_path / "run/checkpoints") == []


def test_what_may_differ_is_kept_and_digests_are_not(tmp_path: Path) -> None:
    state = save(tmp_path / "run", lambda other: other.update(task={"count": 3}))
    (other,) = state["ranks"]
    assert other["task"] == {"count": 3}
    assert other.keys() == {"rng", "task"}


def test_a_digest_is_of_the_bits_and_their_order() -> None:
    first = nn.Linear(3, 2)
    same = nn.Linear(3, 2)
    same.load_state_dict(first.state_dict())
    assert digest(first.parameters()) == digest(same.parameters())
    with torch.no_grad():
        same.weight[1, 2] += 1e-6
    assert digest(first.parameters()) != digest(same.parameters())
    layout = torch.arange(24.0).view(1, 2, 3, 4)
    assert digest([layout]) == digest([layout.to(memory_format=torch.channels_last)])
    half = torch.ones(3, dtype=torch.bfloat16)
    assert digest([half, torch.zeros(0)]) == digest([half])
    assert digest([torch.tensor([1.0, 2.0])]) != digest([torch.tensor([2.0, 1.0])])
