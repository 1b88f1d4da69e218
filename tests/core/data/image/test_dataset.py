import os
import pickle
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

from mmgan.config import resolve
from mmgan.data.dataset import Draw
from mmgan.data.image import sources
from mmgan.data.image.dataset import ImageConfig, ImageData, open_digits, open_folder, open_torchvision
from mmgan.data.image.pixels import to_picture, to_pixels, to_square
from mmgan.data.loader import Loader
from mmgan.errors import ConfigError, DataError

MNIST = Path(__file__).resolve().parents[4] / ".." / "shared" / "data" / "mnist"
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(folder))
    return folder


def config(**settings):
    return ImageConfig(plugin="test", **({"size": 8} | settings))


def save(path, colour=RED, size=(16, 16), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def load(folder, progress=None, **settings):
    settings = config(**settings)
    return ImageData(open_folder(str(folder), settings), settings, progress)


def everything(data):
    return data.pixels(torch.arange(len(data)))


def colours(data):
    return [tuple(picture[:, 4, 4].tolist()) for picture in everything(data)]


def no_draw(count):
    return Draw(0, torch.zeros(count, dtype=torch.int64), torch.arange(count))


def halves(left, right, size=(16, 16), mode="RGB"):
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, size[0], size[1]))
    return image


# One picture to pixels.


def test_shape_and_type():
    for channels in (1, 3):
        pixels = to_pixels(halves(RED, BLUE), 8, channels)
        assert pixels.shape == (channels, 8, 8)
        assert pixels.dtype == np.uint8
    assert pixels[:, 0, 0].tolist() == [255, 0, 0]
    assert pixels[:, 0, 7].tolist() == [0, 0, 255]


def test_center_cuts_both_ends_off():
    image = Image.new("RGB", (30, 10), BLUE)
    image.paste(RED, (10, 0, 20, 10))
    for picture in (image, image.transpose(Image.Transpose.ROTATE_90)):
        assert (to_pixels(picture, 10, 3) == np.array(RED).reshape(3, 1, 1)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_pad_fills_both_ends_up(channels):
    pixels = to_pixels(Image.new("RGB", (20, 10), BLACK), 20, channels, "pad", "#ff0000")
    red = 76 if channels == 1 else 255
    assert (pixels[0, :5] == red).all()
    assert (pixels[0, 15:] == red).all()
    assert (pixels[:, 5:15] == 0).all()


def test_shrinking_averages():
    checkers = Image.fromarray(np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255)
    pixels = to_pixels(checkers, 8, 1)
    assert abs(pixels.astype(int) - 128).max() <= 4


def test_enlarging_does_not_ring():
    pixels = to_pixels(halves(60, 200, (8, 8), "L"), 32, 1)
    # Lanczos would overshoot to 213, bicubic to 207 or so.
    assert pixels.max() <= 210
    assert pixels.min() >= 50


def test_whether_a_picture_grows_depends_on_the_side_that_is_kept():
    # 48x8 to 32x32: its centre is enlarged, but the whole of it, with padding, is shrunk.
    image = halves(60, 200, (48, 8), "L")
    centre = ImageOps.fit(image, (32, 32), Image.Resampling.BICUBIC)
    whole = ImageOps.pad(image, (32, 32), Image.Resampling.LANCZOS, color=255)
    assert np.array_equal(to_pixels(image, 32, 1, "center")[0], np.asarray(centre))
    assert np.array_equal(to_pixels(image, 32, 1, "pad")[0], np.asarray(whole))


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("1", 1, WHITE),
        ("L", 100, (100, 100, 100)),
        ("LA", (0, 255), BLACK),
        ("LA", (0, 0), GREEN),
        ("RGB", RED, RED),
        ("RGBA", (255, 0, 0, 255), RED),
        ("RGBA", (255, 0, 0, 0), GREEN),
        ("RGBA", (255, 0, 0, 128), (128, 127, 0)),
        ("RGBX", (255, 0, 0, 0), RED),
        ("RGBa", (0, 0, 0, 0), GREEN),
        ("CMYK", (0, 255, 255, 0), RED),
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
        ("HSV", (0, 255, 255), RED),
        ("I;16", 65535, WHITE),
        ("I;16", 257 * 100, (100, 100, 100)),
        ("I;16B", 257 * 100, (100, 100, 100)),
        ("I", 257 * 100, (100, 100, 100)),
        ("F", 0.5, (128, 128, 128)),
        ("F", 100.0, (100, 100, 100)),
        ("F", 257.0 * 100, (100, 100, 100)),
    ],
)
def test_every_mode(mode, value, expected):
    pixels = to_pixels(Image.new(mode, (8, 8), value), 8, 3, background="#00ff00")
    assert pixels[:, 4, 4].tolist() == list(expected)


