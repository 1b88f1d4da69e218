"""All the randomness of a process: seeding it, saving it, and keeping side work from disturbing it."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
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
        # What cuBLAS needs to repeat itself; it reads this when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def get_state(device: torch.device) -> dict[str, Any]:
    """Return the state of every generator that a run on this device draws from, fit for a checkpoint."""
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
    """Raise where :func:`set_state` would, and change nothing.

    Raises:
        Exception: Whatever a generator raises on what is not a state of its own.
    """
    torch.Generator().set_state(state["torch"])
    random.Random().setstate(_python(state))
    np.random.RandomState().set_state(_numpy(state))
    if device.type in ("cuda", "mps") and device.type in state:
        torch.Generator(device).set_state(state[device.type])


def set_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore the state of :func:`get_state`. A GPU's is skipped where the device has changed."""
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
    """Randomness of side work (sampling, evaluation), which leaves training's as it was.

    So how often a run samples does not change what it learns, and the same latents come every time.

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


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Leave the process's random numbers, and whether torch is deterministic, as they were."""
    state, deterministic = get_state(torch.device("cpu")), torch.are_deterministic_algorithms_enabled()
    # Untested: no GPU was available.
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        yield
    finally:
        set_state(state, torch.device("cpu"))
        torch.use_deterministic_algorithms(deterministic)
        if gpus is not None:
            torch.cuda.set_rng_state_all(gpus)
        else:
            # As torch.manual_seed left those that have not begun.
            torch.cuda.manual_seed_all(torch.initial_seed())
        if mps is not None:
            torch.mps.set_rng_state(mps)


def isolated(seed: int, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Do side work in one go, with its own seed."""
    return Aside(seed, device).drawn()
