import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from mmgan.config import resolve
from mmgan.data.dataset import Draw
from mmgan.data.image.dataset import open_digits, open_folder
from mmgan.data.loader import Loader
from mmgan.data.pairs.dataset import PairConfig, open_pairs, open_unpaired
from mmgan.errors import ConfigError, DataError

SIZE = 16


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(folder))
    return folder


def config(data, **settings):
    return PairConfig(plugin="test", data=str(data), **({"size": SIZE} | settings))


def load(data, how=open_pairs, progress=None, **settings):
    settings = config(data, **settings)
    return how(lambda: open_folder(settings.data, settings), settings, progress)


def digits(how=open_pairs, **settings):
    settings = config("digits", **({"size": 8} | settings))
    return how(lambda: open_digits("", settings), settings)


def texture(number, size=(24, 24)):
    """A picture in which each place and each number looks different; of the kind that PNG keeps."""
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def save_both(path, number, size=(24, 24)):
    """B is the negative of A."""
    a = texture(number, size)
    save(path, np.concatenate([a, 255 - a], 1))


def save_apart(a, b, number, size=(24, 24)):
    pixels = texture(number, size)
    save(a, pixels)
    save(b, 255 - pixels)


def draw(count, seed=0, epoch=0):
    return Draw(seed, torch.full((count,), epoch), torch.arange(count))


def everything(count):
    return torch.arange(count)


def is_negative(a, b):
    # Resampling rounds each side by itself.
    return (a + b).abs().max() <= 2.1 / 127.5


def reasons(data):
    return dict(data.skipped)


def aligned(folder, count=6, **options):
    for number in range(count):
        save_both(folder / f"{number}.png", number, **options)
    return folder


def two_folders(folder, a="trainA", b="trainB", count=6):
    for number in range(count):
        save_apart(folder / a / f"{number}.jpg.png", folder / b / f"{number}.jpg.png", number)
    return folder


# The layouts.


def test_side_by_side(tmp_path):
    data = load(aligned(tmp_path, 20), holdout=0.2)
    assert (len(data), data.validation_count) == (16, 4)
    assert data.description == "16 pairs (side by side) and 4 to validate on at 16x16x3"
    assert data.derivation is None
    for a, b in (data.training(everything(16)), data.validation(everything(4))):
        assert a.shape == b.shape == (len(a), 3, SIZE, SIZE)
        assert is_negative(a, b)
        assert a.std() > 0.1


@pytest.mark.parametrize(("part", "other"), [("val", ""), ("test", ""), ("val", "test")])
def test_side_by_side_with_its_own_validation(tmp_path, part, other):
    aligned(tmp_path / "train", 5)
    aligned(tmp_path / part, 3)
    if other:
        aligned(tmp_path / other, 7)
    data = load(tmp_path)
    assert (len(data), data.validation_count) == (5, 3)
    # In the order of the names.
    whole = load(tmp_path / "train", holdout=0.01)
    assert len(whole) == 4
    rows = {tuple(row.flatten().tolist()) for row in whole.training(everything(4))[0]}
    assert rows < {tuple(row.flatten().tolist()) for row in data.training(everything(5))[0]}


def test_a_folder_train_alone_is_a_folder_like_any(tmp_path):
    aligned(tmp_path / "train", 4)
    aligned(tmp_path / "more", 4)
    data = load(tmp_path, holdout=0.1)
    assert (len(data), data.validation_count) == (7, 1)


@pytest.mark.parametrize(
    ("names", "validation"),
    [
        (("trainA", "trainB"), ("valA", "valB")),
        (("trainA", "trainB"), ("testA", "testB")),
        (("trainA", "trainB"), None),
        (("A", "B"), None),
        (("TrainA", "TrainB"), ("TestA", "TestB")),
        (("TRAIN_A", "TRAIN_B"), ("val_a", "val_b")),
        (("trainA", "TRAINB"), ("valA", "valB")),
        (("0_A", "0_B"), None),
        (("a", "b"), None),
        (("A", "b"), None),
        (("A_train", "B_train"), ("A_test", "B_test")),
        (("domain A", "domain B"), None),
        (("train/A", "train/B"), None),
        (("train/A", "train/B"), ("val/A", "val/B")),
        (("Train/a", "Train/b"), ("Test/a", "Test/b")),
    ],
)
@pytest.mark.parametrize("how", [open_pairs, open_unpaired])
def test_two_folders(tmp_path, how, names, validation):
    two_folders(tmp_path, *names)
    if validation:
        two_folders(tmp_path, *validation, count=3)
    data = load(tmp_path, how)
    assert (len(data), data.validation_count) == ((6, 3) if validation else (5, 1))
    assert data.skipped == []
    if how is open_pairs:
        assert is_negative(*data.training(everything(len(data))))
        assert is_negative(*data.validation(everything(data.validation_count)))


