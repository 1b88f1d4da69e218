"""``mmgan translate``: files of all kinds in, PNGs out, by toys whose translations are known."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import click
import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn
from toys import Dots, Toy

import mmgan
from mmgan import Player, hookimpl
from mmgan.cli import failures
from mmgan.data.image.dataset import ImageConfig
from mmgan.data.pairs.degradations import Derivation, Inpaint, Superres
from mmgan.plugins import Plugins
from mmgan_translation import command, tiles


class NegativeConfig(ImageConfig):
    steps: int = Field(1, description="steps")
    batch_size: int = Field(2, description="batch")
    size: int = Field(16, description="size")
    tensorboard: bool = Field(False, description="off: it is slow to import")
    derive: str = Field("none", description="derivation")
    noise: float = Field(0.0, description="deviation of what is added")


class Negative(Toy):
    """Translates pictures to their negatives, AtoB only."""

    Config = NegativeConfig
    sample_settings = frozenset({"noise"})
    directions: tuple[str, ...] = ("AtoB",)
    multiple = 8

    def build(self) -> dict[str, Player]:
        self.g, self.d = nn.BatchNorm2d(1), nn.Linear(1, 1)
        modules = {"G": self.g, "D": self.d}
        return {name: Player(m, torch.optim.SGD(m.parameters(), 0.1)) for name, m in modules.items()}

    def data(self) -> Dots:
        return Dots()

    @property
    def derivation(self) -> Derivation | None:
        return {"superres": Superres(2), "inpaint": Inpaint()}.get(self.config.derive)

    def translate(self, inputs: Tensor, direction: str) -> Tensor:
        assert not self.g.training
        assert not torch.is_grad_enabled()
        assert all(side % self.multiple == 0 for side in inputs.shape[2:])
        channels = self.config.channels
        assert inputs.shape[1] == channels + (self.config.derive == "inpaint")
        sign = -1.0 if direction == "AtoB" else 1.0
        return sign * inputs[:, :channels] + self.config.noise * torch.randn_like(inputs[:, :channels])


class Both(Negative):
    """Translates to the negative, and back by doing nothing."""

    directions = ("AtoB", "BtoA")


class Toys:
    @hookimpl
    def register_tasks(self, register: Any) -> None:
        register("negative", Negative)
        register("both", Both)
        register("dots", Toy)


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def files(self) -> list[str]:
        return [Path(line).relative_to("out").as_posix() for line in self.out.splitlines()]


Translate = Callable[..., Result]


@pytest.fixture
def translate(capsys: pytest.CaptureFixture[str]) -> Translate:
    """Call the command with RUN and words, and ``--out out``."""

    def call(*words: object, out: str | Path = "out") -> Result:
        session = SimpleNamespace(plugins=Plugins(Toys(), installed=False))
        args, code = [str(word) for word in (*words, "--out", out)], 0
        capsys.readouterr()
        try:
            command.translate.main(args, "mmgan translate", standalone_mode=False, obj=session)
        except (Exception, KeyboardInterrupt) as error:
            code = failures.report(error, as_json=False, verbose=False)
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def a_run(plugin: str = "negative", **settings: Any) -> Path:
    """Make a run that was saved and not trained."""
    plugins = Plugins(Toys(), installed=False)
    flags = {"device": "cpu", "precision": "fp32", **settings}
    run = mmgan.new_run(mmgan.resolve(plugins.task(plugin).Config, plugin, flags=flags), plugins, Path("run"))
    run.save()
    return Path("run")


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    count = width * height * len(mode)
    return Image.frombytes(mode, (width, height), np.random.default_rng(width).bytes(count))


def write(path: str | Path, image: Image.Image | None = None, **options: Any) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or noise(9, 7)).save(path, **options)
    return path


def difference(path: str | Path, expected: Image.Image) -> int:
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert (image.mode, image.size) == (expected.mode, expected.size)
        return int(np.abs(np.asarray(image).astype(int) - np.asarray(expected)).max())


def negative(image: Image.Image) -> Image.Image:
    return Image.fromarray(255 - np.asarray(image))


# --- Pictures of any kind ---


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (257, 129), (16, 16)])
@pytest.mark.parametrize("options", [(), ("--tile", "16"), ("--tile", "50")])
def test_any_size(translate: Translate, size: tuple[int, int], options: tuple[str, ...]) -> None:
    picture = noise(*size)
    result = translate(a_run(), write("in.png", picture), *options)
    assert (result.code, result.out) == (0, f"{Path('out/in.png')}\n")
    assert difference("out/in.png", negative(picture)) <= bool(options)
    assert "1 of 1 picture translated by negative at step 0, AtoB, in out\n" in result.err


@pytest.mark.parametrize("channels", [1, 3])
def test_any_kind(translate: Translate, channels: int) -> None:
    mode = "L" if channels == 1 else "RGB"
    clear = noise(9, 7, "RGBA")
    clear.putalpha(0)
    deep = Image.fromarray(np.full((7, 9), 0x8080, np.uint16))
    kinds = {
        "grey.png": noise(9, 7, "L"),
        "rgb.png": noise(9, 7),
        "clear.png": clear,
        "palette.gif": noise(9, 7).quantize(16),
        "deep.png": deep,
        "cmyk.tiff": noise(9, 7, "CMYK"),
    }
    for name, picture in kinds.items():
        write(f"in/{name}", picture)
    run = a_run(channels=channels, background="#ff0000")
    assert translate(run, "in").code == 0
    for name in ("grey", "rgb", "palette", "cmyk"):
        (original,) = Path("in").glob(f"{name}.*")
        with Image.open(original) as image:
            expected = negative(image.convert(mode))
        assert difference(f"out/{name}.png", expected) == 0
    assert difference("out/clear.png", negative(Image.new("RGB", (9, 7), "#ff0000").convert(mode))) == 0
    assert difference("out/deep.png", negative(Image.new(mode, (9, 7), "#808080"))) == 0


def test_upright(translate: Translate) -> None:
    picture = noise(9, 7)
    exif = Image.Exif()
    exif[0x0112] = 6
    translate(a_run(), write("in.png", picture, exif=exif))
    assert difference("out/in.png", negative(picture.transpose(Image.Transpose.ROTATE_270))) == 0


# --- Names ---


def test_names_of_all_kinds(translate: Translate) -> None:
    for name in ("with space.png", "Straße 東京 é.jpg", "two\nlines.png", "a.b.c.png"):
        write(Path("in", name))
    odd = os.fsdecode(b"in/\xff.png")
    with contextlib.suppress(OSError):  # not every file system has such names
        write(odd)
    result = translate(a_run(), "in")
    assert result.code == 0
    assert {"with space.png", "Straße 東京 é.png", "two_lines.png", "a.b.c.png"} <= set(result.files)
    assert len(result.files) == 4 + Path(odd).exists()
    assert all(Path("out", name).is_file() for name in result.files)


def test_a_tree_is_kept_and_links_go_in_no_circle(translate: Translate) -> None:
    for name in ("top.png", "sub/one.jpg", "sub/deep/two.png", ".hidden.png", ".folder/three.png"):
        write(Path("in", name))
    Path("in/sub/loop").symlink_to(Path("in").absolute())
    Path("in/notes.txt").write_text("no picture")
    result = translate(a_run(), "in", write("other/top.bmp"), out="new/out")
    names = ["sub/deep/two.png", "sub/one.png", "top.png", "top-2.png"]
    assert result.out.splitlines() == [f"new/out/{name}" for name in names]
    assert sorted(str(path) for path in Path("new/out").rglob("*.png")) == sorted(result.out.splitlines())


def test_no_result_overwrites_another(translate: Translate) -> None:
    names = ["a-2.png", "a.jpg", "a.png", "b.png/c.png", "b.jpg", "E.png", "e.jpg"]
    for number, name in enumerate(names):
        write(Path("in", name), noise(number + 1, 1), **({"quality": 100} if "jpg" in name else {}))
    result = translate(a_run(), "in", "in/a.png")
    wanted = {
        "E.png": 6, "a-2.png": 1, "a.png": 2, "a-3.png": 3, "b-2.png": 5, "b.png/c.png": 4, "e-2.png": 7,
        "a-4.png": 3,
    }  # fmt: skip
    assert sorted(result.files) == sorted(wanted)
    for name, width in wanted.items():
        with Image.open(Path("out", name)) as image:
            assert image.width == width, name


# --- What goes wrong ---


def test_bad_files_are_skipped_and_named(translate: Translate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    whole = write("in/good.png")
    Path("in/torn.png").write_bytes(whole.read_bytes()[:-60])
    Path("in/empty.jpg").touch()
    Path("in/text\n.gif").write_text("this is no picture")
    write("in/large.png", noise(100, 20))
    write("in/huge.png", noise(100, 100))
    result = translate(a_run(), "in")
    assert (result.code, result.files) == (0, ["good.png"])
    lines = result.err.splitlines()
    assert "skipped in/empty.jpg (empty file)" in lines
    assert "skipped in/huge.png (too large: more than 1,000 pixels)" in lines
    assert "skipped in/large.png (too large: more than 1,000 pixels)" in lines
    assert "skipped 'in/text\\n.gif' (not a picture)" in lines
    assert any(line.startswith("skipped in/torn.png (") for line in lines)
    assert lines[-1].startswith("1 of 6 pictures translated by negative at step 0, AtoB, in out; 5 skipped: ")


def test_all_bad(translate: Translate) -> None:
    Path("bad.png").write_text("no picture")
    result = translate(a_run(), "bad.png")
    assert (result.code, result.out) == (4, "")
    assert "error: No picture could be translated; 1 skipped: bad.png (not a picture)." in result.err
    assert not Path("out").exists()


def test_nothing_to_translate(translate: Translate) -> None:
    run = a_run()
    Path("in").mkdir()
    Path("in/a.txt").touch()
    empty, absent = translate(run, "in"), translate(run, write("a.png"), "absent")
    assert (empty.code, absent.code) == (4, 4)
    assert "There is no picture in 'in'; 1 other file." in empty.err
    assert "There is no file or folder 'absent'." in absent.err
    assert translate(run).code == 2
    assert not Path("out").exists()


def test_a_used_folder_is_refused(translate: Translate) -> None:
    write("out/precious.png")
    result = translate(a_run(), write("in.png"))
    assert (result.code, result.out) == (2, "")
    assert "'out' exists and is not an empty folder" in result.err
    assert "hint: Choose another --out.\n" in result.err
    Path("empty").mkdir()
    assert translate("run", "in.png", out="empty").code == 0


def test_a_run_that_translates_nothing(translate: Translate) -> None:
    run = a_run("dots")
    result = translate(run, write("in.png"))
    assert result.code == 2
    assert result.err == "error: dots translates no pictures.\nhint: Those that do: both, negative.\n"
    assert translate("absent", "in.png").code == 5


def test_an_interrupt_leaves_what_is_finished_whole(
    translate: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write(f"in/{name}.png")
    save, saved = Image.Image.save, []

    def interrupted(image: Image.Image, path: Path, **options: Any) -> None:
        saved.append(path)
        save(image, path, **options)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    assert translate(a_run(), "in").code == 130
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]
    assert difference("out/a.png", negative(noise(9, 7))) == 0


# --- Options ---


def test_directions(translate: Translate) -> None:
    picture = write("in.png")
    both = a_run("both")
    assert translate(both, picture, out="default").code == 0
    assert translate(both, picture, "--direction", "AtoB", out="there").code == 0
    assert translate(both, picture, "--direction", "BtoA", out="back").code == 0
    assert difference("default/in.png", negative(noise(9, 7))) == 0
    assert difference("there/in.png", negative(noise(9, 7))) == 0
    assert difference("back/in.png", noise(9, 7)) == 0
    assert translate(both, picture, "--direction", "AtoC").code == 2


def test_the_only_direction(translate: Translate) -> None:
    result = translate(a_run(), write("in.png"), "--direction", "BtoA")
    assert (result.code, result.out) == (2, "")
    assert "This run of negative was trained AtoB, and can't translate BtoA." in result.err
    assert "hint: --direction AtoB, or leave it out." in result.err


def test_a_seed_repeats_and_depends_on_no_other_picture(translate: Translate) -> None:
    run = a_run(noise=0.5)
    for name in "abc":
        write(f"in/{name}.png")
    calls = {"first": [], "again": [], "one": ["--seed", "1"], "most": ["--seed", str(2**32 - 1)]}
    files = {}
    for out, options in calls.items():
        assert translate(run, "in", *options, out=out).code == 0
        files[out] = Path(out, "b.png").read_bytes()
    assert translate(run, "in/b.png", out="alone").code == 0
    assert files["first"] == files["again"] == Path("alone/b.png").read_bytes()
    assert len(set(files.values())) == 3


def test_settings_that_only_sampling_reads(translate: Translate) -> None:
    run, picture = a_run(noise=0.5), write("in.png")
    assert translate(run, picture, "--set", "noise=0").code == 0
    assert difference("out/in.png", negative(noise(9, 7))) == 0
    wrong = translate(run, picture, "--set", "nois=0", out="new")
    assert wrong.code == 2
    assert "Did you mean 'noise'?" in wrong.err
    assert translate(run, picture, "--set", "noise", out="new").code == 2
    assert translate(run, picture, "--device", "nowhere", out="new").code == 2
    assert translate(run, picture, "--checkpoint", "7", out="new").code == 5


@pytest.mark.parametrize(
    ("size", "options", "side"),
    [(16, [], 512), (16, ["--tile", "1"], 16), (16, ["--tile", "30"], 32), (601, [], 608)],
)
def test_the_size_of_tiles(
    translate: Translate, size: int, options: list[str], side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr(tiles, "apply", lambda f, pixels, *sizes: given.append(sizes) or pixels)
    assert translate(a_run(size=size), write("in.png"), *options).code == 0
    assert given == [(8, side, 1)]


# --- Derived pairs ---


@pytest.mark.parametrize("options", [(), ("--tile", "16")])
@pytest.mark.parametrize("size", [(1, 1), (5, 40), (61, 33)])
def test_superres_enlarges(translate: Translate, size: tuple[int, int], options: tuple[str, ...]) -> None:
    write("in.png", Image.new("RGB", size, (10, 20, 200)))
    assert translate(a_run(derive="superres"), "in.png", *options).code == 0
    doubled = Image.new("RGB", (2 * size[0], 2 * size[1]), (245, 235, 55))
    assert difference("out/in.png", doubled) <= 1


def holes(width: int, height: int) -> tuple[Image.Image, np.ndarray]:
    hole = np.random.default_rng(1).random((height, width)) < 0.5
    return Image.fromarray(np.where(hole, np.uint8(255), np.uint8(0))), hole


@pytest.mark.parametrize("options", [(), ("--tile", "16")])
@pytest.mark.parametrize("size", [(9, 7), (40, 90), (90, 40)])
def test_holes_are_filled_and_the_rest_is_kept(
    translate: Translate, size: tuple[int, int], options: tuple[str, ...]
) -> None:
    mask, hole = holes(*size)
    picture = noise(*size)
    call = (a_run(derive="inpaint"), write("in.png", picture), "--mask", write("mask.png", mask), *options)
    assert translate(*call).code == 0
    expected = np.asarray(picture).copy()
    expected[hole] = 128  # the negative of a hole's grey
    assert difference("out/in.png", Image.fromarray(expected)) <= bool(options)


def test_a_folder_of_masks(translate: Translate) -> None:
    for name in ("one.jpg", "sub/two.png", "sub/three.png", "four.png", "five.png", "six.png"):
        write(Path("in", name))
    for name in ("one.png", "sub/two.bmp", "six.png", "six.bmp", "two.png"):
        write(Path("masks", name), Image.new("1", (9, 7)))
    write("masks/sub/three.png", Image.new("L", (7, 9)))
    Path("masks/five.png").write_text("no picture")
    result = translate(a_run(derive="inpaint"), "in", "--mask", "masks")
    assert (result.code, sorted(result.files)) == (0, ["one.png", "sub/two.png"])
    assert "skipped in/four.png (no masks are called 'four' in 'masks')" in result.err
    assert "skipped in/six.png (2 masks are called 'six' in 'masks')" in result.err
    assert "skipped in/five.png (its mask can't be read: not a picture)" in result.err
    assert "skipped in/sub/three.png (its mask is 7x9 pixels, and the picture 9x7)" in result.err
    assert difference("out/sub/two.png", noise(9, 7)) == 0


def test_one_mask_for_several(translate: Translate) -> None:
    names = [write("a.png"), write("b.png", noise(8, 7)), write("c.png")]
    mask = write("mask.png", Image.new("L", (9, 7)))
    result = translate(a_run(derive="inpaint"), *names, "--mask", mask)
    assert result.files == ["a.png", "c.png"]
    assert "skipped b.png (its mask is 9x7 pixels, and the picture 8x7)" in result.err


def test_masks_where_none_belongs_and_none_where_one_does(translate: Translate) -> None:
    picture, mask = write("in.png"), write("mask.png")
    needless = translate(a_run(), picture, "--mask", mask)
    assert needless.code == 2
    assert "takes no --mask" in needless.err
    assert "derive=inpaint" in needless.err
    Path("run").rename("first")
    missing, absent = translate(a_run(derive="inpaint"), picture), translate("run", picture, "--mask", "no")
    assert (missing.code, absent.code) == (2, 4)
    assert "hint: --mask FILE" in missing.err
    assert "There is no file or folder 'no'." in absent.err


# --- What a person sees meanwhile ---


def test_plain_lines_without_a_terminal(translate: Translate, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        write(f"in/{name}.png")
    run = a_run()
    assert translate(run, "in").err == "3 of 3 pictures translated by negative at step 0, AtoB, in out\n"
    monkeypatch.setattr(command, "_INTERVAL", 0.0)
    lines = translate(run, "in", out="new").err.splitlines()
    assert lines[:3] == [f"translated {done} of 3" for done in range(3)]


def test_a_bar_on_a_terminal(translate: Translate, monkeypatch: pytest.MonkeyPatch) -> None:
    write("in/a.png")
    Path("in/b.png").touch()
    run = a_run()
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: True)
    monkeypatch.setenv("TERM", "xterm")
    result = translate(run, "in")
    assert result.files == ["a.png"]
    assert "translating" in result.err
    assert "skipped in/b.png (empty file)" in result.err


@pytest.mark.process
def test_the_command_imports_nothing_slow() -> None:
    program = """
import sys
from mmgan.cli import build
from mmgan.cli.session import Session
from mmgan_translation.command import translate
translate.main(["--help"], standalone_mode=False)
slow = {"torch", "torchvision", "numpy", "pydantic", "rich", "PIL"} & set(sys.modules)
sys.exit(str(slow) if slow else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--direction" in done.stdout


def test_every_option_has_help() -> None:
    options = [option for option in command.translate.params if isinstance(option, click.Option)]
    assert len(options) == 8
    assert all(option.help for option in options)
