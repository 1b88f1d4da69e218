"""The process group of a run with one process: every method is a no-op.

:mod:`mmgan.backend.distributed` has the same methods for several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

from mmgan.backend.device import Device

if TYPE_CHECKING:
    from mmgan.task import Player

T = TypeVar("T")

#: Stops a run as finished: greater than every signal's number.
FINISH = 999
#: Asks all ranks to go back to a checkpoint: less than FINISH, and greater than signals.
ROLL_BACK = 998


class Ranks:
    """The processes of a run that has only one: nothing to exchange. ``run.ranks``.

    Attributes:
        rank: The number of this process; rank 0 writes.
        world: The number of processes.
    """

    rank = 0
    world = 1

    def broadcast_object(self, work: Callable[[], T]) -> T:
        """Call a function on rank 0 only, and return its result, or raise its error, on every rank."""
        return work()

    def rank_zero_first(self, work: Callable[[], T]) -> T:
        """Call a function on rank 0 and then on the others, which find in the cache what rank 0 put there."""
        return work()

    def hooks(self, hook: Any) -> Any:
        """Return the hooks that this rank calls."""
        return hook

    def device_for_rank(self, device: Device) -> Device:
        """Return the device of this rank, given the run's."""
        return device

    def synchronize_batch_norm(self, player: Player, device: Device) -> None:
        """Synchronise batch norm over ranks; one process has nothing to synchronise."""

    def broadcast_weights(self, modules: Iterable[nn.Module]) -> None:
        """Broadcast the weights and buffers of rank 0."""

    def overlapping(self, parameters: Sequence[nn.Parameter], batches: int) -> AbstractContextManager[None]:
        """Return the context of a backward pass, in which gradients may be sent as soon as they are computed.

        Args:
            parameters: Those whose gradients it computes, for ``all_reduce_gradients``: the same list.
            batches: How many backward passes the gradients are accumulated over.
        """
        return nullcontext()

    def all_reduce_gradients(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        """Replace the gradients of parameters by their mean over the ranks, and return the mean loss."""
        return loss

    def sync_stop(self, signal: int, own_state: Callable[[], Any]) -> int:
        """Wait between two steps for all ranks, and return the greatest stop signal among them, or 0.

        Args:
            signal: This rank's stop signal.
            own_state: Returns this rank's own state, for a checkpoint that rank 0 saves meanwhile.
        """
        return signal

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over the ranks, detached. All ranks must call it, at the same point."""
        return value.detach()

    def mean_of_each(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the mean of each number over the ranks that have it. All ranks must call it."""
        return dict(values)

    def first(self, value: T | None) -> T:
        """Return the value of the first rank that has one. All ranks must call it, and one must have one."""
        assert value is not None
        return value

    def gather_states(self, state: Any) -> list[Any]:
        """Return the :meth:`Run.own_state` of the other ranks, in the order of their ranks."""
        return []


class Quiet:
    """The hooks of a rank without listeners: those that choose or change what is trained."""

    def __init__(self, hook: Any) -> None:
        self.select_device = hook.select_device
        self.make_precision = hook.make_precision
        self.configure_module = hook.configure_module
        self.after_load = hook.after_load

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda **_: None


def share_gpus() -> bool:
    """Whether ranks may share a GPU, by ``MMGAN_RANKS_SHARE_GPU=1``, for tests of several where there is one.

    NCCL refuses that, so gloo reduces tensors on the GPU too, by way of the CPU.
    """
    return os.environ.get("MMGAN_RANKS_SHARE_GPU") == "1"