@pytest.mark.parametrize(
    "names", [("0_A", "0_B", "1_A", "1_B"), ("trainA", "trainB", "train_a", "train_b"), ("A", "a", "B")]
)
def test_folders_that_may_be_either_are_listed(tmp_path, names):
    for name in names:
        save(tmp_path / name / "x.png", texture(0))
    with pytest.raises(DataError, match="several folders that may be the two sides") as caught:
        load(tmp_path)
    assert all(repr(name) in caught.value.message for name in names)
    assert "data_b" in caught.value.hint


def test_known_names_go_before_others(tmp_path):
    two_folders(tmp_path, "A", "B", count=3)
    two_folders(tmp_path, "1_a", "1_b", count=4)
    two_folders(tmp_path, "trainA", "trainB", count=6)
    assert len(load(tmp_path)) == 5


def test_folders_that_end_in_a_letter_by_chance(tmp_path):
    aligned(tmp_path / "panda", 3)
    aligned(tmp_path / "a", 3)
    assert load(tmp_path).description.startswith("5 pairs (side by side)")


def test_names_are_compared_whatever_their_capitals(tmp_path):
    for number in range(4):
        save_apart(tmp_path / "A" / f"IMG_{number}.PNG", tmp_path / "B" / f"img_{number}.bmp", number)
    # Equal names go first.
    save_apart(tmp_path / "A" / "x.png", tmp_path / "B" / "x.png", 5)
    save(tmp_path / "B" / "X.png", texture(7))
    data = load(tmp_path)
    assert len(data) + data.validation_count == 5
    assert reasons(data) == {"B/X.png": "no file of this name in A"}


