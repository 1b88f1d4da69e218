"""All the randomness of a process: seeding it, saving it, and keeping side work from disturbing it."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators, the GPUs' included, by the seed's low 32 bits."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def use_deterministic(wanted: bool) -> None:
    """Restrict torch to deterministic algorithms, or allow all."""
    torch.use_deterministic_algorithms(wanted)
    if wanted:
        # cuBLAS needs this to be deterministic, and reads it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def get_state(device: torch.device) -> dict[str, Any]:
    """Return the state of every generator that a run on this device draws from, for a checkpoint."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": {"version": version, "words": list(words), "gauss": gauss},
        "numpy": {
            "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
    }
    # Untested: no GPU was available.
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def check_state(state: dict[str, Any], device: torch.device) -> None:
    """Raise what :func:`set_state` would raise, and change nothing.

    Raises:
        Exception: Whatever a generator raises on an invalid state.
    """
    torch.Generator().set_state(state["torch"])
    random.Random().setstate(_python(state))
    np.random.RandomState().set_state(_numpy(state))
    if device.type in ("cuda", "mps") and device.type in state:
        torch.Generator(device).set_state(state[device.type])


def set_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore the state of :func:`get_state`. A GPU's is skipped if the device has changed."""
    torch.set_rng_state(state["torch"])
    random.setstate(_python(state))
    np.random.set_state(_numpy(state))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    if device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


def _python(state: dict[str, Any]) -> tuple[int, tuple[int, ...], float | None]:
    python = state["python"]
    return python["version"], tuple(python["words"]), python["gauss"]


def _numpy(state: dict[str, Any]) -> tuple[str, NDArray[np.uint32], int, int, float]:
    saved = state["numpy"]
    keys = np.asarray(saved["keys"]).astype(np.uint32)
    return "MT19937", keys, saved["position"], saved["has_gauss"], saved["cached"]


class Aside:
    """Randomness of side work (sampling, evaluation), which leaves that of training as it was.

    So how often a run samples does not change what it learns, and the latents are the same every time.

    Args:
        seed: Where it begins.
        device: Where the work is done.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed, self._device = seed, device
        self._state: dict[str, Any] | None = None

    @contextlib.contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw from it inside this; the next time it goes on from where it was left."""
        outside = get_state(self._device)
        if self._state is None:
            seed_everything(self._seed)
        else:
            set_state(self._state, self._device)
        try:
            yield
        finally:
            self._state = get_state(self._device)
            set_state(outside, self._device)


#: The generator that sampling draws from in this thread or task; None is torch's default one.
_OWN: ContextVar[torch.Generator | None] = ContextVar("own", default=None)


def own_generator() -> torch.Generator | None:
    """Return the generator to draw from: that of :class:`Own`, or None for torch's default one."""
    return _OWN.get()


class Own:
    """Randomness of side work that draws from :func:`own_generator` alone, so that threads don't interfere.

    It draws what :class:`Aside` does.

    Args:
        seed: Where it begins.
        device: Where the work is done.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._generator = torch.Generator(device).manual_seed(seed)

    @contextlib.contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw from it inside this; the next time it goes on from where it was left."""
        before = _OWN.set(self._generator)
        try:
            yield
        finally:
            _OWN.reset(before)


def isolated(seed: int, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Seed all randomness for side work, and restore it afterwards."""
    return Aside(seed, device).drawn()
