"""Pictures held out of training: which ones, and that they stay out."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmgan.data.image.dataset import ImageConfig, ImageData, open_digits, open_folder
from mmgan.data.image.holdout import chosen
from mmgan.data.loader import Loader
from mmgan.errors import DataError

DIGITS = ImageConfig(plugin="test", size=8, channels=1)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def digits(part: float = 0, seed: int = 0, holds: tuple[str, ...] = ()) -> ImageData:
    data = ImageData(open_digits("", DIGITS), DIGITS, None, holds)
    if part:
        data.hold_out(part, seed)
    return data


def drawn(folder: Path, names: dict[str, int]) -> Path:
    """Write pictures of noise, each by the seed that its name has."""
    for name, seed in names.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    return folder


def opened(folder: Path, part: float, holds: tuple[str, ...] = (), seed: int = 0) -> ImageData:
    data = ImageData(open_folder(str(folder), DIGITS), DIGITS, None, holds)
    data.hold_out(part, seed)
    return data


def held(data: ImageData) -> ImageData:
    assert data.held_out is not None
    return data.held_out


def contents(data: Any) -> set[bytes]:
    return {picture.numpy().tobytes() for picture in data.pixels(torch.arange(len(data)))}


@pytest.mark.parametrize(("part", "count"), [(0.2, 359), (0.5, 898), (100, 100), (2, 2)])
def test_a_share_and_a_number(part: float, count: int) -> None:
    data = digits(part)
    assert (len(data), len(held(data))) == (1797 - count, count)
    assert not contents(data) & contents(held(data))
    assert contents(data) | contents(held(data)) == contents(digits())
    assert data.description == f"{1797 - count:,} pictures in 10 classes at 8x8x1, and {count:,} held out"
    assert data.info.examples == len(data)


def test_nothing_is_held_out_unasked() -> None:
    data = digits()
    assert data.held_out is None
    assert data.fingerprint == ""


def test_the_choice_follows_from_pixels_and_seed_alone(tmp_path: Path) -> None:
    one = opened(drawn(tmp_path / "one", {f"{n:02}.png": n for n in range(40)}), 0.25)
    other = opened(drawn(tmp_path / "other", {f"{40 - n:02}.png": n for n in range(40)}), 0.25)
    assert contents(held(one)) == contents(held(other))
    assert contents(held(digits(50))) == contents(held(digits(50)))
    assert contents(held(digits(50))) != contents(held(digits(50, seed=1)))
    # More pictures held out are others beside the same.
    assert contents(held(digits(50))) < contents(held(digits(80)))


def test_equal_pictures_are_on_one_side(tmp_path: Path) -> None:
    names = {f"{n:02}.png": n % 10 for n in range(40)}
    data = opened(drawn(tmp_path, names), 0.3)
    assert not contents(data) & contents(held(data))
    assert len(held(data)) == 12
    assert len(opened(tmp_path, 0.28).held_out or ()) == 12  # 11, and what is equal to the last


def test_no_batch_ever_holds_one() -> None:
    data = digits(0.3, holds=("images", "label"))
    away = held(data)
    seen = set()
    for rank in range(2):
        loader = Loader(data, 64, seed=3, rank=rank, world=2)
        for _ in range(20):
            seen |= {image.numpy().tobytes() for image in next(loader)["images"]}
    out = {image.numpy().tobytes() for image in away.pictures(torch.arange(len(away)))}
    assert len(seen) > 1000
    assert not seen & out


def test_labels_go_with_their_pictures() -> None:
    whole = digits(holds=("images", "label"))
    known = {
        whole.pixels(torch.tensor([i])).numpy().tobytes(): int(whole.labels[i]) for i in range(len(whole))
    }
    data = digits(0.3, holds=("images", "label"))
    for part in (data, held(data)):
        for i in range(0, len(part), 10):
            assert known[part.pixels(torch.tensor([i])).numpy().tobytes()] == int(part.labels[i])
        batch = part.batch(torch.arange(5), None)  # type: ignore[arg-type]  # nothing is drawn
        assert batch["label"].tolist() == part.labels[:5].tolist()
        assert part.classes == whole.classes
        assert sum(part.info.counts) == len(part)


def test_a_worker_process_gets_both_parts() -> None:
    data = digits(0.1)
    copy = pickle.loads(pickle.dumps(data))
    assert contents(copy) == contents(data)
    assert contents(copy.held_out) == contents(held(data))


def test_both_parts_change_their_size_together() -> None:
    data = digits(0.1)
    data.resize(4)
    for part in (data, held(data)):
        assert part.pictures(torch.arange(2)).shape == (2, 1, 4, 4)


def test_the_fingerprint_knows_the_choice(tmp_path: Path) -> None:
    folder = drawn(tmp_path, {f"{n:02}.png": n for n in range(20)})
    plain = ImageData(open_folder(str(folder), DIGITS), DIGITS).fingerprint
    found = [opened(folder, part, seed=seed).fingerprint for part, seed in ((0.2, 0), (0.2, 1), (0.3, 0))]
    assert len({plain, *found}) == 4
    assert found[0] == opened(folder, 0.2).fingerprint
    assert found[0].startswith(plain)


@pytest.mark.parametrize(("part", "left", "away"), [(1, 19, 1), (19, 1, 19), (30, 0, 20), (0.02, 19, 1)])
def test_too_few_on_a_side(tmp_path: Path, part: float, left: int, away: int) -> None:
    folder = drawn(tmp_path, {f"{n:02}.png": n for n in range(20)})
    with pytest.raises(DataError) as caught:
        opened(folder, part)
    pictures = "picture" if left == 1 else "pictures"
    assert caught.value.message == (
        f"holdout = {part:g} leaves {left} {pictures} to train on and {away} to measure on: "
        "at least 2 of each are needed."
    )


def test_a_folder_of_one_picture_many_times(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leaves 0 pictures to train on and 9 to measure on"):
        opened(drawn(tmp_path, {f"{n}.png": 0 for n in range(9)}), 0.2)


def test_a_class_of_which_nothing_is_left(tmp_path: Path) -> None:
    folder = drawn(tmp_path, {f"common/{n}.png": n for n in range(10)} | {"rare/x.png": 99})
    keeps, takes = 4, 0
    assert opened(folder, 0.5, ("images", "label"), keeps).labels.tolist() == [0, 0, 0, 0, 1]
    with pytest.raises(DataError, match=r"holdout = 0.5 leaves no picture to train on of rare\.") as caught:
        opened(folder, 0.5, ("images", "label"), takes)
    assert "choose another --seed" in caught.value.hint
    # Where no classes are learned, it does not matter.
    assert opened(folder, 0.5, (), takes).labels.tolist() == [0] * 5


def test_the_choice_is_by_the_smallest_hashes() -> None:
    rows = [np.full((1, 2, 2), value, dtype=np.uint8) for value in range(100)]
    away, mark = chosen(rows, 0.25, 0)
    again, same = chosen(reversed(rows), 0.25, 0)
    assert int(away.sum()) == 25
    assert torch.equal(again.flip(0), away)
    assert mark == same
    assert torch.equal(chosen(rows, 25, 0)[0], away)
