"""The processes that train one run together, as ``torchrun`` starts them: each takes a share of every batch.

Rank 0 is the run: it alone has listeners, and so writes, samples and evaluates. The others compute. All hold
the same weights, since they begin alike and every update follows from the mean of their gradients.

They communicate at few points: when a run is opened (``broadcast_object``, ``rank_zero_first``),
when training begins (``broadcast_weights``), in each backward pass (``overlapping``) and after it
(``all_reduce_gradients``), before each step (``sync_stop``), and where values are logged (``mean_of_each``)
or a run rolls back (``first``).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from typing_extensions import override

from mmgan.backend.buckets import Buckets
from mmgan.backend.device import Device
from mmgan.backend.rank_store import RankStore, aside, met, reaching_others, timeout, wait_for
from mmgan.backend.ranks import Quiet, Ranks, share_gpus
from mmgan.errors import ConfigError, UsageError, line

if TYPE_CHECKING:
    from mmgan.task import Player

T = TypeVar("T")

#: Seconds that an ending process has to leave the group.
_LEAVE = 10.0
#: What rank 0 sends in ``sync_stop`` to ask for the others' state; greater than every signal's number.
_SAVING = 1000


class Group(Ranks):
    """The processes of a run where ``torchrun`` has started several. Made once in a process: :func:`ranks`.

    Raises:
        UsageError: The environment does not say how to reach the others.
        MmganError: They could not be reached.
    """

    def __init__(self) -> None:
        self.timeout = timeout()
        self._shared = 0
        #: The gradients of the backward pass that was begun last.
        self._buckets: Buckets | None = None
        # NCCL reduces tensors on a GPU, gloo everything on the CPU, such as the codes of `sync_stop`.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and not share_gpus() else "gloo"
        patience = timedelta(seconds=self.timeout)

        def connect() -> Any:
            store, _, _ = next(rendezvous("env://", timeout=patience))
            store = met(store, self.rank, self.world, self.timeout)
            dist.init_process_group(
                backend, store=store, rank=self.rank, world_size=self.world, timeout=patience
            )
            return store

        try:
            self.rank, self.world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
            self.local_rank = int(os.environ.get("LOCAL_RANK", self.rank))
            with reaching_others(self.rank, self.world, self.timeout):
                # torch gives up by itself, after two attempts at most; but not if rank 0, whose process may
                # host the store, is stopped meanwhile.
                self._store = RankStore(aside(connect, 3 * self.timeout), self.rank, self.world, self.timeout)
        except ValueError as error:
            raise UsageError(
                f"RANK and WORLD_SIZE ask for several processes, but: {line(error)}",
                hint="Start them by torchrun, or unset WORLD_SIZE to train in one process.",
            ) from None
        atexit.register(self._end)

    def _end(self) -> None:
        """Leave the process group. A communication that hangs is abandoned."""

        def leave() -> None:
            self._store.leave()
            dist.destroy_process_group()

        with contextlib.suppress(RuntimeError, TimeoutError):
            aside(leave, _LEAVE)

    # While a run is opened. Decoding a large data set may take longer than any wait in training should: the
    # ranks wait here as long as the working rank sends heartbeats.

    def broadcast_object(self, work: Callable[[], T]) -> T:
        """Call a function on rank 0 only, and return its result, or raise its error, on every rank.

        Raises:
            MmganError: Rank 0 failed, has ended, or sends no heartbeats.
        """
        self._shared += 1
        key = f"mmgan/{self._shared}"
        result: T = self._store.hear(0, key) if self.rank else self._store.tell(key, work)
        return result

    def rank_zero_first(self, work: Callable[[], T]) -> T:
        """Call a function on rank 0 and then on the others, which find in the cache what rank 0 put there.

        Raises:
            MmganError: Another rank failed, has ended, or sends no heartbeats.
        """
        begin = self._shared
        others = {rank: f"mmgan/{begin + 1}/{rank}" for rank in range(1, self.world)}
        results: list[T] = []

        def follow() -> None:
            self.broadcast_object(lambda: None)
            results.append(work())

        try:
            if self.rank:
                # An exception here, while waiting for rank 0, is sent to the others too.
                self._store.tell(others[self.rank], follow)
            else:
                self.broadcast_object(lambda: results.append(work()))
            # Training, which has a timeout, begins only once the last rank is ready.
            self.broadcast_object(
                lambda: [self._store.hear(rank, key) for rank, key in others.items()] and None
            )
        finally:
            self._shared = begin + 2  # On all ranks, even after a failure.
        return results[0]

    @override
    def hooks(self, hook: Any) -> Any:
        return Quiet(hook) if self.rank else hook

    def device_for_rank(self, device: Device) -> Device:
        """Return the device of this rank: the CPU, or the GPU that LOCAL_RANK numbers (see ``share_gpus``).

        Raises:
            ConfigError: There is no GPU for this rank, or torch has no all-reduce for the kind of device.
        """
        if device.type == "cpu":
            return device
        asked = f"device = {str(device.torch)!r}: {self.world} processes train"
        if device.type != "cuda":
            raise ConfigError(f"{asked} on cpu or on cuda only.", hint="--device cpu")
        if device.torch.index is not None:
            raise ConfigError(f"{asked}, each on a GPU of its own.", hint="--device cuda")
        count = torch.cuda.device_count()
        number = self.local_rank % max(count, 1) if share_gpus() else self.local_rank
        if number >= count:
            raise ConfigError(
                f"{asked}, but this machine has no GPU for local rank {self.local_rank}: it has {count}.",
                hint=f"torchrun --nproc-per-node {count}",
            )
        device.torch = torch.device("cuda", number)
        torch.cuda.set_device(device.torch)
        return device

    def synchronize_batch_norm(self, player: Player, device: Device) -> None:
        """Synchronise batch norm: statistics over the batches of all ranks.

        Raises:
            ConfigError: The run is on a CPU.
        """
        if device.type != "cuda":
            raise ConfigError(
                f"sync_batch_norm = true: torch has it on GPUs only, and this run is on {device.type!r}.",
                hint="Leave it out: each rank then normalises its own share of the batch.",
            )
        player.module = nn.SyncBatchNorm.convert_sync_batchnorm(player.module)  # type: ignore[no-untyped-call]

    # In training only.

    def broadcast_weights(self, modules: Iterable[nn.Module]) -> None:
        """Broadcast rank 0's weights and buffers: networks that were made without the seed differ."""
        for module in modules:
            for tensor in module.state_dict().values():
                # gloo needs contiguous tensors, which channels-last weights are not.
                values = tensor.detach().contiguous()
                self._exchange(values, lambda tensor: dist.broadcast(tensor, 0, async_op=True))
                tensor.detach().copy_(values)

    @override
    def overlapping(
        self, parameters: Sequence[nn.Parameter], batches: int
    ) -> contextlib.AbstractContextManager[None]:
        self._buckets = Buckets(parameters, self.world, self._begin_sum)
        # The gradients of accumulated batches are complete after the last one only.
        return self._buckets.overlapping() if batches == 1 else contextlib.nullcontext()

    def all_reduce_gradients(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        """Replace the gradients of parameters by their mean over the ranks, and return the mean loss.

        A parameter that has a gradient on some ranks only counts as zeros on the others; if no rank has one
        it keeps None, since optimizers treat None and zeros differently. The loss is sent along, so that NaN
        on one rank is NaN on all.

        Args:
            parameters: Those that a player trains, the same on all ranks.
            loss: The scalar that backward() was called on.

        Raises:
            PluginError: A gradient is sparse.
            MmganError: Another rank has ended or does not answer.
        """
        buckets, self._buckets = self._buckets, None
        if buckets is None or buckets.parameters is not parameters:
            buckets = Buckets(parameters, self.world, self._begin_sum)
        return buckets.reduce(loss)

    def sync_stop(self, signal: int, own_state: Callable[[], Any]) -> int:
        """Wait between two steps for all ranks, and return the greatest stop signal among them, or 0.

        Ranks > 0 block here while rank 0 samples, evaluates and saves; their state is collected here.
        """
        while (word := self._greatest(signal)) == _SAVING:
            self._gather(own_state())
        return word

    @override
    def mean(self, value: Tensor) -> Tensor:
        total = value.detach().clone(memory_format=torch.contiguous_format)
        total = total if total.is_floating_point() else total.float()
        self._begin_sum(total)()
        return total / self.world

    @override
    def mean_of_each(self, values: Mapping[str, float]) -> dict[str, float]:
        everyone = self._all_gather(dict(values))
        names = dict.fromkeys(name for found in everyone for name in found)
        known = {name: [found[name] for found in everyone if name in found] for name in names}
        return {name: sum(numbers) / len(numbers) for name, numbers in known.items()}

    @override
    def first(self, value: T | None) -> T:
        found: T = next(value for value in self._all_gather(value) if value is not None)
        return found

    @override
    def gather_states(self, state: Any) -> list[Any]:
        self._greatest(_SAVING)
        states: list[Any] = [None] * self.world
        self._gather(state, states)
        return states[1:]

    def _all_gather(self, value: Any) -> list[Any]:
        everyone: list[Any] = [None] * self.world
        with self._store.reaching_others():
            aside(lambda: dist.all_gather_object(everyone, value), 3 * self.timeout)
        return everyone

    def _gather(self, state: Any, states: list[Any] | None = None) -> None:
        with self._store.reaching_others():
            # torch gives up by itself; both exchanges, of lengths and of states, have a timeout of their own.
            aside(lambda: dist.gather_object(state, states), 3 * self.timeout)

    def _greatest(self, number: int) -> int:
        word = torch.tensor(number)
        self._exchange(word, lambda tensor: dist.all_reduce(tensor, dist.ReduceOp.MAX, async_op=True))
        return int(word)

    def _exchange(self, tensor: Tensor, begin: Callable[[Tensor], Any]) -> None:
        """Run a collective operation and wait until it is done; on a GPU, until it is queued."""
        self._begin(tensor, begin)()

    def _begin_sum(self, tensor: Tensor) -> Callable[[], None]:
        return self._begin(tensor, lambda tensor: dist.all_reduce(tensor, async_op=True))

    def _begin(self, tensor: Tensor, begin: Callable[[Tensor], Any]) -> Callable[[], None]:
        """Begin a collective operation, and return what waits for it."""
        with self._store.reaching_others():
            work = begin(tensor)

        def wait() -> None:
            with self._store.reaching_others():
                wait_for(work, on_gpu=tensor.is_cuda)

        return wait


def ranks() -> Ranks:
    """Return the processes that train together, from the environment that ``torchrun`` sets."""
    if "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1":
        return _group()
    return Ranks()


@functools.cache  # One per process, as torch's own group is.
def _group() -> Group:
    return Group()
