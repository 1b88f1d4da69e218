"""Messages between ranks by torch's store while a run is opened, and heartbeats that detect a lost rank.

Waiting for another rank has no other limit: each sends a heartbeat every second while its process runs, and
is given up when none has arrived for the timeout: it was killed, or stopped.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

from mmgan.errors import ConfigError, MmganError, foreseen, line

T = TypeVar("T")

#: Seconds that a rank waits for the others, who may be evaluating, before it gives up.
TIMEOUT = 600.0
#: Seconds between two heartbeats of a rank, and between two polls for a message.
_BEAT, _LOOK = 1.0, 0.1
#: Seconds between two looks for the others when they meet.
_MEET = 0.02
#: Seconds of a single wait in a collective operation, during which Python handles no signal.
_SLICE = 1.0


class RankStore:
    """Messages from this rank to the others, and from them.

    Args:
        store: torch's. It may be in the process of a rank that is stopped, and then answers nothing.
        rank: Of this process.
        world: How many there are.
        timeout: Seconds without a heartbeat after which a rank is given up.
    """

    def __init__(self, store: Any, rank: int, world: int, timeout: float) -> None:
        self.rank, self.world, self.timeout = rank, world, timeout
        self._store = store
        self._answers = True
        self._ending = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beating.start()

    def tell(self, key: str, work: Callable[[], T]) -> T:
        """Call ``work``, and send the others its result or its error.

        Raises:
            MmganError: The store is gone. Errors of ``work`` pass through.
        """
        try:
            result = work()
        except BaseException as error:  # KeyboardInterrupt too, or the other ranks would wait forever.
            told = f"Rank {self.rank} failed: {type(error).__name__}: {line(error)}".rstrip(": ")
            with contextlib.suppress(RuntimeError, TimeoutError):
                self._put(key, (None, foreseen(error) or MmganError(told)))
            raise
        with self.reaching_others():
            self._put(key, (result, None))
        return result

    def hear(self, rank: int, key: str) -> Any:
        """Wait for another rank's message, and return it.

        Raises:
            MmganError: The error that the other failed with; or it has ended, or sends no heartbeats.
        """
        beats, since = -1, time.monotonic()
        with self.reaching_others():
            while not self._ask(lambda: self._store.check([key])):
                latest = self._ask(lambda: self._store.add(f"mmgan/beats/{rank}", 0))
                if latest != beats:
                    beats, since = latest, time.monotonic()
                elif self._ask(lambda: self._store.check([f"mmgan/ended/{rank}"])):
                    raise RuntimeError(f"rank {rank} has ended")
                elif time.monotonic() - since > self.timeout:
                    raise TimeoutError(f"rank {rank} shows no sign of life")
                time.sleep(_LOOK)
            text = self._ask(lambda: self._store.get(key))
        result, error = pickle.loads(base64.b64decode(text))
        if error is not None:
            raise error
        return result

    def leave(self) -> None:
        """Tell the others that this process ends. Called at its end, in :func:`aside`."""
        self._ending.set()
        if self._answers:
            # A thread that returns from torch while the interpreter shuts down would crash it.
            self._beating.join()
            with contextlib.suppress(RuntimeError):
                self._store.set(f"mmgan/ended/{self.rank}", "")

    def reaching_others(self) -> contextlib.AbstractContextManager[None]:
        """Explain errors inside this context, as :func:`reaching_others` does."""
        return reaching_others(self.rank, self.world, self.timeout)

    def _put(self, key: str, outcome: tuple[Any, MmganError | None]) -> None:
        text = base64.b64encode(pickle.dumps(outcome)).decode()
        self._ask(lambda: self._store.set(key, text))

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return aside(question, self.timeout)
        except TimeoutError:
            self._answers = False
            raise

    def _beat(self) -> None:
        with contextlib.suppress(RuntimeError):  # The store is gone with its process.
            while not self._ending.wait(_BEAT):
                self._store.add(f"mmgan/beats/{self.rank}", 1)


def met(store: Any, rank: int, world: int, seconds: float) -> Any:
    """Meet the ranks that were started together with this one, and return a store that only they use.

    torchrun's agents keep their store when they start all processes again, with all that those of before have
    written: addresses that nobody answers at, and that a rank has ended. So rank 0 draws a name for what is
    theirs. Each other rank draws a token, and takes a name only with that token.

    Raises:
        TimeoutError: They have not met within ``seconds``.
    """
    own, end = uuid.uuid4().hex, time.monotonic() + seconds
    if rank:
        store.set(f"mmgan/hello/{rank}", own)
    missing = {0} if rank else set(range(1, world))
    name = "" if rank else own
    while missing:
        if time.monotonic() > end:
            raise TimeoutError(f"rank {min(missing)} did not come")
        for other in sorted(missing):
            token, _, told = _text(store, f"mmgan/welcome/{other or rank}").partition(" ")
            if other == 0:
                if token == own:
                    name = told
                    store.set(f"mmgan/met/{name}/{rank}", "")
                    missing.clear()
            elif store.check([f"mmgan/met/{name}/{other}"]):
                missing.remove(other)
            elif (hello := _text(store, f"mmgan/hello/{other}")) != token:
                store.set(f"mmgan/welcome/{other}", f"{hello} {name}")
        time.sleep(_MEET if missing else 0)
    return dist.PrefixStore(name, store)  # type: ignore[attr-defined]


def _text(store: Any, key: str) -> str:
    """Return what a store has under a key; "" where it has nothing."""
    return store.get(key).decode() if store.check([key]) else ""


@contextlib.contextmanager
def reaching_others(rank: int, world: int, timeout: float) -> Iterator[None]:
    """Turn torch's error about a lost rank into one that a person can act on.

    Raises:
        MmganError: Another rank has ended or does not answer.
    """
    try:
        yield
    except (RuntimeError, TimeoutError) as error:
        raise MmganError(
            f"Rank {rank} of {world} lost the others: one has ended, or did not answer within "
            f"{timeout:g} seconds ({line(error)}).",
            hint="The messages above or below say what ended it. `mmgan resume` goes on from the last "
            "checkpoint; MMGAN_RANK_TIMEOUT=3600 lets ranks wait for an hour.",
        ) from error


def aside(work: Callable[[], T], seconds: float) -> T:
    """Call a function that may wait for another process, in a thread that is abandoned if it takes too long.

    Meanwhile the calling thread handles signals, which it could not do inside torch.

    Raises:
        TimeoutError: It has taken longer than ``seconds``.
    """
    outcome: Future[T] = Future()

    def call() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    try:
        return outcome.result(seconds)
    except TimeoutError as error:
        raise TimeoutError(line(error) or f"no answer within {seconds:g} seconds") from None


def wait_for(work: Any, on_gpu: bool) -> None:
    """Wait until one of torch's collective operations is done; on a GPU, until it is queued.

    In short waits, since Python handles no signal inside one: a second Ctrl-C exits at once.
    """
    waiting = () if on_gpu else (timedelta(seconds=_SLICE),)
    while True:
        try:
            work.wait(*waiting)
        except RuntimeError:
            if waiting and not work.is_completed():
                continue
            raise
        return


def timeout() -> float:
    """Return the seconds that a rank waits for the others: ``MMGAN_RANK_TIMEOUT``, or the default."""
    text = os.environ.get("MMGAN_RANK_TIMEOUT", str(TIMEOUT))
    with contextlib.suppress(ValueError):
        if float(text) > 0:
            return float(text)
    raise ConfigError(f"MMGAN_RANK_TIMEOUT = {text!r} is not a number of seconds greater than 0.")
