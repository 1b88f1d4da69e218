"""The pictures of ``benchmarks/augmentations.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import augmentations


def test_a_sheet_has_a_row_for_each_augmentation(tmp_path: Path) -> None:
    for number in range(augmentations.COLUMNS + 2):
        Image.new("RGBA", (9, 7), (number * 10, 0, 0, 255)).save(tmp_path / f"{number:02}.png")
    target = tmp_path / "sheet" / "all.png"
    augmentations.main(["sheet", str(tmp_path), str(target)])
    with Image.open(target) as drawn:
        assert drawn.size == (120 + 12 * 64, 64 * (1 + len(augmentations.KINDS)))
        assert drawn.convert("RGB").getpixel((120 + 5 * 64 + 32, 32)) == (50, 0, 0)


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has 0 pictures, and 12 are needed"):
        augmentations.main(["sheet", str(tmp_path), str(tmp_path / "all.png")])


def test_a_step_to_compare_with_trains() -> None:
    assert augmentations.milliseconds(augmentations.step(1, 32, 2, 4), rounds=1) > 0