def test_a_side_that_is_not_read_is_an_error(tmp_path):
    two_folders(tmp_path, count=3)
    for number in range(9):
        (tmp_path / "trainB" / f"{number}.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"trainB' has 3 pictures that are read.*9 \.heic"):
        load(tmp_path)


@pytest.mark.parametrize("how", [open_pairs, open_unpaired])
def test_data_and_data_b(tmp_path, how):
    two_folders(tmp_path, "x/same", "y/same")
    data = load(tmp_path / "x" / "same", how, data_b=str(tmp_path / "y" / "same"))
    assert (len(data), data.validation_count) == (5, 1)
    if how is open_pairs:
        assert data.description.startswith("5 pairs (of equal names) and 1 to validate on")


def test_names_are_compared_below_the_folder_and_without_suffix(tmp_path):
    a, b = tmp_path / "A", tmp_path / "B"
    names = ["sub/x.1", "with space", "Grüße", "猫", "line\nbreak", "x.1"]
    for number, name in enumerate(names):
        save_apart(a / f"{name}.png", b / f"{name}.BMP", number)
    # The accent as a character of its own, as some file systems store it.
    save_apart(a / "e\u0301.png", b / "\u00e9.png", 9)
    # The very same name goes first.
    save_apart(a / "both.png", b / "both.png", 10)
    save_apart(a / "both.bmp", b / "both.bmp", 11)
    data = load(tmp_path, size=24, load_size=24)
    assert len(data) + data.validation_count == 9
    assert data.skipped == []
    for a, b in (data.training(everything(len(data))), data.validation(everything(1))):
        torch.testing.assert_close(a, -b)


def test_unpaired_folders_need_no_equal_names(tmp_path):
    for number in range(8):
        save(tmp_path / "trainA" / f"a{number}.png", texture(number))
    for number in range(4):
        save(tmp_path / "trainB" / f"b{number}.png", texture(number, (50, 20)))
    data = load(tmp_path, open_unpaired, holdout=0.25)
    assert (data.count_a, data.count_b, len(data), data.validation_count) == (6, 3, 6, 1)
    assert data.description == "6 pictures of A and 3 of B, 2 and 1 to validate on at 16x16x3"
    a, b = data.validation(torch.tensor([0, 1, 2]))
    assert torch.equal(a[0], a[2])
    assert not torch.equal(a[0], a[1])
    assert torch.equal(b[0], b[1])


def test_unpaired_with_a_named_data_set(tmp_path):
    for number in range(4):
        save(tmp_path / f"{number}.png", texture(number))
    data = digits(open_unpaired, data_b=str(tmp_path))
    assert data.count_a == 1797 - 90
    assert data.count_b == 3


def test_maps(shared_data):
    data = load(shared_data / "maps", size=16)
    assert (len(data), data.validation_count, data.skipped) == (383, 24, [])
    a, b = data.validation(everything(24))
    # Photos are darker than maps.
    assert a.mean() < -0.2 < 0 < b.mean()


@pytest.mark.slow
def test_emoji(shared_data):
    folder = shared_data / "emoji"
    data = load(folder / "google", data_b=str(folder / "twitter"), size=8, load_size=8)
    assert len(data) + data.validation_count == 1636
    assert data.skipped == []


# What is skipped, and what is an error.


def test_what_has_no_partner_is_named(tmp_path):
    two_folders(tmp_path)
    save(tmp_path / "trainA" / "lonely.png", texture(1))
    save(tmp_path / "trainB" / "line\nbreak.png", texture(1))
    for name in ("twin.png", "twin.bmp"):
        save(tmp_path / "trainA" / name, texture(1))
    save(tmp_path / "trainB" / "twin.gif", texture(1))
    data = load(tmp_path)
    assert len(data) == 5
    assert data.skipped == [
        ("trainA/lonely.png", "no file of this name in trainB"),
        ("trainA/twin.bmp", "several files of this name"),
        ("trainA/twin.png", "several files of this name"),
        ("trainB/line\nbreak.png", "no file of this name in trainA"),
        ("trainB/twin.gif", "several files of this name"),
    ]
    assert "5 skipped: trainA/lonely.png (no file of this name in trainB)" in data.description
    assert data.description.isprintable()
    assert load(tmp_path).skipped == data.skipped


def test_no_pairs_are_an_error_that_lists_them(tmp_path):
    for number in range(4):
        save(tmp_path / "trainA" / f"a{number}.png", texture(number))
        save(tmp_path / "trainB" / f"b{number}.png", texture(number))
    with pytest.raises(
        DataError,
        match=r"trainA' and '.*trainB' has no readable pair of equal names, and a GAN needs at least 2.*"
        r"0 found; 8 skipped: 4 x no file of this name in trainB \(in trainA: a0.png, a1.png, …\), 4 x ",
    ) as caught:
        load(tmp_path)
    assert "side by side" in caught.value.hint
    assert "derive" in caught.value.hint


def test_partners_of_different_shapes(tmp_path):
    two_folders(tmp_path, count=3)
    for name, a, b in (
        ("wide", (100, 100), (100, 50)),
        ("larger", (20, 10), (201, 100)),  # a rounded side is no difference
    ):
        save(tmp_path / "trainA" / f"{name}.png", texture(1, a))
        save(tmp_path / "trainB" / f"{name}.png", texture(1, b))
    data = load(tmp_path)
    assert len(data) + data.validation_count == 4
    assert reasons(data) == {"trainA/wide.png": "not of one shape: trainA 100x100, trainB 100x50"}


def test_what_is_no_two_pictures(tmp_path):
    aligned(tmp_path, 3)
    for name, size in (("odd", (21, 10)), ("high", (10, 20)), ("square", (20, 20))):
        save(tmp_path / f"{name}.png", texture(1, size))
    data = load(tmp_path)
    assert len(data) == 2
    assert reasons(data) == {
        "odd.png": "no two pictures side by side: 21x10 is of odd width",
        "high.png": "no two pictures side by side: 10x20 is as wide as high, or less",
        "square.png": "no two pictures side by side: 20x20 is as wide as high, or less",
    }


def test_bad_files_are_skipped_counted_and_named(tmp_path):
    two_folders(tmp_path)
    for side, name, content in (
        ("trainA", "0.jpg.png", b""),
        ("trainB", "1.jpg.png", b"text" * 100),
        ("trainB", "2.jpg.png", (tmp_path / "trainB" / "2.jpg.png").read_bytes()[:900]),
    ):
        (tmp_path / side / name).write_bytes(content)
    (tmp_path / "trainA" / "loop").symlink_to(tmp_path / "trainA", target_is_directory=True)
    (tmp_path / "trainB" / "notes.txt").write_text("nothing")
    data = load(tmp_path)
    assert len(data) + data.validation_count == 3
    assert reasons(data) == {
        "trainA/0.jpg.png": "trainA: empty file",
        "trainA/1.jpg.png": "trainB: not a picture",
        "trainA/2.jpg.png": "trainB: truncated",
    }
    assert data.description.endswith("; 1 other file")
    unpaired = load(tmp_path, open_unpaired)
    assert reasons(unpaired)["trainB/1.jpg.png"] == "not a picture"
    assert reasons(unpaired)["trainA/0.jpg.png"] == "empty file"


def test_parts_are_named_in_what_is_skipped(tmp_path):
    aligned(tmp_path / "train", 3)
    aligned(tmp_path / "val", 3)
    (tmp_path / "train" / "x.png").touch()
    (tmp_path / "val" / "x.png").touch()
    assert load(tmp_path).skipped == [("train/x.png", "empty file"), ("val/x.png", "empty file")]


@pytest.mark.parametrize("how", [open_pairs, open_unpaired])
@pytest.mark.parametrize(
    ("there", "missing"), [("trainA", "trainB"), ("trainB", "trainA"), ("A", "B"), ("testB", "testA")]
)
def test_a_side_that_is_missing_is_named(tmp_path, how, there, missing):
    if there == "testB":
        two_folders(tmp_path)
    save(tmp_path / there / "x.png", texture(0))
    with pytest.raises(DataError, match=f"has a folder {there}, and none that is named {missing}"):
        load(tmp_path, how)


@pytest.mark.parametrize("how", [open_pairs, open_unpaired])
def test_data_b_that_is_missing_or_the_same(tmp_path, how):
    two_folders(tmp_path)
    with pytest.raises(DataError, match="data_b = '.*nowhere' is not a folder"):
        load(tmp_path / "trainA", how, data_b=str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="one and the same folder"):
        load(tmp_path / "trainA", how, data_b=str(tmp_path / "trainA"))


@pytest.mark.parametrize("how", [open_pairs, open_unpaired])
def test_data_that_is_missing(tmp_path, how):
    with pytest.raises(DataError, match="no folder or file"):
        load(tmp_path / "nowhere", how)


def test_single_pictures_are_no_pairs(tmp_path):
    for number in range(4):
        save(tmp_path / f"{number}.png", texture(number))
    with pytest.raises(DataError, match="no readable pair side by side.*4 skipped") as caught:
        load(tmp_path)
    assert "--set derive=" in caught.value.hint
    with pytest.raises(DataError, match="scikit-learn's digits has single pictures, and pairs") as caught:
        digits()
    assert "--set derive=" in caught.value.hint


def test_one_domain_is_not_two(tmp_path):
    save(tmp_path / "x.png", texture(0))
    for call in (lambda: load(tmp_path, open_unpaired), lambda: digits(open_unpaired)):
        with pytest.raises(DataError, match="pictures of one domain, and those of two") as caught:
            call()
        assert "trainA" in caught.value.hint
        assert "--set derive=" in caught.value.hint


def test_too_few(tmp_path):
    with pytest.raises(DataError, match="has 1 readable pair side by side, and a GAN needs at least 2"):
        load(aligned(tmp_path / "one", 1))
    aligned(tmp_path / "train", 3)
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match="val' has no readable pair.*at least 1 is needed") as caught:
        load(tmp_path)
    assert "remove the folder" in caught.value.hint
    aligned(tmp_path / "val", 1)
    assert load(tmp_path).validation_count == 1
    with pytest.raises(DataError, match="has 1 readable picture, and a GAN needs at least 2"):
        load(save(tmp_path / "x.png", texture(0)), derive="edges")
    aligned(tmp_path / "two", 2)
    with pytest.raises(DataError, match="has 2 readable pictures, and a GAN needs at least 3"):
        load(tmp_path / "two", open_unpaired, derive="edges")
    aligned(tmp_path / "two", 3)
    data = load(tmp_path / "two", open_unpaired, derive="edges", holdout=0.9)
    assert (data.count_a, data.count_b, data.validation_count) == (1, 1, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"load_size": 20}, "load_size = 20 is less than size = 32"),
        ({"load_size": -1}, "load_size = -1"),
        ({"holdout": 0}, "holdout = 0"),
        ({"holdout": 1}, "holdout = 1"),
        ({"noise": 0}, "noise = 0"),
        ({"noise": 2.5}, "noise = 2.5"),
        ({"superres_scale": 3}, "superres_scale = 3"),
        ({"derive": "blur"}, "derive = 'blur'"),
        ({"derive": "edges", "data_b": "somewhere"}, "'edges' makes both sides.*data_b must be empty"),
    ],
)
def test_settings_that_are_not_allowed(settings, message):
    with pytest.raises(ConfigError, match=message):
        resolve(PairConfig, "test", flags=settings, environment={})


