"""Samples: what is in the files that a person opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgan.samples import ImageSamples, PointSamples


def test_a_grid_shows_every_picture_in_its_place(tmp_path: Path) -> None:
    levels = torch.linspace(-1, 1, 6)[:, None, None, None]
    samples = ImageSamples(levels.expand(6, 1, 4, 4), columns=3)
    samples.save(tmp_path / "grid.png")
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (4 + 2 + 4, 3 * 4 + 2 * 2)
    assert [grid[1, 1], grid[1, 7], grid[1, 13], grid[7, 1], grid[7, 7], grid[7, 13]] == [
        0,
        51,
        102,
        153,
        204,
        255,
    ]
    assert grid[4, 0] == 255, "the gap is white"


def test_single_pictures_keep_their_colours(tmp_path: Path) -> None:
    red = torch.tensor([1.0, -1.0, -1.0])[None, :, None, None].expand(2, 3, 8, 8)
    paths = ImageSamples(red * 5).save_each(tmp_path)
    assert [path.name for path in paths] == ["0000.png", "0001.png"]
    with Image.open(paths[1]) as picture:
        assert picture.getpixel((3, 3)) == (255, 0, 0)


def test_a_walk_is_a_strip_and_an_animation(tmp_path: Path) -> None:
    samples = ImageSamples(torch.linspace(-1, 1, 5)[:, None, None, None].expand(5, 1, 8, 8))
    strip, animation = samples.save_walk(tmp_path)
    with Image.open(strip) as picture:
        assert picture.size == (5 * 8 + 4 * 2, 8)
    with Image.open(animation) as film:
        assert film.n_frames == 8, "there and back"
        assert film.info["loop"] == 0


@pytest.mark.parametrize("shape", [(2, 2, 8, 8), (3, 8, 8)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="images must be"):
        ImageSamples(torch.zeros(shape))


def test_points_are_drawn_and_listed(tmp_path: Path) -> None:
    points = torch.tensor([[0.0, 1.0], [2.0, 3.5]])
    samples = PointSamples(points, real=torch.zeros(3, 2))
    assert len(samples) == 2
    samples.save(tmp_path / "plot.png")
    drawn = np.asarray(Image.open(tmp_path / "plot.png").convert("RGB")).reshape(-1, 3)
    assert (np.abs(drawn.astype(int) - [217, 48, 37]).sum(1) < 160).any(), "there are red points"
    (table,) = samples.save_each(tmp_path)
    assert table.read_text().splitlines() == ["x,y", "0,1", "2,3.5"]
    assert samples.save_walk(tmp_path)[0].exists()
    with pytest.raises(ValueError, match="points must be"):
        PointSamples(torch.zeros(2, 3))


def test_tensorboard_gets_pictures(tmp_path: Path) -> None:
    class Writer:
        def add_image(self, tag: str, image: np.ndarray, step: int, dataformats: str) -> None:
            self.seen = (tag, image.shape, step, dataformats)

    writer = Writer()
    ImageSamples(torch.zeros(4, 1, 4, 4)).to_tensorboard(writer, "samples", 3)  # type: ignore[arg-type]
    assert writer.seen == ("samples", (10, 10), 3, "HW")
    ImageSamples(torch.zeros(4, 3, 4, 4)).to_tensorboard(writer, "samples", 3)  # type: ignore[arg-type]
    assert writer.seen == ("samples", (10, 10, 3), 3, "HWC")
    PointSamples(torch.zeros(4, 2)).to_tensorboard(writer, "samples", 4)  # type: ignore[arg-type]
    assert writer.seen[2:] == (4, "HWC")
