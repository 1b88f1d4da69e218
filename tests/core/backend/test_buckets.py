"""Gradients in buckets: what travels together, when it is sent, and that none of it shows in the result."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import mmgan
from mmgan.backend import buckets
from mmgan.backend.buckets import Buckets, divide


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket holds 64 float32 values: the weights of one of the layers below, or several small tensors."""
    monkeypatch.setattr(buckets, "SIZE", 256)


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))


class Ranks:
    """Threads that add up tensors as ranks do, in the order of ranks."""

    def __init__(self, world: int) -> None:
        self.world = world
        self.barrier = threading.Barrier(world, timeout=20)
        self.sums: dict[int, list[Tensor | None]] = {}

    def run(self, work: Callable[[int, Buckets, nn.Sequential], Any]) -> list[Any]:
        """Call a function on every rank, with its number, its buckets and its network; return the results."""
        results: list[Any] = [None] * self.world

        def call(rank: int) -> None:
            network = networks[rank]
            count = 0

            def begin(tensor: Tensor) -> Callable[[], None]:
                nonlocal count
                count, number = count + 1, count
                parts = self.sums.setdefault(number, [None] * self.world)
                parts[rank] = tensor.clone()

                def wait() -> None:
                    self.barrier.wait()
                    total = torch.zeros_like(tensor)
                    for part in parts:
                        assert part is not None
                        total += part
                    tensor.copy_(total)

                return wait

            given = Buckets(list(network.parameters()), self.world, begin)
            try:
                results[rank] = work(rank, given, network)
            except BaseException as error:
                self.barrier.abort()
                results[rank] = error

        networks = [layers() for _ in range(self.world)]
        threads = [threading.Thread(target=call, args=(rank,)) for rank in range(self.world)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results


def batch(rank: int) -> Tensor:
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(rank))


def gradients(network: nn.Module) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in network.parameters()]


def test_what_travels_together_follows_from_sizes() -> None:
    network = layers()
    w1, b1, w2, b2, w3, b3 = network.parameters()
    # From the last to the first: 1 + 8 + 8, 64, 8, 64 values.
    assert [list(map(id, bucket)) for bucket in divide(list(network.parameters()))] == [
        [id(b2), id(w3), id(b3)],
        [id(w2)],
        [id(b1)],
        [id(w1)],
    ]
    assert divide([]) == [[]]
    assert [len(bucket) for bucket in divide([nn.Parameter(torch.zeros(1000)), b3])] == [1, 1]


def test_a_bucket_is_sent_before_the_gradients_of_the_layers_before_it_are_computed() -> None:
    network = layers()
    sent: list[tuple[int, bool]] = []

    def begin(tensor: Tensor) -> Callable[[], None]:
        sent.append((len(tensor), network[0].weight.grad is None))
        return lambda: None

    given = Buckets(list(network.parameters()), 2, begin)
    with given.overlapping():
        network(batch(0)).sum().backward()
    assert sent[:2] == [(17, True), (64, True)]
    given.reduce(torch.tensor(1.0))
    # In the last one the loss and six flags travel too.
    assert [size for size, _ in sent] == [17, 64, 8, 64 + 7]
    # The hooks are gone.
    network(batch(0)).sum().backward()
    assert len(sent) == 4


@pytest.mark.parametrize("world", [2, 3])
def test_gradients_are_those_without_overlap(world: int) -> None:
    def play(overlaps: bool) -> Callable[[int, Buckets, nn.Sequential], Any]:
        def work(rank: int, given: Buckets, network: nn.Sequential) -> Any:
            loss = network(batch(rank)).square().mean()
            if overlaps:
                with given.overlapping():
                    loss.backward()
                assert len(given.sent) == 3
            else:
                loss.backward()
            return [given.reduce(loss), *gradients(network)]

        return work

    with_overlap, without = Ranks(world).run(play(True)), Ranks(world).run(play(False))
    for rank in range(world):
        for found, expected, first in zip(with_overlap[rank], without[rank], without[0], strict=True):
            assert torch.equal(found, expected)
            assert torch.equal(found, first)
    # And they are the mean.
    network = layers()
    losses = [network(batch(rank)).square().mean() for rank in range(world)]
    (sum(losses) / world).backward()
    for found, expected in zip(with_overlap[0][1:], gradients(network), strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(with_overlap[0][0], (sum(losses) / world).detach())


def test_ranks_that_compute_other_gradients_send_the_same_buckets() -> None:
    """Rank 0 leaves out the second layer, rank 1 the third one's bias is not there on either."""

    def work(rank: int, given: Buckets, network: nn.Sequential) -> Any:
        given.parameters[5].requires_grad_(False)
        hidden = network[1](network[0](batch(rank)))
        hidden = hidden if rank == 0 else network[3](network[2](hidden))
        with given.overlapping():
            network[4](hidden).sum().backward()
        here = gradients(network)
        given.reduce(torch.tensor(0.0))
        return here, gradients(network)

    (one, mean), (two, same) = Ranks(2).run(work)
    assert [gradient is None for gradient in one] == [False, False, True, True, False, True]
    assert [gradient is None for gradient in two] == [False, False, False, False, False, True]
    for a, b, found, other in zip(one, two, mean, same, strict=True):
        if b is None:
            assert found is None
            assert other is None
            continue
        expected = (b if a is None else a + b) / 2
        assert torch.equal(found, expected)
        assert torch.equal(other, expected)


def test_a_gradient_of_before_is_sent_with_what_is_added_to_it() -> None:
    """A loss may call backward itself for one of its parts; a penalty takes gradients that are not kept."""

    def work(rank: int, given: Buckets, network: nn.Sequential) -> Any:
        network(batch(rank)).sum().backward()
        before = gradients(network)
        inputs = batch(rank).requires_grad_()
        (slope,) = torch.autograd.grad(network(inputs).sum(), inputs, create_graph=True)
        with given.overlapping():
            slope.square().sum().backward()
        assert any(not torch.equal(a, b) for a, b in zip(before, gradients(network), strict=True))
        here = gradients(network)
        given.reduce(torch.tensor(0.0))
        return here, gradients(network)

    (one, mean), (two, _) = Ranks(2).run(work)
    for a, b, found in zip(one, two, mean, strict=True):
        assert torch.equal(found, (a + b) / 2)


def test_a_gradient_that_is_computed_twice_after_it_was_sent_is_refused() -> None:
    network = layers()
    given = Buckets(list(network.parameters()), 2, lambda tensor: lambda: None)
    hidden = batch(0).requires_grad_()
    # Both segments have a backward pass of their own, inside of the one around them.
    for _ in range(2):
        hidden = checkpoint(network[2:4], hidden, use_reentrant=True)
    with pytest.raises(mmgan.PluginError, match="computes a gradient twice"), given.overlapping():
        network[4](hidden).sum().backward()


def test_sparse_gradients_are_not_sent() -> None:
    table = nn.Embedding(40, 2, sparse=True)
    last = nn.Linear(2, 1)
    given = Buckets([*last.parameters(), *table.parameters()], 2, lambda tensor: lambda: None)
    with given.overlapping():
        last(table(torch.tensor([1]))).sum().backward()
    assert not given.sent
    with pytest.raises(mmgan.PluginError, match="sparse gradients, which 2 processes"):
        given.reduce(torch.tensor(0.0))
