"""Batches: tensors, or tuples, named tuples, lists and dicts of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


def mapped(batch: Any, function: Callable[[Tensor], Any]) -> Any:
    """Return a batch of the same structure with what a function makes of each tensor.

    Values other than tensors stay as they are.
    """
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, dict):
        return {key: mapped(value, function) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        parts = [mapped(value, function) for value in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch


def copy_into(memory: Any, batch: Any) -> None:
    """Copy a batch into the memory of another one of the same structure and shapes.

    Raises:
        ValueError: It holds something other than tensors.
    """
    if isinstance(memory, Tensor):
        memory.copy_(batch)
    elif isinstance(memory, dict):
        for key, value in memory.items():
            copy_into(value, batch[key])
    elif isinstance(memory, tuple | list):
        for value, other in zip(memory, batch, strict=True):
            copy_into(value, other)
    else:
        raise ValueError(f"a batch holds {type(memory).__name__}, and not tensors alone")
