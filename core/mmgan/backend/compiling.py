"""``--compile``: torch.compile for the networks that allow it, and the plain network where it fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn


def compile_network(name: str, network: nn.Module) -> None:
    """Compile a network in place at its first call. If it can't be compiled, it runs as written.

    Args:
        name: The player's, for the warning.
        network: Its module; a dict of networks is never called itself, so each of them is compiled.
    """
    # Code that torch can't trace is run by Python, too, instead of raising.
    torch._dynamo.config.suppress_errors = True
    for one in network.values() if isinstance(network, nn.ModuleDict) else [network]:
        # Not by `one.compile()`: some releases of torch (2.6, 2.11) compile no network whose own class is one
        # of torch's, such as nn.Sequential, and do not say so. A function of ours around it they do.
        call: Callable[..., Any] = partial(_call, one)
        one._compiled_call_impl = torch.compile(call, backend=_careful(name))


def _call(network: nn.Module, *inputs: Any, **options: Any) -> Any:
    return network._call_impl(*inputs, **options)  # type: ignore[no-untyped-call]


def _careful(name: str) -> Callable[[torch.fx.GraphModule, list[Any]], Callable[..., Any]]:
    """Return torch's default backend, which warns and falls back to the plain network if it fails."""

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        try:
            compiled: Callable[..., Any] = torch._dynamo.lookup_backend("inductor")(graph, inputs)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            warnings.warn(
                f"{name} can't be compiled here and is computed as it is written: {reason}", stacklevel=2
            )
            return graph.forward
        return compiled

    return backend
