"""How ranks meet at a store that may hold what processes of before have left."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch.distributed as dist

from mmgan.backend.rank_store import met


def meet(store: Any, world: int, order: list[int]) -> list[Any]:
    """Let ranks meet, each in a thread, begun in an order; return what each has got."""
    found: list[Any] = [None] * world

    def call(rank: int) -> None:
        found[rank] = met(store, rank, world, 20)

    threads = [threading.Thread(target=call, args=(rank,)) for rank in order]
    for thread in threads:
        thread.start()
        thread.join(0.1)
    for thread in threads:
        thread.join()
    return found


def test_ranks_that_are_started_again_do_not_see_what_was_left() -> None:
    store = dist.HashStore()
    # The first of them, too, may be the last to come.
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        stores = meet(store, 3, order)
        assert not any(each.check(["address"]) for each in stores)
        stores[1].set("address", "of rank 1")
        assert [each.get("address") for each in stores] == [b"of rank 1"] * 3


def test_a_rank_that_was_killed_while_it_met_the_others_is_no_obstacle() -> None:
    store = dist.HashStore()
    for rank, key in ((1, "mmgan/hello/1"), (0, "mmgan/welcome/1")):
        with pytest.raises(TimeoutError, match=f"rank {1 - rank} did not come"):
            met(store, rank, 2, 0.1)
        assert store.check([key])
    one, two = meet(store, 2, [0, 1])
    one.set("x", "y")
    assert two.get("x") == b"y"
