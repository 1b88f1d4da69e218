"""Texts as samples, and a plot of quality against diversity."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mmgan.samples.base import Samples
from mmgan.samples.drawing import new_figure, to_image

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

#: Colour and marker of each generator's curve, in this order; they start again after the last.
STYLES = (("#1a73e8", "o"), ("#d93025", "s"), ("#188038", "^"), ("#9334e6", "D"))

#: Characters that would end a line, control a terminal, or can't be encoded in UTF-8 (lone surrogates).
_NO_CHARACTER = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Tradeoff:
    """Quality against diversity at several temperatures, where both axes are costs.

    Args:
        x_label: What the x axis measures; lower is better.
        y_label: What the y axis measures; lower is better.
        curves: For the name of each generator its points (temperature, x, y), in the order to join them in.
    """

    x_label: str
    y_label: str
    curves: Mapping[str, Sequence[tuple[float, float, float]]]

    def plot(self) -> Image.Image:
        """Return a picture: a line for each generator, with its temperature beside each point."""
        figure = new_figure(6, 5)
        axes = figure.add_subplot()
        for (name, points), (color, marker) in zip(self.curves.items(), cycle(STYLES), strict=False):
            xs, ys = [x for _, x, _ in points], [y for _, _, y in points]
            axes.plot(xs, ys, color=color, marker=marker, markersize=5, label=name)
            for temperature, x, y in points:
                axes.annotate(
                    f"{temperature:g}",
                    (x, y),
                    xytext=(5, 5),
                    textcoords="offset points",
                    fontsize=8,
                    color=color,
                )
        axes.set(xlabel=self.x_label, ylabel=self.y_label)
        axes.set_title("A point for each temperature; lower and further left is better", fontsize=10)
        axes.margins(0.1)
        if self.curves:
            axes.legend()
        return to_image(figure)


class TextSamples(Samples):
    """Texts.

    Args:
        texts: One for each sample; an empty one is a sample too.
        tradeoff: What to draw beside them.
    """

    suffix = ".txt"

    def __init__(self, texts: Sequence[str], tradeoff: Tradeoff | None = None) -> None:
        self.texts = list(texts)
        self.tradeoff = tradeoff

    def __len__(self) -> int:
        return len(self.texts)

    def with_more(self, more: Samples) -> TextSamples:
        """Return these texts and all of ``more``: texts are small, and all of them are shown."""
        assert isinstance(more, TextSamples)
        both = copy.copy(self)
        both.texts, both.tradeoff = self.texts + more.texts, more.tradeoff or self.tradeoff
        return both

    def lines(self) -> list[str]:
        """Return the texts, each as one line: a space in place of each white space or control character."""
        return [_NO_CHARACTER.sub(" ", text) for text in self.texts]

    def save(self, path: Path) -> None:
        """Write the texts to ``path`` as UTF-8, one a line; an empty text is an empty line."""
        text = "".join(f"{line}\n" for line in self.lines())
        path.write_text(text, encoding="utf-8", newline="\n")

    def save_each(self, folder: Path) -> list[Path]:
        """Write nothing into ``folder``, and return []: each line of :meth:`save`'s file is one sample."""
        return []

    def to_tensorboard(self, writer: SummaryWriter, tag: str, step: int) -> None:
        """Show the texts, and the picture if there is one."""
        # Indented it is code to Markdown, which leaves what is in there as it is.
        writer.add_text(tag, "".join(f"    {line}\n" for line in self.lines()), step)
        picture = self.picture()
        if picture is not None:
            writer.add_image(tag, np.asarray(picture), step, dataformats="HWC")

    def picture(self) -> Image.Image | None:
        """Draw quality against diversity, if that is known."""
        return None if self.tradeoff is None else self.tradeoff.plot()