def test_palettes():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*BLACK, *RED])
    assert to_pixels(image, 8, 3)[:, 4, 4].tolist() == list(RED)
    image.info["transparency"] = 1
    assert to_pixels(image.copy(), 8, 3, background="#0000ff")[:, 4, 4].tolist() == list(BLUE)
    assert to_pixels(image.convert("PA"), 8, 3, background="#0000ff")[:, 4, 4].tolist() == list(BLUE)


@pytest.mark.parametrize(
    "values", [[[-5.0, 0.0], [0.0, 5.0]], [[0, 0], [0, 10**6]], [[-(2**31), 0], [0, 2**31 - 1]]]
)
def test_numbers_beyond_any_range_are_stretched(values):
    array = np.array(values, dtype=np.float32 if isinstance(values[0][0], float) else np.int32)
    pixels = to_pixels(Image.fromarray(array), 2, 1)
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_a_flat_picture_below_zero():
    assert (to_pixels(Image.new("F", (2, 2), -3.0), 2, 1) == 0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_picture_upright(orientation, tmp_path):
    upright = Image.new("RGB", (16, 16), BLUE)
    upright.paste(RED, (0, 0, 8, 8))
    upright.paste(GREEN, (8, 0, 16, 8))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what a camera held that way has stored
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.jpg", "b.png"):
        stored.save(
            tmp_path / name, exif=exif, **({"quality": 100, "subsampling": 0} if "jpg" in name else {})
        )
    for pixels in everything(load(tmp_path)).int():
        assert (pixels[:, 1, 1] - torch.tensor(RED)).abs().max() < 12
        assert (pixels[:, 1, 6] - torch.tensor(GREEN)).abs().max() < 12
        assert (pixels[:, 6, 6] - torch.tensor(BLUE)).abs().max() < 12


def test_a_torn_exif_block_costs_no_picture(tmp_path):
    save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0garbage")
    save(tmp_path / "b.png", exif=b"garbage")
    assert len(load(tmp_path)) == 2


def test_a_large_jpeg_is_decoded_as_small_as_will_do(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((960, 640)).save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        small = to_pixels(image, 32, 3).astype(int)
        assert image.size == (120, 80)
    with Image.open(tmp_path / "a.jpg") as image:
        full = to_pixels(image.copy(), 32, 3).astype(int)
    assert abs(small - full).mean() < 1


def test_a_picture_of_its_own_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    halves((255, 0, 0, 255), (0, 0, 0, 0), (16, 8), "RGBA").save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        picture = to_picture(image, 3, "#0000ff")
    # Upright, opaque, and of use when the file is closed.
    assert (picture.size, picture.mode) == ((8, 16), "RGB")
    assert (picture.getpixel((4, 2)), picture.getpixel((4, 14))) == (RED, BLUE)
    assert to_picture(Image.new("I;16", (3, 2), 65535), 1).getpixel((0, 0)) == 255


@pytest.mark.parametrize("crop", ["center", "pad"])
def test_pixels_are_a_square_of_the_picture(crop):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 4), dtype=np.uint8))
    square = to_square(to_picture(image.copy(), 3, "red"), 8, crop, "red")
    assert np.array_equal(square, to_pixels(image, 8, 3, crop, "red"))


def test_an_animation_gives_its_first_frame(tmp_path):
    for name in ("a.gif", "b.gif"):
        save(tmp_path / name, RED, save_all=True, append_images=[Image.new("RGB", (16, 16), BLUE)])
    assert colours(load(tmp_path)) == [RED, RED]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_an_animation_that_fades_in_gives_its_first_picture(tmp_path, suffix):
    frames = [Image.new("RGB", (16, 16), WHITE)] * 2 + [halves(RED, BLUE)] * 2
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(
        tmp_path / f"a.{suffix}",
        save_all=True,
        append_images=frames[1:],
        duration=[50, 60, 70, 80],
        **options,
    )
    Image.new("RGB", (16, 16), GREEN).save(tmp_path / f"b.{suffix}")
    pixels = everything(load(tmp_path))[0]
    assert pixels[:, 4, 0].tolist() == list(RED)
    assert pixels[:, 4, 7].tolist() == list(BLUE)