def test_settings():
    settings = resolve(PairConfig, "test", flags={"data_b": "b", "size": "256"}, environment={})
    assert os.path.isabs(settings.data_b)
    assert settings.side_before_crop == 286
    assert settings.flip


# Batches.


def test_both_sides_are_cropped_and_mirrored_alike(tmp_path):
    data = load(aligned(tmp_path, 4), load_size=24, holdout=0.01)
    indices = torch.zeros(200, dtype=torch.int64)
    numbers = draw(200)
    a, b = data.batch(indices, numbers)
    assert a.dtype == b.dtype == torch.float32
    assert a.is_contiguous()
    assert b.is_contiguous()
    torch.testing.assert_close(a, -b)  # at load_size = 24 nothing is resampled
    # Every one of 9x9 places, as it is and mirrored, is the picture's own.
    whole = load(tmp_path, size=24, load_size=24, holdout=0.01).training(torch.tensor([0]))[0][0]
    places = (numbers.uniform("crop", 2) * 9).long()
    mirrored = numbers.uniform("flip") < 0.5
    assert places.min(0).values.tolist() == [0, 0]
    assert places.max(0).values.tolist() == [8, 8]
    assert 70 < mirrored.sum() < 130
    for crop, (top, left), mirror in zip(a, places.tolist(), mirrored, strict=True):
        expected = whole[:, top : top + SIZE, left : left + SIZE]
        assert torch.equal(crop, expected.flip(-1) if mirror else expected)


