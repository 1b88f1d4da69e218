"""The parts of a step, seen from outside: who measures them stands around the engine, and not in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from mmgan import engine

if TYPE_CHECKING:
    from mmgan.run import Run
    from mmgan.task import Phase

#: Given a part and its phase ("" outside of phases), the context that the part is played in.
Around = Callable[[str, str], AbstractContextManager[Any]]


@contextmanager
def watched(run: Run, around: Around) -> Iterator[None]:
    """Play each part of each step inside ``around(part, phase)``, as long as this context is open.

    The parts are ``data``, ``forward`` (``task.forward``), and for each phase ``update``, which holds
    ``loss``, ``backward`` and ``average``. A task that plays its steps itself shows those that it calls.

    Args:
        run: The run; nothing of it stays changed.
        around: What to enter.
    """
    phase = ""

    @contextmanager
    def updating(_: Run, current: Phase, *__: Any) -> Iterator[None]:
        nonlocal phase
        phase = current.name
        try:
            with around("update", phase):
                yield
        finally:
            phase = ""

    with ExitStack() as stack:
        for owner, name, context in (
            (run, "next_batch", lambda *_: around("data", "")),
            (run.task, "forward", lambda *_: around("forward", "")),
            (run.task, "loss", lambda *_: around("loss", phase)),
            (torch.autograd, "backward", lambda *_: around("backward", phase)),
            (engine, "update_average", lambda *_: around("average", phase)),
            (engine, "update", updating),
        ):
            stack.enter_context(_inside(owner, name, context))
        yield


@contextmanager
def _inside(owner: Any, name: str, context: Callable[..., AbstractContextManager[Any]]) -> Iterator[None]:
    """Let a function of a module, or a method of an object, run inside a context made from its arguments."""
    original, own = getattr(owner, name), name in vars(owner)

    def inside(*args: Any, **kwargs: Any) -> Any:
        with context(*args):
            return original(*args, **kwargs)

    setattr(owner, name, inside)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)  # What its class has shows again.
