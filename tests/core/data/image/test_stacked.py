"""Stacked MNIST as data: which digits, which classes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from stacking import write_mnist

from mmgan import DataError
from mmgan.data.image.dataset import ImageConfig, ImageData
from mmgan.data.image.sources import Digits
from mmgan.data.image.stacked import StackedDigits, mnist, open_stacked
from mmgan.errors import ConfigError, UsageError
from mmgan.plugins import Plugins


def config(root: Path, **settings: object) -> ImageConfig:
    return ImageConfig(plugin="dcgan", data="stacked-mnist", data_root=str(root), **settings)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StackedDigits, "SIZE", 300)


def test_a_picture_is_three_digits_in_red_green_and_blue() -> None:
    digits = Digits()
    stacked = StackedDigits(digits)
    assert len(stacked) == 128_000
    image, label = stacked[77]
    assert (image.size, image.mode) == ((8, 8), "RGB")
    drawn = [digits[number] for number in stacked._drawn[77].tolist()]
    assert label == int("".join(str(digit) for _, digit in drawn))
    for channel, (digit, _) in zip(image.split(), drawn, strict=True):
        assert np.array_equal(np.array(channel), np.array(digit))
    assert stacked.classes[label] == f"{label:03}"


def test_they_are_drawn_evenly_and_always_alike() -> None:
    first, second = StackedDigits(Digits()), StackedDigits(Digits())
    assert torch.equal(first._drawn, second._drawn)
    assert first.fingerprint == second.fingerprint
    assert len(first._drawn.unique()) == 1797
    # Each channel has digits of its own.
    assert (first._drawn[:, 0] == first._drawn[:, 1]).float().mean() < 0.002


def test_only_ten_classes_are_stacked() -> None:
    with pytest.raises(UsageError, match="ten classes are stacked; stacks of scikit-learn's digits has 1000"):
        StackedDigits(StackedDigits(Digits()))


def test_it_is_opened_as_any_other_data(few: None, tmp_path: Path) -> None:
    write_mnist(tmp_path)
    settings = config(tmp_path, size=16)
    assert Plugins().datasets["images/stacked-mnist"].load() is open_stacked
    data = ImageData(open_stacked("", settings), settings, holds=("images", "label"))
    assert data.description == "300 pictures in 266 classes at 16x16x3"
    assert set(data.info.classes) < set(StackedDigits.classes)
    assert data.pixels(torch.arange(2)).shape == (2, 3, 16, 16)
    assert data.judge is not None


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="takes no argument, not 'here'") as refused:
        open_stacked("here", config(tmp_path))
    assert "data_root" in refused.value.hint
    with pytest.raises(ConfigError, match="channels = 1"):
        open_stacked("", config(tmp_path, channels=1))
    with pytest.raises(DataError, match="MNIST can't be opened below"):
        open_stacked("", config(tmp_path))
    with pytest.raises(DataError, match="MNIST can't be read below"):
        mnist(tmp_path, train=False)