def test_no_crop_and_no_flip(tmp_path, cache):
    data = load(aligned(tmp_path), load_size=SIZE, flip=False)
    indices = everything(len(data))
    assert all(map(torch.equal, data.batch(indices, draw(5)), data.training(indices)))
    # One size is stored once.
    (entry,) = cache.iterdir()
    assert entry.stat().st_size < 6 * 2 * 3 * SIZE**2 + 1000


@pytest.mark.parametrize("crop", ["center", "pad"])
def test_grey_and_not_square(tmp_path, crop):
    data = load(aligned(tmp_path, size=(40, 30)), channels=1, crop=crop, background="#808080")
    a, b = data.training(everything(5))
    assert a.shape == (5, 1, SIZE, SIZE)
    assert is_negative(a, b)
    assert (a[:, :, 0].std() < 0.01) == (crop == "pad")


def test_unpaired_sides_are_drawn_apart(tmp_path):
    for number in range(3):
        save(tmp_path / "A" / f"{number}.png", texture(0))
    for number in range(9):
        save(tmp_path / "B" / f"{number}.png", texture(0))
    data = load(tmp_path, open_unpaired, load_size=24)
    assert (data.count_a, data.count_b, len(data)) == (2, 8, 8)
    indices = everything(8)
    a, b = data.batch(indices, draw(8))
    # All pictures are the same one, so what differs is crop and flip.
    assert not torch.equal(a, b)
    again = data.batch(indices, draw(8, epoch=1))
    assert not torch.equal(again[0], a)
    assert not torch.equal(again[1], b)


