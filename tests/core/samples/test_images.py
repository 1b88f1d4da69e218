"""Samples: what is in the files that a person opens."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmgan.samples import ImageSamples, PointSamples, Samples, images


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


def noise(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2.4 - 1.2


@pytest.mark.parametrize("columns", [None, 2])
def test_chunks_make_the_grid_that_all_pictures_make(tmp_path: Path, columns: int | None) -> None:
    pictures = noise(23)
    together: Samples | None = None
    for part in pictures.split(5):
        samples = ImageSamples(part, columns)
        together = samples if together is None else together.with_more(samples)
    assert together is not None
    assert len(together) == together.shown == 23
    together.save(tmp_path / "chunks.png")
    ImageSamples(pictures, columns).save(tmp_path / "whole.png")
    assert (tmp_path / "chunks.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


def test_a_grid_has_the_first_pictures_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MOST_PICTURES", 9)
    whole = ImageSamples(noise(30))
    first, second, third = (ImageSamples(part) for part in noise(30).split(4)[:3])
    together = first.with_more(second).with_more(third).with_more(third)
    assert (len(whole), whole.shown, len(together)) == (30, 9, 9)
    assert whole.grid().size == together.grid().size == (3 * 4 + 2 * 2, 3 * 4 + 2 * 2)
    assert whole.grid().tobytes() == together.grid().tobytes() == ImageSamples(noise(30)[:9]).grid().tobytes()
    assert len(whole.save_each(tmp_path)) == 30


def test_a_grid_of_large_pictures_has_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MOST_PIXELS", 40)
    assert ImageSamples(noise(5)).shown == 2
    monkeypatch.setattr(images, "MOST_PIXELS", 4)
    assert ImageSamples(noise(5)).with_more(ImageSamples(noise(5))).shown == 1


@pytest.mark.parametrize(
    ("offset", "total", "names"),
    [
        (0, None, ["0000", "0001"]),
        (9_998, 10_000, ["9998", "9999"]),
        (9_998, 10_001, ["09998", "09999"]),
        (0, 100_000, ["00000", "00001"]),
        (1_234_567, 2_000_000, ["1234567", "1234568"]),
    ],
)
def test_files_are_numbered_so_that_they_sort(offset: int, total: int | None, names: list[str]) -> None:
    samples = ImageSamples(noise(2))
    samples.offset, samples.total = offset, total
    assert samples.numbers() == names


def test_many_samples_at_once_are_numbered_with_more_digits() -> None:
    assert ImageSamples(torch.zeros(10_001, 1, 1, 1)).numbers()[-2:] == ["09999", "10000"]


def test_a_picture_that_can_t_be_written_leaves_whole_files_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(self: Image.Image, path: Path, **options: object) -> None:
        if (tmp_path / "0001.png").exists():
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(self, path, **options)  # type: ignore[arg-type]

    save = Image.Image.save
    monkeypatch.setattr(Image.Image, "save", torn)
    with pytest.raises(OSError, match="No space"):
        ImageSamples(noise(4)).save_each(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000.png", "0001.png"]


def test_files_have_the_permissions_of_others(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_text("")
    for path in (
        *ImageSamples(noise(1)).save_each(tmp_path),
        *PointSamples(noise(1)[0, 0, :, :2]).save_each(tmp_path),
    ):
        assert path.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_samples_that_know_no_more_show_the_first_chunk() -> None:
    points = PointSamples(torch.zeros(3, 2))
    assert points.with_more(PointSamples(torch.ones(4, 2))) is points
    assert points.shown == 3


def test_an_interrupt_while_a_file_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(descriptor: int) -> None:
        monkeypatch.undo()
        os.close(descriptor)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ImageSamples(noise(1)).save_each(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_subclass_keeps_its_kind() -> None:
    class Mine(ImageSamples):
        suffix = ".mine"

    assert Mine(noise(2)).with_more(Mine(noise(2))).suffix == ".mine"


def test_of_many_classes_with_one_picture_each_the_grid_is_square() -> None:
    samples = ImageSamples(torch.zeros(16, 1, 8, 8))
    samples.labels = [str(label) for label in range(16)]
    assert samples.grid().size == (38, 38)
    samples.labels = [str(label // 2) for label in range(16)]
    assert samples.grid().size == (18, 78)
