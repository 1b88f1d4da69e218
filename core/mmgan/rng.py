"""All the randomness of a process: seeding it, saving it, and keeping side work from disturbing it."""

from __future__ import annotations

import contextlib
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
    # Not run here for want of the hardware: the GPU's generator.
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
    """Put back what :func:`get_state` gave. A GPU's state is left alone where the device has changed."""
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


@contextlib.contextmanager
def isolated(seed: int, device: torch.device) -> Iterator[None]:
    """Do side work (sampling, evaluation) with its own seed, and leave training's randomness as it was.

    So how often a run samples does not change what it learns, and the same latents come every time.
    """
    state = get_state(device)
    seed_everything(seed)
    try:
        yield
    finally:
        set_state(state, device)