def test_unpaired_takes_a_in_order_and_b_at_random(tmp_path):
    for number in range(3):
        save(tmp_path / "A" / f"{number}.png", np.full((8, 8, 3), 10 * number, np.uint8))
    for number in range(9):
        save(tmp_path / "B" / f"{number}.png", np.full((8, 8, 3), 10 * number, np.uint8))
    data = load(tmp_path, open_unpaired, holdout=0.01)
    a_values, b_values = (
        data.training_a(everything(2))[:, 0, 0, 0],
        data.training_b(everything(8))[:, 0, 0, 0],
    )
    indices = torch.tensor([0, 1, 2, 3, 7])
    seen = set()
    for epoch in range(40):
        a, b = data.batch(indices, draw(5, epoch=epoch))
        assert torch.equal(a[:, 0, 0, 0], a_values[indices % 2])
        seen |= set(b[:, 0, 0, 0].tolist())
    assert seen == set(b_values.tolist())


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("derive", ["none", "inpaint", "denoise"])
@pytest.mark.parametrize("how", [open_pairs, open_unpaired])
def test_workers_change_nothing(tmp_path, how, derive):
    if derive == "none":
        two_folders(tmp_path)
    else:
        aligned(tmp_path)
    data = load(tmp_path, how, derive=derive)
    alone, together = Loader(data, 2, seed=3), Loader(data, 2, seed=3, workers=2)
    for _ in range(5):
        assert all(map(torch.equal, next(alone), next(together)))
    together.close()


def test_it_pickles_without_its_pixels(tmp_path):
    data = load(aligned(tmp_path), size=64)
    pickled = pickle.dumps(data)
    assert len(pickled) < 6_000
    again = pickle.loads(pickled)
    assert all(map(torch.equal, again.batch(everything(5), draw(5)), data.batch(everything(5), draw(5))))


def test_decoding_happens_once(tmp_path, cache):
    aligned(tmp_path)
    reports = []
    load(tmp_path, progress=lambda done, total: reports.append((done, total)))
    assert reports == [(6, 6)]
    for settings in ({"flip": False}, {"holdout": 0.5}, {"load_size": 18}):
        load(tmp_path, progress=lambda done, total: reports.append((done, total)), **settings)
    assert len(reports) == len(list(cache.iterdir())) == 1
    load(tmp_path, derive="edges")  # the whole pictures, not the halves
    load(tmp_path, load_size=19)
    assert len(list(cache.iterdir())) == 3


# Derived.


def test_derived_pairs_of_a_named_data_set():
    data = digits(derive="recolor")
    assert (len(data), data.validation_count) == (1797 - 90, 90)
    assert data.description == "1,707 pairs (recolor from single pictures) and 90 to validate on at 8x8x3"
    a, b = data.batch(everything(4), draw(4))
    # What is black is paper, what is bright is ink, also after crop and flip.
    torch.testing.assert_close(data.derivation.derive(a, draw(4))[1], b)


@pytest.mark.parametrize("how", [open_pairs, open_unpaired])
def test_derived_pictures_have_their_own_validation(tmp_path, how):
    aligned(tmp_path / "train", 5)
    aligned(tmp_path / "test", 3)
    data = load(tmp_path, how, derive="edges")
    assert data.validation_count == 3
    a, b = data.validation(everything(3))
    assert (a.shape, b.shape) == ((3, 1, SIZE, SIZE), (3, 3, SIZE, SIZE))
    assert torch.equal(data.derivation.derive(b, draw(3))[0], a)


def test_what_is_not_augmented_is_always_the_same(tmp_path):
    data = load(aligned(tmp_path), derive="denoise")
    for part in (data.training, data.validation):
        assert all(map(torch.equal, part(torch.tensor([0])), part(torch.tensor([0]))))
    first, second = (data.batch(everything(5), draw(5, epoch=epoch))[0] for epoch in (0, 1))
    assert not torch.equal(first, second)


def test_derived_domains_share_no_picture():
    data = digits(open_unpaired, derive="colorize", holdout=0.1)
    assert data.validation_count == 180
    assert (data.count_a, data.count_b) == (809, 808)
    a = {tuple(row.tolist()) for row in data.training_a(everything(809)).flatten(1).mul(100).round()}
    b = {tuple(row.tolist()) for row in data.training_b(everything(808))[:, :1].flatten(1).mul(100).round()}
    assert len(a) > 800
    assert not a & b
    # What was kept out of training is shown as pairs.
    a, b = data.validation(everything(180))
    torch.testing.assert_close(a, b[:, :1], atol=1e-3, rtol=0)


def test_inpainting_has_a_channel_more(tmp_path):
    data = load(aligned(tmp_path), derive="inpaint")
    a, b = data.batch(everything(5), draw(5))
    assert (a.shape[1], b.shape[1]) == (4, 3)
    assert torch.equal(torch.where(a[:, 3:] == 1, 0, b), a[:, :3])


def test_superres_agrees_with_its_size(tmp_path):
    with pytest.raises(ConfigError, match="not a multiple"):
        load(aligned(tmp_path), derive="superres", size=18)