def test_mpo_of_a_phone_is_read(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.mpo", RED, save_all=True, append_images=[Image.new("RGB", (16, 16), BLUE)])
    assert [colour[0] > 250 for colour in colours(load(tmp_path))] == [True, True]


# A folder of pictures.


def test_classes_are_the_first_level_of_folders(tmp_path):
    save(tmp_path / "dogs" / "old" / "a.png", RED)
    save(tmp_path / "cats" / "z.png", GREEN)
    save(tmp_path / "cats" / "b" / "c" / "a.png", BLUE)
    data = load(tmp_path)
    assert colours(data) == [BLUE, GREEN, RED]
    assert data.labels.tolist() == [0, 0, 1]
    assert data.labels.dtype == torch.int64
    assert data.description == "3 pictures in 2 classes at 8x8x3"


def test_pictures_beside_folders_are_a_class_of_their_own(tmp_path):
    save(tmp_path / "z.png", GREEN)
    save(tmp_path / "cats" / "a.png", RED)
    data = load(tmp_path)
    assert colours(data) == [RED, GREEN]
    assert data.labels.tolist() == [1, 0]


def test_names_of_all_kinds(tmp_path):
    names = [
        "with space.png",
        "Grüße.PNG",
        "猫.Jpg",
        "line\nbreak.png",
        "'quote\".png",
        "-dash.png",
        "a.b.c.png",
    ]
    names.append(os.fsdecode(b"no \xff unicode.png"))
    for name in names:
        save(tmp_path / name)
    save(tmp_path / "a folder.png" / "x.png")
    data = load(tmp_path)
    assert len(data) == len(names) + 1
    assert data.skipped == []


def test_a_strange_name_does_not_tear_the_description(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    (tmp_path / "line\nbreak.png").touch()
    (tmp_path / os.fsdecode(b"\xff.png")).touch()
    description = load(tmp_path).description
    assert description.isprintable()
    assert r"'line\nbreak.png' (empty file)" in description


def test_other_files_are_counted_and_hidden_ones_are_not(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    save(tmp_path / ".hidden.png")
    save(tmp_path / ".thumbnails" / "c.png")
    for name in (
        "labels.csv",
        "no_suffix",
        "paper.pdf",
        "notes.TXT",
        "Thumbs.db",
        "desktop.ini",
        "page.html",
    ):
        (tmp_path / name).write_text("text")
    os.mkfifo(tmp_path / "pipe.png")
    assert load(tmp_path).description == "2 pictures at 8x8x3; 8 other files (1 .pdf)"


def test_few_pictures_among_many_that_are_not_read_are_an_error(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.png")
    for number in range(20):
        (tmp_path / f"IMG_{number}.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(
        DataError, match=r"3 pictures that are read, and more files that are not: 20 \.heic"
    ) as caught:
        load(tmp_path)
    assert caught.value.exit_code == 4
    assert "pip install pillow-heif" in caught.value.hint


@pytest.mark.parametrize("suffix", ["svg", "CR2", "nef", "dng", "arw", "dcm", "jxl", "npy", "heif"])
def test_pictures_that_are_not_read_are_named_with_what_to_do(tmp_path, suffix):
    for name in "ab":
        save(tmp_path / f"{name}.png")
    (tmp_path / f"c.{suffix}").write_bytes(b"x")
    with pytest.warns(UserWarning, match=rf"not read: 1 \.{suffix.lower()}\. To use them, \w+"):
        data = load(tmp_path)
    assert data.description == f"2 pictures at 8x8x3; 1 other file (1 .{suffix.lower()})"
    for name in "ab":
        (tmp_path / f"{name}.png").unlink()
    with pytest.raises(DataError, match=rf"0 pictures .*: 1 \.{suffix.lower()}"):
        load(tmp_path)


@pytest.mark.parametrize("suffix", ["zip", "tar", "7z", "rar", "mp4"])
def test_archives_and_videos_are_no_pictures_but_named(tmp_path, suffix):
    for name in "ab":
        save(tmp_path / f"{name}.png")
    for number in range(9):
        (tmp_path / f"{number}.{suffix}").write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"unpack archives first|take frames out"):
        assert len(load(tmp_path)) == 2
    for name in "ab":
        (tmp_path / f"{name}.png").unlink()
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert caught.value.hint.startswith(("Unpack", "Take"))


def test_raw_photos_beside_their_copies_are_no_matter(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.jpg")
        (tmp_path / f"{name}.CR2").write_bytes(b"x")
    assert len(load(tmp_path)) == 2


@pytest.mark.parametrize("name", ["a.heic", "a.jpg"])
def test_a_heic_whatever_it_is_called(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    with pytest.raises(DataError, match=r"not a picture that is read: HEIC needs `pip install pillow-heif`"):
        load(tmp_path / name)


def test_heic_is_read_where_there_is_a_reader(tmp_path, monkeypatch):
    registered = []
    module = type(sys)("pillow_heif")
    module.register_heif_opener = lambda: registered.append(True)
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    sources._formats.cache_clear()
    sources._formats()
    sources._formats.cache_clear()
    assert registered == [True]


@pytest.mark.parametrize("kind", ["pipe", "device", "empty"])
def test_data_that_is_no_ordinary_file(tmp_path, kind):
    path = tmp_path / "x.png"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = Path("/dev/zero")
        case "empty":
            path.touch()
    with pytest.raises(DataError, match="1 skipped: .*not an ordinary file|empty file"):
        load(path)


def test_links(tmp_path):
    photos = tmp_path / "photos"
    save(photos / "a" / "1.png", RED)
    save(tmp_path / "elsewhere" / "2.png", GREEN)
    (photos / "a" / "loop").symlink_to(photos, target_is_directory=True)
    (photos / "b").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere" / "back").symlink_to(photos / "a", target_is_directory=True)
    (photos / "c.png").symlink_to(photos / "a" / "1.png")
    (photos / "broken.png").symlink_to(tmp_path / "nowhere.png")
    data = load(photos)
    assert colours(data) == [RED, GREEN, RED]
    assert data.skipped == [("broken.png", "no such file or directory")]


def truncated(folder, name, keep):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = folder / name
    Image.fromarray(noise).save(path)
    os.truncate(path, int(path.stat().st_size * keep))


def test_bad_files_are_skipped_counted_and_named(tmp_path):
    save(tmp_path / "good 1.png")
    save(tmp_path / "good 2.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("This is no picture.\n" * 100)
    truncated(tmp_path, "torn.jpg", 0.5)
    truncated(tmp_path, "torn.png", 0.5)
    truncated(tmp_path, "torn.gif", 0.5)
    truncated(tmp_path, "torn.bmp", 0.5)
    truncated(tmp_path, "head.webp", 0.01)
    data = load(tmp_path)
    assert colours(data) == [RED, RED]
    assert [name for name, _ in data.skipped] == sorted(
        ["empty.png", "text.png", "torn.jpg", "torn.png", "torn.gif", "torn.bmp", "head.webp"]
    )
    assert dict(data.skipped)["empty.png"] == "empty file"
    assert dict(data.skipped)["text.png"] == "not a picture"
    assert dict(data.skipped)["torn.jpg"] == "truncated"
    said = "2 pictures at 8x8x3; 7 skipped: 4 x truncated (torn.bmp, torn.gif, …), empty.png (empty file), "
    assert data.description.startswith(said)
    assert data.description.endswith(", text.png (not a picture) (-v names them)")
    # From the cache it is the same.
    again = load(tmp_path)
    assert (again.skipped, again.description) == (data.skipped, data.description)


def test_a_picture_under_a_wrong_suffix_is_a_picture(tmp_path):
    save(tmp_path / "a.png", BLUE, format="BMP")
    save(tmp_path / "b.jpg", RED, format="PNG")
    assert colours(load(tmp_path)) == [BLUE, RED]


def test_no_suffix_smuggles_in_a_program(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    save(tmp_path / "c.png", format="EPS")  # Pillow would run Ghostscript
    assert load(tmp_path).skipped == [("c.png", "not a picture")]


def test_a_name_without_a_file_any_more(tmp_path):
    for name in "abc":
        save(tmp_path / f"{name}.png")
    settings = config()
    source = open_folder(str(tmp_path), settings)
    (tmp_path / "b.png").unlink()
    assert ImageData(source, settings).skipped == [("b.png", "no such file or directory")]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    for name in "abcd":
        save(tmp_path / name / "x.png")
    (tmp_path / "a" / "x.png").chmod(0)
    (tmp_path / "b").chmod(0)
    reason = "permission denied"
    try:
        assert load(tmp_path).skipped == [("a/x.png", reason), ("b", reason)]
    finally:
        (tmp_path / "b").chmod(0o700)


def test_a_folder_that_can_not_be_listed_is_named(tmp_path, monkeypatch):
    for name in "abc":
        save(tmp_path / name / "x.png")
    scandir = os.scandir

    def guarded(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    data = load(tmp_path)
    assert len(data) == 2
    assert [name for name, _ in data.skipped] == ["b"]


@pytest.mark.parametrize("limit", [200, 120])  # Pillow raises beyond twice its limit, and warns beyond it
def test_bombs_are_too_large(tmp_path, monkeypatch, limit):
    save(tmp_path / "a.png", size=(10, 10))
    save(tmp_path / "b.png", size=(10, 10))
    save(tmp_path / "bomb.png", size=(20, 15))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert load(tmp_path).skipped == [("bomb.png", f"too large: more than {limit} pixels")]


def test_a_real_bomb(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    (tmp_path / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )
    ((name, reason),) = load(tmp_path).skipped
    assert name == "bomb.png"
    assert reason.startswith("too large")


def test_nan_is_skipped(tmp_path):
    for name, value in (("a", 0.5), ("b", 1.0), ("c", float("nan"))):
        Image.new("F", (8, 8), value).save(tmp_path / f"{name}.tif")
    assert load(tmp_path).skipped == [("c.tif", "pixels that are NaN or infinite")]


def test_too_few_pictures_are_an_error(tmp_path, caplog):
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(
        DataError, match=r"has no readable picture.*at least 2.*0 found; 1 other file"
    ) as caught:
        load(tmp_path)
    assert caught.value.exit_code == 4
    assert "subfolders" in caught.value.hint
    save(tmp_path / "one.png")
    with pytest.raises(DataError, match=r"has 1 readable picture.*1 found; 1 other"):
        load(tmp_path)
    for number in range(7):
        (tmp_path / f"{number}.png").touch()
    said = r"8 found; 7 skipped: empty file \(0.png, 1.png, …\) \(-v names them\); 1 other"
    with caplog.at_level("INFO"), pytest.raises(DataError, match=said):
        load(tmp_path)
    assert "skipped: 6.png (empty file)" in caplog.messages
    save(tmp_path / "two.png")
    assert len(load(tmp_path)) == 2


def test_a_single_picture_is_too_few(tmp_path):
    with pytest.raises(DataError, match="has 1 readable picture"):
        load(save(tmp_path / "one.png"))


def test_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match="no folder or file"):
        load(tmp_path / "nowhere")


# The data set.


def test_batches(tmp_path):
    save(tmp_path / "a.png", BLACK)
    save(tmp_path / "b.png", WHITE)
    data = load(tmp_path)
    batch = data.batch(torch.tensor([1, 0, 1]), no_draw(3))
    assert batch.shape == (3, 3, 8, 8)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()
    assert batch[:, 0, 0, 0].tolist() == [1.0, -1.0, 1.0]
    assert torch.equal(batch, data.pictures(torch.tensor([1, 0, 1])))
    assert data.pixels(torch.tensor([0])).dtype == torch.uint8


def test_flip_mirrors_half_of_the_pictures(tmp_path):
    for name in "ab":
        halves(RED, BLUE).save(tmp_path / f"{name}.png")
    plain, flipping = load(tmp_path), load(tmp_path, flip=True)
    indices = torch.zeros(400, dtype=torch.int64)
    draw = no_draw(400)
    batch = flipping.batch(indices, draw)
    mirrored = draw.uniform("flip") < 0.5
    assert 150 < mirrored.sum() < 250
    assert torch.equal(batch[~mirrored], plain.batch(indices, draw)[~mirrored])
    assert torch.equal(batch[mirrored], plain.batch(indices, draw)[mirrored].flip(-1))
    assert batch.is_contiguous()
    # What is scored is not augmented, and the cache is not changed.
    assert torch.equal(flipping.pictures(indices), plain.pictures(indices))


def test_no_batch_changes_another(tmp_path):
    for name in "ab":
        halves(RED, BLUE).save(tmp_path / f"{name}.png")
    data = load(tmp_path)
    data.pictures(torch.tensor([0])).zero_()
    data.pixels(torch.tensor([0])).zero_()
    assert data.pixels(torch.tensor([0])).max() == 255


@pytest.mark.process
def test_workers_change_nothing(tmp_path):
    for number in range(5):
        halves((number * 50, 0, 0), BLUE).save(tmp_path / f"{number}.png")
    data = load(tmp_path, flip=True)
    alone, together = Loader(data, 4, seed=3), Loader(data, 4, seed=3, workers=2)
    for _ in range(6):
        assert torch.equal(next(alone), next(together))
    together.close()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_every_way_to_start_a_worker(start, tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.png")
    data = load(tmp_path)
    batches = Loader(data, 4, seed=3)
    worker = DataLoader(
        batches._batches, batch_size=None, num_workers=1, sampler=[0], multiprocessing_context=start
    )
    assert torch.equal(next(iter(worker)), next(batches))


def test_it_pickles_without_its_pixels(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.png")
    data = load(tmp_path, size=256)
    pickled = pickle.dumps(data)
    assert len(pickled) < 5_000
    assert torch.equal(everything(pickle.loads(pickled)), everything(data))


def test_decoding_happens_once_for_each_look(tmp_path, cache):
    for name in "ab":
        halves(RED, BLUE, (32, 16)).save(tmp_path / f"{name}.png")
    looks = [{}, {"size": 16}, {"channels": 1}, {"crop": "pad"}, {"crop": "pad", "background": "black"}]
    for look in looks:
        load(tmp_path, **look)
    assert len(list(cache.iterdir())) == len(looks)
    reports = []
    for look in [*looks, {"flip": True}, {"background": "#fff"}]:
        load(tmp_path, progress=lambda done, total: reports.append(done), **look)
    assert reports == []


@pytest.mark.parametrize("change", ["content", "time", "new", "gone", "renamed", "mode"])
def test_a_change_of_the_files_is_seen(tmp_path, change):
    for name in "abc":
        save(tmp_path / f"{name}.png")
    load(tmp_path)
    match change:
        case "content":
            save(tmp_path / "a.png", RED, (8, 8))
        case "time":  # of a file that is as long as before
            os.utime(tmp_path / "a.png", ns=(1, 1))
        case "new":
            save(tmp_path / "d.png")
        case "gone":
            (tmp_path / "c.png").unlink()
        case "renamed":
            (tmp_path / "c.png").rename(tmp_path / "0.png")
        case "mode":
            (tmp_path / "c.png").chmod(0o600)
    reports = []
    data = load(tmp_path, progress=lambda done, total: reports.append((done, total)))
    assert reports[-1] == (len(data), len(data))


def test_a_copied_folder_finds_the_cache(tmp_path, cache):
    for name in "ab":
        os.utime(save(tmp_path / "here" / f"{name}.png"), ns=(5, 5))
    load(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    load(tmp_path / "there")
    assert len(list(cache.iterdir())) == 1


def test_progress_is_told_now_and_then(tmp_path):
    for number in range(300):
        save(tmp_path / f"{number:03}.png", (number % 256, 0, 0), (4, 4))
    reports = []
    data = load(tmp_path, progress=lambda done, total: reports.append((done, total)))
    assert len(reports) > 1
    assert reports == sorted(reports)
    assert reports[-1] == (300, 300)
    # The order is that of the names, whichever thread was first.
    assert everything(data)[:, 0, 0, 0].tolist() == [number % 256 for number in range(300)]


# The data sets with names.


def test_digits():
    data = ImageData(open_digits("", config(channels=1)), config(channels=1))
    assert len(data) == 1797
    assert data.description == "1,797 pictures in 10 classes at 8x8x1"
    assert data.labels[:10].tolist() == list(range(10))
    pixels = everything(data)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert pixels[0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]


def test_cached_digits_need_no_scikit_learn(monkeypatch):
    ImageData(open_digits("", config()), config())
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert len(ImageData(open_digits("", config()), config())) == 1797


def test_digits_take_no_argument():
    with pytest.raises(DataError, match="takes no argument, not '8'"):
        open_digits("8", config())


@pytest.mark.skipif(not MNIST.exists(), reason="the development data is not here")
def test_mnist(tmp_path):
    source = open_torchvision("MNIST", config(data_root=str(MNIST)))
    assert len(source) == 60_000
    assert source.name(3) == "MNIST 3"
    image, label = source[0]
    assert (image.size, image.mode, label) == ((28, 28), "L", 5)
    assert source.fingerprint == open_torchvision("MNIST", config(data_root=str(MNIST))).fingerprint


def test_torchvision_without_data(tmp_path):
    with pytest.raises(DataError, match="MNIST can't be opened below") as caught:
        open_torchvision("MNIST", config(data_root=str(tmp_path)))
    assert "--set data_root=" in caught.value.hint
    assert "--set download=true" in caught.value.hint
    with pytest.raises(DataError) as caught:
        open_torchvision("ImageNet", config(data_root=str(tmp_path)))
    assert "download" not in caught.value.hint


@pytest.mark.parametrize(
    ("name", "suggestion"), [("MNISt", "Did you mean 'MNIST'"), ("", ""), ("Kinetics", "")]
)
def test_torchvision_has_no_such_data_set(name, suggestion):
    with pytest.raises(DataError, match=f"no data set of pictures {name!r}.*{suggestion}") as caught:
        open_torchvision(name, config())
    assert "CIFAR10" in caught.value.hint


class Fake:
    """Stands for one of torchvision's data sets."""

    targets = (0, 1)

    def __init__(self, root, download=False):
        print("Downloading" if download else "Looking")

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return Image.new("L", (8, 8), index * 100), self.targets[index]


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(sources, "_torchvision_classes", lambda: {"Fake": Fake})
    return monkeypatch


@pytest.mark.parametrize(
    ("targets", "labels"),
    [((0, 1), [0, 1]), ((np.int64(3), torch.tensor(4)), [3, 4]), ((torch.zeros(40), {"box": 1}), [0, 0])],
)
def test_labels_of_all_kinds(fake, targets, labels):
    fake.setattr(Fake, "targets", targets)
    assert ImageData(open_torchvision("Fake", config()), config()).labels.tolist() == labels


@pytest.mark.parametrize("download", [False, True])
def test_torchvision_does_not_talk_on_stdout(fake, download, capsys):
    open_torchvision("Fake", config(download=download))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == ("Downloading\n" if download else "Looking\n")


def test_a_torchvision_data_set_of_another_kind(fake):
    fake.setattr(Fake, "__getitem__", lambda self, index: (torch.zeros(20, 1, 64, 64), 0))
    with pytest.raises(DataError, match="no pictures but Tensor"):
        open_torchvision("Fake", config())


# The settings.


@pytest.mark.parametrize("colour", ["white", "#336", "#336699", "rgb(1, 2, 3)", "hsl(120, 50%, 50%)"])
def test_backgrounds(colour):
    assert config(background=colour).background == colour


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"background": "whit"}, "background = 'whit': Not a colour.*Did you mean 'white'"),
        ({"background": "#12345"}, "Not a colour"),
        ({"background": "#ffffff80"}, "can't be transparent"),
        ({"size": 0}, "size = 0"),
        ({"channels": 2}, "channels = 2.*1 or 3"),
        ({"crop": "stretch"}, "crop = 'stretch'.*'center' or 'pad'"),
    ],
)
def test_settings_that_are_not_allowed(settings, message):
    with pytest.raises(ConfigError, match=message):
        resolve(ImageConfig, "test", flags=settings, environment={})


def test_settings_as_text():
    flags = {"channels": "1", "size": "64", "flip": "true"}
    settings = resolve(ImageConfig, "test", flags=flags, environment={})
    assert (settings.channels, settings.size, settings.flip) == (1, 64, True)
