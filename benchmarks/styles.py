"""How a plain loop computes: as PyTorch comes, or with what a practitioner turns on by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Batch = Callable[[], Any]
Step = Callable[[], object]


@dataclass(frozen=True)
class Style:
    """A device, a precision and a memory format; by default as PyTorch comes, on a CPU.

    Args:
        device: Where networks are.
        bf16: Compute forward passes under autocast, and give float32.
        channels_last: Keep 4-D weights in that memory format.
        fused: Take Adam's fused kernel, on a GPU such that a CUDA graph may hold it.
    """

    device: str = "cpu"
    bf16: bool = False
    channels_last: bool = False
    fused: bool = False

    def network(self, module: nn.Module) -> Any:
        """Bring a network to the device, and let it compute so. In place."""
        module.to(self.device)
        if self.channels_last:
            module.to(memory_format=torch.channels_last)
        if self.bf16:
            module.forward = self._in_bf16(module.forward)  # type: ignore[method-assign]
        return module

    def _in_bf16(self, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def narrow(*inputs: Any) -> Tensor:
            with torch.autocast(torch.device(self.device).type, torch.bfloat16):
                return forward(*inputs).float()

        return narrow

    def adam(self, parameters: Iterable[nn.Parameter], *options: Any) -> torch.optim.Adam:
        """Return Adam with a learning rate and maybe betas."""
        capturable = self.fused and self.device != "cpu"
        return torch.optim.Adam(parameters, *options, fused=self.fused or None, capturable=capturable)


#: As a page of PyTorch comes, on a CPU.
AS_IT_COMES = Style()


class Feed:
    """Batches in memory that stays where it is, as a CUDA graph needs it.

    Args:
        batch: Gives a batch: a tensor or a tuple of tensors.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.held: list[Any] = []
        self.given = 0

    def __call__(self) -> Any:
        """Return the next of a step's batches."""
        if self.given == len(self.held):
            self.held.append(self.batch())
        self.given += 1
        return self.held[self.given - 1]

    def rewind(self) -> None:
        """Begin a step."""
        self.given = 0

    def refill(self) -> None:
        """Copy fresh batches into the memory of all that a step takes."""
        for held in self.held:
            fresh = self.batch()
            pairs = zip(held, fresh, strict=True) if isinstance(held, tuple) else [(held, fresh)]
            for memory, tensor in pairs:
                memory.copy_(tensor, non_blocking=True)


def graphed(make: Callable[[Batch], Step], batch: Batch) -> Step:
    """Return a step that replays a CUDA graph of a plain one, as torch's documentation shows it.

    Whatever a step draws on the CPU stays as it was recorded: such a loop has the time of a good one, but
    trains worse.

    Args:
        make: Makes the plain step, given what gives batches.
        batch: Gives a batch on the GPU.
    """
    feed = Feed(batch)
    step = make(feed)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            feed.rewind()
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    feed.rewind()
    with torch.cuda.graph(graph):
        step()

    def replay() -> None:
        feed.refill()
        graph.replay()

    return replay
