"""Pictures of more than 8 bits."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from mmgan.data.image.dataset import ImageConfig, ImageData, open_folder
from mmgan.data.image.depth import UsualBits, levels
from mmgan.data.image.pixels import to_picture, to_pixels

SCENE = np.zeros((32, 32, 3))
SCENE[:, :16], SCENE[:, 16:], SCENE[:8] = (220, 30, 40), (30, 20, 210), (30, 200, 60)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def load(folder, **settings):
    settings = ImageConfig(plugin="test", **({"size": 32} | settings))
    return ImageData(open_folder(str(folder), settings), settings)


def scaled(values, bits):
    return np.rint(values * ((2**bits - 1) / 255)).astype(np.uint16)


def save_png(path, values):
    """Write a PNG of 16 bits in any kind of colour, which Pillow can't."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, bands = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def save_tiff(path, values, order):
    """Write an RGB or RGBA TIFF of 16 bits, which Pillow can't."""
    height, width, bands = values.shape
    data = values.astype(f"{order}u2").tobytes()
    entries = [(256, width), (257, height), (258, None), (259, 1), (262, 2), (273, None), (277, bands)]
    entries += [(278, height), (279, len(data))] + ([(338, 2)] if bands == 4 else [])
    after = 8 + 2 + 12 * len(entries) + 4
    file = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries))
    for tag, value in entries:
        count = bands if tag == 258 else 1
        value = {258: after, 273: after + 2 * bands}.get(tag, value)
        file += struct.pack(f"{order}HHII", tag, 3 if tag == 258 else 4, count, value)
    path.write_bytes(file + bytes(4) + struct.pack(f"{order}{bands}H", *[16] * bands) + data)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif", "jp2", "pgm", "int.tif", "float.tif"])
def test_grey_of_any_depth_has_its_brightness(tmp_path, bits, suffix):
    grey = SCENE[..., 1]
    values = scaled(grey, bits)
    values = values.astype({"int.tif": np.int32, "float.tif": np.float32}.get(suffix, np.uint16))
    options = {"irreversible": False} if suffix == "jp2" else {}
    for name in "ab":
        if suffix == "pgm":  # which Pillow 10 does not write
            header = b"P5 %d %d 65535\n" % values.shape[::-1]
            (tmp_path / f"{name}.pgm").write_bytes(header + values.astype(">u2").tobytes())
        else:
            Image.fromarray(values).save(tmp_path / f"{name}.{suffix}", **options)
    pixels = load(tmp_path, channels=1).pixels(torch.tensor([0, 1]))
    assert np.abs(pixels[0, 0].numpy() - grey).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("alpha", ["none", "alike", "whole"])
@pytest.mark.parametrize("suffix", ["png", "<tif", ">tif"])
def test_colours_of_any_depth_have_their_brightness(tmp_path, bits, alpha, suffix):
    values = scaled(SCENE, bits)
    if alpha != "none":
        opaque = 65535 if alpha == "whole" else 2**bits - 1
        values = np.dstack((values, np.full((32, 32), opaque, np.uint16)))
    path = tmp_path / f"a.{suffix.strip('<>')}"
    if suffix == "png":
        save_png(path, values)
    else:
        save_tiff(path, values, suffix[0])
    for name in "bc":
        path.with_stem(name).write_bytes(path.read_bytes())
    pixels = load(tmp_path).pixels(torch.tensor([0]))[0].numpy().transpose(1, 2, 0)
    assert np.abs(pixels - SCENE).max() <= 1


@pytest.mark.parametrize("bits", [12, 16])
def test_grey_and_alpha_of_16_bits(tmp_path, bits):
    grey = SCENE[..., 1:2]
    for name in "ab":
        save_png(tmp_path / f"{name}.png", scaled(np.dstack((grey, np.full((32, 32), 255))), bits))
    pixels = load(tmp_path, channels=1).pixels(torch.tensor([0]))[0, 0]
    assert np.abs(pixels.numpy() - grey[..., 0]).max() <= 1


