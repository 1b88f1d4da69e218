"""Tests that need a GPU; elsewhere they are skipped."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# Read when cuBLAS is first used in the process, whichever test that is.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


# First, so that `make quick`, which deselects slow tests, does not run them.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and skip them where there is no GPU."""
    present = torch.cuda.is_available()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(pytest.mark.slow)
            # Each machine has its own libraries, and what they deprecate is not what is tested here.
            item.add_marker(pytest.mark.filterwarnings("default"))
            if not present:
                item.add_marker(pytest.mark.skip(reason="torch finds no GPU (torch.cuda.is_available())"))


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Leave no run, and no mode of torch's, to the next test."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.cuda.set_sync_debug_mode("default")
    gc.collect()
    torch.cuda.empty_cache()
