"""Texts as samples: a line is a text, whatever is in it, and the picture is there when it is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmgan import TextSamples
from mmgan.samples import PointSamples, Tradeoff

CURVES = {
    "before": [(0.5, 0.6, 0.2), (1.0, 0.4, 0.5), (2.0, 0.1, 0.9)],
    "after": [(0.5, 0.7, 0.1), (1.0, 0.3, 0.3)],
}


class Writer:
    """Keeps what a SummaryWriter is told."""

    def __init__(self) -> None:
        self.text, self.images = "", 0

    def add_text(self, tag: str, text: str, step: int) -> None:
        assert (tag, step) == ("samples", 7)
        self.text = text

    def add_image(self, tag: str, image: np.ndarray, step: int, dataformats: str) -> None:  # type: ignore[type-arg]
        assert (tag, step, dataformats) == ("samples", 7, "HWC")
        assert image.shape[2] == 3
        self.images += 1


def test_a_line_for_each_text_in_utf_8(tmp_path: Path) -> None:
    samples = TextSamples(["grün ist es", "", "今日は 🙂", "end"])
    assert (len(samples), samples.suffix) == (4, ".txt")
    samples.save(tmp_path / "texts.txt")
    assert (tmp_path / "texts.txt").read_bytes() == "grün ist es\n\n今日は 🙂\nend\n".encode()
    assert samples.save_each(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]
    TextSamples([]).save(tmp_path / "none.txt")
    assert (tmp_path / "none.txt").read_bytes() == b""


@pytest.mark.parametrize("character", [*"\n\r\t\v\f\0\x1b\x1c\x1f\x7f\x85\xa0\u2028\u2029\u3000", "\ud800"])
def test_what_would_break_a_line_becomes_a_space(tmp_path: Path, character: str) -> None:
    samples = TextSamples([f"a{character}b", character])
    assert samples.lines() == ["a b", " "]
    samples.save(tmp_path / "texts.txt")
    assert (tmp_path / "texts.txt").read_bytes() == b"a b\n \n"


def test_only_texts_are_lines() -> None:
    assert PointSamples(torch.zeros(3, 2)).lines() is None
    assert TextSamples(["a", "b"]).lines() == ["a", "b"]


@pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated")
def test_tensorboard_shows_the_texts_as_they_are() -> None:
    from tensorboard.plugin_util import markdown_to_safe_html

    writer = Writer()
    TextSamples(["# *no* heading", "", "<b> & 1. _x_ `y`"]).to_tensorboard(writer, "samples", 7)  # type: ignore[arg-type]
    assert writer.images == 0
    html = markdown_to_safe_html(writer.text)
    assert "# *no* heading\n\n&lt;b&gt; &amp; 1. _x_ `y`" in html
    assert "<h1>" not in html
    TextSamples(["a"], Tradeoff("x", "y", CURVES)).to_tensorboard(writer, "samples", 7)  # type: ignore[arg-type]
    assert writer.images == 1


def test_the_picture_is_the_tradeoff() -> None:
    assert TextSamples(["a"]).picture() is None
    picture = TextSamples(["a"], Tradeoff("1 - BLEU", "self-BLEU", CURVES)).picture()
    assert picture is not None
    pixels = np.asarray(picture).astype(int)
    red, blue = pixels[:, :, 0], pixels[:, :, 2]
    assert (blue > red + 100).sum() > 100, "the first curve is blue"
    assert (red > blue + 100).sum() > 100, "the second is red"


def test_a_point_further_left_and_lower_is_drawn_there() -> None:
    def middle(x: float, y: float) -> tuple[float, float]:
        ends = {"ends": [(1, 0, 0), (1, 1, 1)], "mine": [(1, x, y)]}
        pixels = np.asarray(Tradeoff("x", "y", ends).plot()).astype(int)
        rows, columns = np.nonzero(pixels[:, :, 0] > pixels[:, :, 2] + 100)
        # The legend is in there too, in a corner that the diagonal leaves free in both pictures.
        return float(columns.mean()), float(rows.mean())

    better, worse = middle(0.3, 0.3), middle(0.7, 0.7)
    assert better[0] < worse[0]
    assert better[1] > worse[1]


@pytest.mark.parametrize("curves", [{}, {"none": []}, {"one": [(1.0, 0.5, 0.5)]}])
def test_few_points_are_drawn_too(curves: dict[str, list[tuple[float, float, float]]]) -> None:
    assert Tradeoff("x", "y", curves).plot().size == (600, 500)


def test_chunks_are_all_in_one_file(tmp_path: Path) -> None:
    tradeoff = Tradeoff("x", "y", CURVES)
    together = TextSamples(["a"]).with_more(TextSamples(["b", ""])).with_more(TextSamples(["c"], tradeoff))
    together.save(tmp_path / "texts.txt")
    assert (tmp_path / "texts.txt").read_text() == "a\nb\n\nc\n"
    assert (together.shown, together.tradeoff) == (4, tradeoff)