def test_a_dark_frame_among_others_of_12_bits_stays_dark(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(rng.integers(0, 4000, (16, 16), dtype=np.uint16)).save(tmp_path / f"{number}.png")
        save_png(tmp_path / f"c{number}.png", rng.integers(0, 4000, (16, 16, 3), dtype=np.uint16))
    Image.fromarray(np.full((16, 16), 200, np.uint16)).save(tmp_path / "dark.png")
    save_png(tmp_path / "dark colour.png", np.full((16, 16, 3), 200, np.uint16))
    data = load(tmp_path, size=16)
    assert data.pixels(torch.tensor([10]))[0].unique().tolist() == [12]
    assert data.pixels(torch.tensor([11]))[0].unique().tolist() == [12]
    # Alone it has nothing to be compared with.
    (tmp_path / "alone").mkdir()
    for name in "ab":
        Image.fromarray(np.full((16, 16), 200, np.uint16)).save(tmp_path / "alone" / f"{name}.png")
    assert load(tmp_path / "alone", size=16).pixels(torch.tensor([0])).unique().tolist() == [200]


@pytest.mark.parametrize(
    ("needs", "usual"),
    [
        ([12] * 6 + [10, 8], 12),
        ([12] * 3, 0),  # too few
        ([12, 12, 16, 16], 0),  # no agreement
        ([0] * 50 + [14] * 4, 14),  # only deep ones count
        ([], 0),
        ([12] * 10_000 + [16] * 100, 12),
    ],
)
def test_the_usual_depth(needs, usual):
    asked = []

    def depths(indices):
        asked.extend(indices)
        return (needs[index] for index in indices)

    found = UsualBits(len(needs), depths)
    assert [found.get(), found.get()] == [usual, usual]
    assert len(asked) == min(64, len(needs))


@pytest.mark.parametrize(
    ("values", "black", "white"),
    [
        ([0, 1], 0, 1),
        ([0, 0.5], 0, 1),
        ([-0.01, 1.01], 0, 1),  # what a filter adds
        ([-1, 0.5], -1, 1),
        ([0.5, 5.5], 0, 5.5),  # light brighter than white
        ([0, 20.5], 0, 255),
        ([0, 256.3], 0, 255),
        ([0, 255], 0, 255),
        ([0, 20], 0, 255),
        ([0, 1000.5], 0, 1023),
        ([0, 70000.5], 0, 70000.5),
        ([-5.5, 5], -5.5, 5),
    ],
)
def test_black_and_white_of_floats(values, black, white):
    found = levels(Image.fromarray(np.array([values], dtype=np.float32)))
    assert (found.black, found.white) == pytest.approx((black, white))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_an_error(value):
    with pytest.raises(ValueError, match="NaN or infinite"):
        to_pixels(Image.fromarray(np.array([[0, value]], dtype=np.float32)), 2, 1)


def test_strips_change_nothing():
    values = np.random.default_rng(0).integers(0, 65536, (700, 900), dtype=np.uint16)
    expected = np.rint(values * (255 / 65535)).astype(np.uint8)
    assert np.array_equal(np.asarray(to_picture(Image.fromarray(values), 1)), expected)
    colours = np.random.default_rng(0).integers(0, 256, (700, 900, 4), dtype=np.uint8)
    image = Image.fromarray(colours)
    whole = Image.alpha_composite(Image.new("RGBA", image.size, "red"), image)
    for channels, mode in ((1, "L"), (3, "RGB")):
        picture = to_picture(image.copy(), channels, "red")
        assert np.array_equal(np.asarray(picture), np.asarray(whole.convert(mode)))


def test_the_case_of_the_odd_pictures(tmp_path):
    grey = np.asarray(Image.fromarray(SCENE.astype(np.uint8)).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 16).save(tmp_path / "12in16.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    Image.fromarray(grey.astype(np.int32)).save(tmp_path / "8in32.tif")
    Image.fromarray(grey.astype(np.float32) / np.float32(127.5) - 1).save(tmp_path / "from-1.tif")
    pixels = load(tmp_path, channels=1).pixels(torch.arange(4))[:, 0].numpy()
    assert np.abs(pixels - grey.astype(int)).max() <= 1
