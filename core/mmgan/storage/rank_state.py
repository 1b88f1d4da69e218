"""State that differs between ranks, and its form in a checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmgan.backend import randomness
from mmgan.backend.ranks import Ranks
from mmgan.errors import PluginError


def rank_randomness(seed: int, step: int | str, rank: int, device: torch.device) -> dict[str, Any]:
    """Return the generators with which a rank begins, or goes on if the checkpoint does not have them.

    After the networks were made, rank 0's are the same as in a run of one process; this is for the other
    ranks, whose latents must differ.
    """
    digest = hashlib.blake2b(f"rank/{seed}/{step}/{rank}".encode(), digest_size=4).digest()
    with randomness.isolated(int.from_bytes(digest, "little"), device):
        return randomness.get_state(device)


def digest(weights: Iterable[Tensor]) -> str:
    """Return a hash of the bits of weights."""
    found = hashlib.blake2b(digest_size=16)
    for weight in weights:
        plain = weight.detach().cpu().contiguous().flatten()
        found.update(plain.view(torch.uint8).numpy().data if plain.numel() else b"")
    return found.hexdigest()


def check_weights(own: Mapping[str, str], others: Sequence[Mapping[str, str]]) -> None:
    """Compare the digests of networks' weights on rank 0 with those on the others, from rank 1 on.

    Raises:
        PluginError: They differ.
    """
    for rank, other in enumerate(others, 1):
        wrong = [name for name in own if other.get(name) != own[name]]
        if wrong:
            raise PluginError(
                f"The processes that train this run have different weights: those of {', '.join(wrong)} on "
                f"rank {rank} are not those on rank 0.",
                hint="Networks must be made and changed alike on all ranks: draw weights from a seed; let "
                "every update follow from a loss.",
            )


def difference(state: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the items of a task's state that differ from another rank's."""
    return {key: value for key, value in state.items() if key not in other or not _same(value, other[key])}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys() and not difference(one, other)
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def own_part(state: dict[str, Any], ranks: Ranks, seed: int, device: torch.device) -> dict[str, Any]:
    """Return a checkpoint's state for this rank.

    Args:
        state: What ``Run.save`` wrote; ``state["ranks"]`` is the own state of ranks > 0.
        ranks: Those that go on.
        seed: The run's.
        device: Where it computes.
    """
    others = state.get("ranks", [])
    before = 1 + len(others)
    if before == ranks.world:
        own = others[ranks.rank - 1] if ranks.rank else {"rng": state["rng"], "task": {}}
        return {**state, "rng": own["rng"], "task": {**state["task"], **own["task"]}}
    # The data goes on where it was, though a batch over all ranks now has another size.
    data = dict(state["data"])
    if data and "start" not in data:
        data["position"] = data["position"] * before // ranks.world
    own_rng = rank_randomness(seed, state["step"], ranks.rank, device) if ranks.rank else state["rng"]
    return {**state, "data": data, "rng": own_rng}
