"""What decoding takes, and what is too large."""

import json
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from mmgan.data.image import squares
from mmgan.data.image.dataset import ImageConfig, ImageData, open_folder
from mmgan.data.image.pixels import to_pixels
from mmgan.data.image.sources import open_picture
from mmgan.data.image.squares import Decoder, Look, to_squares

#: What a process may take in all, where it decodes nothing else.
MOST = 600_000_000
MEASURE = """
import contextlib, json, sys
from pathlib import Path
from PIL import Image
from mmgan.data.decoding import guarded_pillow, reason
from mmgan.data.image.sources import open_picture
from mmgan.data.image.squares import Decoder, Look
peaks = []
def peak(process):
    # Not getrusage, which counts what the one that started a process had.
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
class Watched(Decoder):
    def _process(self):
        return watch(super()._process())
@contextlib.contextmanager
def watch(opened):
    with opened as process:
        try:
            yield process
        finally:
            peaks.append(peak(process._process.pid))
what = "read"
with guarded_pillow(), Watched(Look((64,), 3)) as decoder:
    try:
        with open_picture(sys.argv[1]) as image:
            decoder(image)
    except Exception as error:
        what = reason(error)
print(json.dumps([what, peak("self"), max(peaks, default=0)]))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def load(folder, **settings):
    settings = ImageConfig(plugin="test", **({"size": 8} | settings))
    return ImageData(open_folder(str(folder), settings), settings)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path, width, height, depth, kind, pixel, extra=b""):
    squeezed = zlib.compressobj(1)
    lines = b"".join(squeezed.compress(b"\0" + pixel * width) for _ in range(height))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
        + extra
        + chunk(b"IDAT", lines + squeezed.flush())
        + chunk(b"IEND", b"")
    )


def texts():
    """A thousandth of the 64 MB that Pillow would hold."""
    text = zlib.compress("\U0001f600".encode() + b"a" * 999_000, 9)
    return b"".join(chunk(b"iTXt", b"k%d\0\1\0\0\0" % number + text) for number in range(66))


def icon(path):
    inner = path.with_suffix(".inner")
    png(inner, 9000, 9000, 8, 6, b"\1\2\3\4")
    data = inner.read_bytes()
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(data), 22)
    path.write_bytes(struct.pack("<HHH", 0, 1, 1) + entry + data)


FILES = {
    "grey16.png": lambda path: png(path, 9400, 9400, 16, 0, b"\1\2"),
    "rgb.png": lambda path: png(path, 7700, 7700, 8, 2, b"\1\2\3"),
    "rgb16.png": lambda path: png(path, 5500, 5500, 16, 2, b"\1\2\3\4\5\6"),
    "texts.png": lambda path: png(path, 8, 8, 8, 2, b"\1\2\3", texts()),
    "liar.ico": icon,
    "photo.jpg": lambda path: Image.new("RGB", (11_600, 8_700)).save(path),
    "photo.webp": lambda path: Image.new("RGB", (6_000, 4_500)).save(path, method=0),
    "palette.gif": lambda path: Image.new("P", (9_400, 9_400)).save(path),
}
READ = {"rgb.png", "rgb16.png", "photo.jpg", "photo.webp", "palette.gif"}


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much a process took")
@pytest.mark.parametrize("name", FILES)
def test_the_memory_that_a_file_takes(tmp_path, name):
    path = tmp_path / name
    FILES[name](path)
    assert path.stat().st_size < 10_000_000
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    what, own, other = json.loads(run.stdout)
    assert (what == "read") == (name in READ), what
    # The rest of this process, with torch, is not counted; nearly nothing is added to it.
    assert own < 120_000_000
    assert other < MOST


@pytest.mark.slow
def test_what_is_too_large_says_how_large_it_may_be(tmp_path):
    for name in "ab":
        Image.new("RGB", (9, 9)).save(tmp_path / f"{name}.png")
    png(tmp_path / "d.png", 9400, 9000, 8, 6, b"")
    Image.new("RGB", (9400, 9400)).save(tmp_path / "e.jpg", progressive=True, subsampling=0)
    data = load(tmp_path)
    reasons = dict(data.skipped)
    assert reasons["d.png"] == "too large: 9400x9000 pixels, at most 62,500,000 in PNG of mode RGBA"
    assert reasons["e.jpg"].startswith("too large: 9400x9400 pixels, at most 8")


def test_a_jpeg_of_100_megapixels_is_read(tmp_path):
    for name in "ab":
        Image.new("RGB", (11_600, 8_700), "red").save(tmp_path / f"{name}.jpg")
    assert load(tmp_path).pixels(torch.tensor([0]))[0, :, 4, 4].tolist() == [254, 0, 0]


def noise(path, size=(2500, 2000), mode="RGB"):
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (size[1] // 10, size[0] // 10, bands), dtype=np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize(("name", "mode"), [("a.png", "RGBA"), ("a.jpg", "RGB"), ("a.jp2", "RGB")])
def test_another_process_decodes_to_the_same_bits(tmp_path, name, mode, halves):
    path = noise(tmp_path / name, (500, 400) if name == "a.jp2" else (2500, 2000), mode)
    look = Look((32, 20), 3, "pad", "#102030", halves, exact=halves)
    with open_picture(path) as image:
        here = to_squares(image, look)
    with Decoder(look) as decoder, open_picture(path) as image:
        other = decoder._decode(image, str(path), 0) if name != "a.jpg" else _elsewhere(decoder, path, look)
        assert decoder._idle
    assert (here.size, here.bits) == (other.size, other.bits)
    for a, b in zip(here.pixels, other.pixels, strict=True):
        assert np.array_equal(a, b)


def _elsewhere(decoder, path, look):
    with decoder._process() as process:
        return process.decode(str(path), look, 0)


def test_large_pictures_are_those_of_to_pixels(tmp_path):
    paths = [noise(tmp_path / f"{number}.png", (2400 + number, 2100)) for number in range(3)]
    for index, pixels in enumerate(load(tmp_path, size=32).pixels(torch.arange(3))):
        with Image.open(paths[index]) as image:
            assert np.array_equal(pixels.numpy(), to_pixels(image, 32, 3))


def test_a_decoder_that_breaks_down_costs_one_picture(tmp_path, monkeypatch):
    for name in "abc":
        noise(tmp_path / f"{name}.png")
    decode = squares._Process.decode

    def killed(self, path, look, bits):
        if path.endswith("b.png"):
            self._process.kill()
        return decode(self, path, look, bits)

    monkeypatch.setattr(squares._Process, "decode", killed)
    data = load(tmp_path)
    assert data.skipped == [("b.png", "its decoder broke down")]
    assert len(data) == 2


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="no other system limits a process so")
def test_memory_that_the_header_does_not_tell_of_is_refused():
    code = """
from mmgan.data.image.squares import _limit_memory
_limit_memory()
try:
    bytearray(600_000_000)
except MemoryError:
    print("refused")
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert run.stdout == "refused\n"


def test_a_file_that_is_cut_short_meanwhile(tmp_path):
    # A file that was mapped into memory would end the process here.
    Image.new("L", (500, 500), 9).save(tmp_path / "a.bmp")
    with open_picture(tmp_path / "a.bmp") as image:
        os.truncate(tmp_path / "a.bmp", 2000)
        with pytest.raises(OSError, match="truncated"):
            to_squares(image, Look((8,), 3))
