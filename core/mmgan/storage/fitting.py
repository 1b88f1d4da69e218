"""Checks that a checkpoint fits the networks of the task. A checkpoint may come from a stranger.

Tensors of a wrong shape must not reach a fused kernel, nor weights that are not finite be sampled from.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from mmgan.backend.nonfinite import is_finite, moments
from mmgan.storage.records import OptimizerState

#: Optimizers whose state for a weight is numbers and tensors of the weight's own shape.
_ELEMENTWISE = (
    torch.optim.Adadelta,
    torch.optim.Adagrad,
    torch.optim.Adam,
    torch.optim.Adamax,
    torch.optim.AdamW,
    torch.optim.ASGD,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
    torch.optim.Rprop,
    torch.optim.SGD,
)

#: How many numbers networks may have beyond a checkpoint's: a task may use a network that is not trained.
_BESIDE = 1 << 28


@contextlib.contextmanager
def of_size(weights: Mapping[str, Mapping[str, Tensor]]) -> Iterator[None]:
    """Refuse to build networks in here that are far larger than those of a checkpoint.

    Otherwise sizes in a stranger's ``config.toml`` could exhaust the memory before any shape is compared.
    Weights are counted when they are registered, before they are filled: no memory is in use yet.

    Raises:
        ValueError: They have more than four times as many numbers plus 2²⁸.
    """
    allowed = 4 * sum(value.numel() for tensors in weights.values() for value in tensors.values()) + _BESIDE
    count = 0

    def add(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal count
        count += parameter.numel() if isinstance(parameter, Tensor) else 0
        if count > allowed:
            raise ValueError("their sizes are far beyond those of the weights in the checkpoint")

    hook = register_module_parameter_registration_hook(add)
    try:
        yield
    finally:
        hook.remove()


def load_weights(name: str, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load a network's weights and buffers.

    Raises:
        ValueError: They have other names, shapes or number formats, or are not finite.
    """
    expected = module.state_dict()
    wrong = [key for key in expected if key in weights and not _alike(weights[key], expected[key])]
    for kind, keys in (
        ("lacks", expected.keys() - weights.keys()),
        ("has also", weights.keys() - expected.keys()),
        ("differs in", wrong),
    ):
        if keys:
            key = min(keys)
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            shapes = f": {_look(weights[key])} instead of {_look(expected[key])}" if keys is wrong else ""
            raise ValueError(f"{name} {kind} {key}{more}{shapes}")
    for key, value in weights.items():
        if not is_finite(value):
            raise ValueError(f"{name}'s {key} is NaN or infinite")
    module.load_state_dict(dict(weights))


def load_optimizer(name: str, optimizer: torch.optim.Optimizer, saved: OptimizerState) -> None:
    """Load an optimizer's state, each tensor in its weight's memory format: fused kernels rely on that.

    Options of torch's own optimizers are checked here, and their state by :func:`check_state`, once their
    options are those that the run goes on with. A plugin's own optimizer may keep anything.

    Raises:
        ValueError: It is another optimizer's state, or an option is not finite.
    """
    fresh = optimizer.state_dict()["param_groups"]
    if [group.get("params") for group in saved.param_groups] != [group["params"] for group in fresh]:
        raise ValueError(f"{name}'s optimizer has other weights")
    count = sum(len(group["params"]) for group in fresh)
    if any(isinstance(number, int) and not 0 <= number < count for number in saved.state):
        raise ValueError(f"{name}'s optimizer keeps a state for weights that it does not have")
    if is_known(optimizer):
        for group, own in zip(saved.param_groups, fresh, strict=True):
            for key, value in own.items():
                if key in group and not _same_kind(group[key], value):
                    raise ValueError(f"{name}'s optimizer has {key} = {str(group[key])[:40]}")
    # An older torch may have had fewer options: the others stay as they were built.
    groups = [{**own, **group} for group, own in zip(saved.param_groups, fresh, strict=True)]
    optimizer.load_state_dict({**(saved.model_extra or {}), "state": saved.state, "param_groups": groups})
    for parameter, state, key in moments(optimizer):
        if parameter.ndim > 0:
            state[key] = torch.empty_like(parameter, dtype=state[key].dtype).copy_(state[key])


def check_state(name: str, optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimizer's state that is not finite, or not what its options need.

    Raises:
        ValueError: It is refused; the message names the player and the state.
    """
    for _, state, key in moments(optimizer):
        if not is_finite(state[key]):
            raise ValueError(f"{name}'s optimizer has a {key} that is NaN or infinite")
    if is_known(optimizer):
        for group in optimizer.param_groups:
            expected = _state_of(optimizer, group)
            for parameter in group["params"]:
                state = optimizer.state.get(parameter, {})
                if not isinstance(state, dict):
                    raise ValueError(f"{name}'s optimizer keeps a {type(state).__name__} for a weight")
                if state:
                    _check_shapes(name, parameter, state, expected)


def is_known(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it is one of torch's own optimizers that keep numbers and tensors of a weight's shape."""
    return type(optimizer) in _ELEMENTWISE


def _state_of(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the optimizer's state for a weight of shape (2, 3), found by one step of it."""
    device = group["params"][0].device if group["params"] else "cpu"
    weight = torch.zeros(2, 3, device=device, requires_grad=True)
    weight.grad = torch.zeros_like(weight)
    # A rate may be a tensor on a GPU; the step's size does not matter here.
    options = {key: value for key, value in group.items() if key != "params"} | {"lr": 1e-3}
    trial = type(optimizer)([{"params": [weight], **options}], lr=1e-3)  # type: ignore[call-arg]
    trial.step()
    return dict(trial.state[weight])


def _check_shapes(
    name: str, parameter: Tensor, state: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    """Raise ValueError where one weight's state does not look as expected."""
    if state.keys() != expected.keys():
        kept, needed = (", ".join(sorted(map(str, keys)))[:80] for keys in (state, expected))
        raise ValueError(f"{name}'s optimizer keeps {kept} for a weight, and needs {needed}")
    for key, own in expected.items():
        value = state[key]
        if isinstance(own, Tensor):
            shape = own.shape if own.ndim == 0 else parameter.shape
            fits = isinstance(value, Tensor) and value.shape == shape and value.dtype == own.dtype
            fits = fits and is_finite(value)
        else:
            fits = _same_kind(value, own)
        if not fits:
            found, weight = _look(value), _look(parameter)
            raise ValueError(f"{name}'s optimizer has {key} = {found} for a weight of {weight}")


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


def _same_kind(value: Any, own: Any) -> bool:
    """Whether a value may stand where ``own`` stands: a finite number for a number, a flag for a flag."""
    if own is None or isinstance(own, bool):
        return value is None or isinstance(value, bool)
    if isinstance(own, int | float):
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if isinstance(own, list | tuple):
        # A JSON list comes back for a tuple.
        return isinstance(value, list | tuple) and len(value) == len(own) and all(map(_same_kind, value, own))
    if isinstance(own, Tensor):
        return isinstance(value, Tensor) and _alike(value, own) and is_finite(value)
    return type(value) is type(own)


def _look(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return str(value)[:40]
