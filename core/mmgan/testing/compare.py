"""Comparing two objects to the byte: where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgan.run import Run


def state(run: Run) -> dict[str, Any]:
    """Return everything that a run's future depends on: weights, optimizers, task state, randomness."""
    return {"weights": run.weights(), **run.state_dict()}


def copied(value: Any) -> Any:
    """Copy tensors, and the dicts and lists that hold them, so that later changes don't affect the copy."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copied(item) for item in value]
    return value


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Yield the places at which two objects differ, such as ``"task.pool.3"``.

    Args:
        one: Tensors, arrays, numbers, text, and dicts, lists and plain objects of them.
        other: Likewise.
        path: Their place in the whole.
    """
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if not same(one, other):
            yield path
    elif isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        if one.dtype != other.dtype or not np.array_equal(one, other):
            yield path
    elif isinstance(one, Mapping) and isinstance(other, Mapping):
        # Keys may be text and numbers, so they are not sorted.
        for key in {**one, **other}:
            where = f"{path}.{key}".lstrip(".")
            if key in one and key in other:
                yield from differences(one[key], other[key], where)
            else:
                yield where
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            yield path
        for number, (left, right) in enumerate(zip(one, other, strict=False)):
            yield from differences(left, right, f"{path}.{number}".lstrip("."))
    elif type(one) is type(other) and hasattr(one, "__dict__") and not isinstance(one, type):
        yield from differences(vars(one), vars(other), path)
    elif type(one) is not type(other) or one != other:
        yield path


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal to the byte: NaN equals itself, and 0 is not -0."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    left, right = (
        tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)
    )
    return torch.equal(left, right)


def tensors(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor in an object, with its place."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from tensors(item, f"{path}.{number}".lstrip("."))
