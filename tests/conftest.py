"""What all tests share."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from mmgan.extras import has

# The tests' networks are so small that a second thread costs more than it brings.
torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Compile what librosa compiles when it is first used, and keeps in files, before there are workers.

    Two processes that do so at the same time, as after a fresh installation, may crash each other. Only tests
    use librosa, to compare with it.
    """
    if has("librosa") and not hasattr(config, "workerinput"):
        for name in (
            "util.utils",
            "util.matching",
            "core.audio",
            "core.pitch",
            "sequence",
            "effects",
            "onset",
        ):
            importlib.import_module(f"librosa.{name}")
        importlib.import_module("librosa").util.match_events(np.zeros(1, int), np.zeros(1, int))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's cache out of the tests; they share one, so that the digits are prepared once."""
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data beside the checkout, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the data sets in ../shared/data, which are not part of the project")
    return folder
