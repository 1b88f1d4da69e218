"""What becomes of errors of torch, NumPy and the system: what a person can do something about is no bug."""

from __future__ import annotations

import signal
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from mmgan.errors import ConfigError, MmganError, Terminated, did_you_mean, exit_code, foreseen


@pytest.mark.parametrize(
    "ask",
    [
        lambda: nn.Linear(100, 2**50),
        lambda: nn.Linear(2**50, 2**50),
        lambda: torch.empty(2**62),
        lambda: torch.empty(2**70),
        lambda: torch.arange(2**70),
        lambda: np.empty((2**50, 8)),
        lambda: np.empty((2**62, 8)),
        lambda: np.arange(2**70),
        lambda: bytes(2**62),
        lambda: bytes(2**70),
    ],
)
def test_more_memory_than_there_is(ask: Callable[[], object]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        ask()
    error = foreseen(caught.value)
    assert error is not None
    assert error.message.startswith("Out of memory.")
    assert "enforce fail" not in error.message
    assert "--batch-size" in error.hint
    assert exit_code(caught.value) == 1


def test_batch_norm_of_one_value() -> None:
    with pytest.raises(ValueError, match="Expected") as caught:
        nn.BatchNorm1d(3)(torch.zeros(1, 3))
    error = foreseen(caught.value)
    assert isinstance(error, ConfigError)
    assert "torch.Size([1, 3])" in error.message
    assert "--batch-size" in error.hint


def test_an_optimizer_s_setting_out_of_its_range() -> None:
    with pytest.raises(ValueError, match="Invalid") as caught:
        torch.optim.Adam([torch.zeros(1)], betas=(2.0, 0.9))
    error = foreseen(caught.value)
    assert isinstance(error, ConfigError)
    assert error.message == "Invalid beta parameter at index 0: 2.0."


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
            "A process that prepares batches has died",
        ),
        (RuntimeError("can't start new thread"), "no more threads"),
        (OSError(28, "No space left on device", "x"), "No space left on device: 'x'."),
    ],
)
def test_what_the_system_refuses(error: Exception, message: str) -> None:
    known = foreseen(error)
    assert type(known) is MmganError
    assert message in known.message


def test_a_bug_stays_one() -> None:
    for error in (
        RuntimeError("shapes differ"),
        ValueError("too large"),
        OverflowError("math range error"),
        TypeError(),
    ):
        assert foreseen(error) is None
        assert exit_code(error) == 70


def test_signals() -> None:
    assert exit_code(KeyboardInterrupt()) == 130
    assert exit_code(Terminated(signal.SIGTERM)) == 143
    assert exit_code(Terminated(1)) == 129
    assert str(Terminated(signal.SIGTERM)) == "Stopped by SIGTERM."


def test_suggestions_ignore_case() -> None:
    assert did_you_mean("DCGAN", ["gan", "dcgan"]) == "Did you mean 'dcgan'?"
    assert did_you_mean("mnist", ["MNIST", "CIFAR10"]) == "Did you mean 'MNIST'?"
    assert did_you_mean("", ["a"]) == did_you_mean("zzz", []) == ""
