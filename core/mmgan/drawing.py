"""What samples are drawn from: the process's generators, which training has too, or one of a thread's own.

Training draws from the process's generators, and so do samples in the middle of it, for which they are put
aside. A :class:`mmgan.Generator` must not touch them: other threads draw from them. Where its task allows it
(:attr:`mmgan.Task.reentrant`), each call has a ``torch.Generator``, which gives the same numbers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import torch

from mmgan.backend import randomness
from mmgan.errors import UsageError

if TYPE_CHECKING:
    from mmgan.run import Run


class Side(Protocol):
    """Randomness of side work: :class:`mmgan.backend.randomness.Aside`, or one of those below."""

    def drawn(self) -> AbstractContextManager[None]:
        """Draw from it inside this; the next time it goes on from where it was left."""


class Truncation:
    """Entered around each part of a call, it asks for latents that are multiplied by ``psi``.

    Raises:
        UsageError: What was sampled in the first part did not do so.
    """

    def __init__(self, run: Run, psi: float) -> None:
        self.run, self.psi, self.used = run, psi, False

    def __enter__(self) -> None:
        self._before = _truncation.set(self)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _truncation.reset(self._before)
        if kind is None and not self.used:
            raise UsageError(
                f"{self.run.config.plugin} truncates nothing: it does not sample by LatentTask.drawn.",
                hint="Leave out the truncation.",
            )


# Of the thread, and of a run: a task may sample from another run while it is sampled from.
_generator: ContextVar[tuple[Run, torch.Generator] | None] = ContextVar("generator", default=None)
_truncation: ContextVar[Truncation | None] = ContextVar("truncation", default=None)


def generator_of(run: Run) -> torch.Generator | None:
    """What a task draws its samples from: ``torch.randn(…, generator=self.run.generator)``.

    None, which torch takes for the process's own generator, in training and in samples of a run that trains.
    """
    now = _generator.get()
    return now[1] if now is not None and now[0] is run else None


def truncation_of(run: Run) -> float:
    """Return the factor on latents that was asked for in this call, 1 for none."""
    now = _truncation.get()
    if now is None or now.run is not run:
        return 1.0
    now.used = True
    return now.psi


class Sharing:
    """How several threads sample from one run.

    Args:
        run: The run; all its networks are in eval mode.
        reentrant: Whether they may do so at once.
    """

    def __init__(self, run: Run, reentrant: bool) -> None:
        self._run, self.reentrant = run, reentrant
        self._lock = threading.RLock()

    def side(self, seed: int) -> Side:
        """Return randomness for samples."""
        return _Own(self._run, seed) if self.reentrant else self.locked(seed)

    def locked(self, seed: int) -> Side:
        """Return the process's randomness, put aside while no other thread of this run's samples."""
        return _Locked(self._lock, randomness.Aside(seed, self._run.device.torch))


class _Own:
    def __init__(self, run: Run, seed: int) -> None:
        self._now = run, torch.Generator(run.device.torch).manual_seed(seed)

    @contextmanager
    def drawn(self) -> Iterator[None]:
        before = _generator.set(self._now)
        try:
            yield
        finally:
            _generator.reset(before)


class _Locked:
    def __init__(self, lock: AbstractContextManager[Any], aside: randomness.Aside) -> None:
        self._lock, self._aside = lock, aside

    @contextmanager
    def drawn(self) -> Iterator[None]:
        with self._lock, self._aside.drawn():
            yield
