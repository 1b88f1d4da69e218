"""The all-reduce of one update's gradients, in buckets that are sent while the backward pass goes on.

A backward pass computes the gradients of the last layers first. So parameters are divided from the last to
the first, and a bucket is sent as soon as its gradients are complete; what is not complete in time follows
after the backward pass. Which gradients travel together, and in which order, depends on the sizes of the
parameters alone, never on what was ready when: all ranks send the same, and sums are rounded the same in
every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from mmgan.errors import PluginError

#: Bytes of gradients in a bucket. With smaller ones more is sent early, but each all-reduce has a cost of its
#: own. DistributedDataParallel has 25 MiB (Li et al. 2020, "PyTorch Distributed"), in which most GANs would
#: fit whole. With three ranks or more, other buckets round sums otherwise: a run would not resume exactly.
SIZE = 4 * 2**20

#: Begins to add up a tensor over all ranks, in place, and returns what waits for the sum.
Begin = Callable[[Tensor], Callable[[], None]]


class Buckets:
    """The gradients of one update.

    Args:
        parameters: Those that a player trains, the same on all ranks.
        world: The number of ranks.
        begin: Begins an all-reduce.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], world: int, begin: Begin) -> None:
        self.parameters, self._world, self._begin = parameters, world, begin
        #: The last bucket is sent together with the loss, so that few gradients take one all-reduce.
        *self.early, self.last = divide(parameters)
        self._missing = [set(bucket) for bucket in self.early]
        self.sent: list[tuple[list[nn.Parameter], Tensor, Callable[[], None]]] = []

    @contextmanager
    def overlapping(self) -> Iterator[None]:
        """Send each bucket but the last as soon as the backward pass in this context has its gradients."""
        handles = [
            parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                partial(self._computed, number)
            )
            for number, bucket in enumerate(self.early)
            for parameter in bucket
            if parameter.requires_grad  # A task may freeze some of them for a while.
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _computed(self, number: int, parameter: Tensor) -> None:
        """Note that a gradient of a bucket is there, and send what can be sent, in order."""
        if number < len(self.sent):
            raise PluginError(
                f"A backward pass computes a gradient twice, and {self._world} processes have exchanged the "
                "first one already.",
                hint="torch.utils.checkpoint: use_reentrant=False",
            )
        # A sparse one is never sent: `reduce` refuses it.
        if parameter.grad is not None and not parameter.grad.is_sparse:
            self._missing[number].discard(parameter)
        while len(self.sent) < len(self.early) and not self._missing[len(self.sent)]:
            self._send(self.early[len(self.sent)])

    @torch.no_grad()
    def reduce(self, loss: Tensor) -> Tensor:
        """Send the rest, replace all gradients by their mean over the ranks, and return the mean loss.

        Args:
            loss: The scalar that backward() was called on.

        Raises:
            PluginError: A gradient is sparse.
        """
        if any(p.grad is not None and p.grad.is_sparse for p in self.parameters):
            raise PluginError(
                f"A network has sparse gradients, which {self._world} processes can't add up.",
                hint="Embedding(…, sparse=False), or train in one process.",
            )
        present = [p.grad is not None for p in self.parameters]
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in self.early[len(self.sent) :]:
            self._send(bucket)
        flags = torch.tensor(present, dtype=torch.float32).to(loss.device, non_blocking=True)
        self._send(self.last, loss.detach().reshape(1), flags)
        for bucket, flat, wait in self.sent:
            wait()
            flat /= self._world
            gradients = _gradients(bucket)
            sizes = [gradient.numel() for gradient in gradients]
            # Before the gradients of the last bucket come the loss and the flags.
            head, *parts = torch.split(flat, [len(flat) - sum(sizes), *sizes])
            views = [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]
            torch._foreach_copy_(gradients, views)
        # Synchronises with a GPU only if a gradient is missing here.
        if not all(present):
            for parameter, anywhere in zip(self.parameters, head[1:].tolist(), strict=True):
                if not anywhere:
                    parameter.grad = None
        return head[0]

    def _send(self, bucket: list[nn.Parameter], *head: Tensor) -> None:
        with torch.no_grad():
            flat = torch.cat([*head, *(gradient.flatten() for gradient in _gradients(bucket))])
        self.sent.append((bucket, flat, self._begin(flat)))


def divide(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Divide parameters, from the last to the first, into buckets of at most :data:`SIZE` bytes (or one)."""
    buckets: list[list[nn.Parameter]] = [[]]
    room = SIZE
    for parameter in reversed(parameters):
        size = parameter.numel() * parameter.element_size()
        if buckets[-1] and size > room:
            buckets.append([])
            room = SIZE
        buckets[-1].append(parameter)
        room -= size
    return [bucket[::-1] for bucket in buckets]


def _gradients(bucket: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in bucket if parameter.grad is not None]
