"""What ``mmgan sample`` writes chunk by chunk is what ``Run.sample`` gives together, to the byte."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mmgan
from mmgan.config import check
from mmgan.plugins import Plugins
from mmgan.tasks.audio import AudioTask
from mmgan.tasks.image import ImageTask
from mmgan_seqgan import rollouts
from mmgan_translation import game

TINY: dict[str, Any] = {"device": "cpu", "precision": "fp32", "tensorboard": False}
TRANSLATION = {"width": 4, "d_width": 4, "d_layers": 1}
TEXTS = {"embedding": 8, "hidden": 8, "length": 9, "negatives": 8, "vocabulary": 40}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, size in (
        (ImageTask, "chunk", 4),
        (AudioTask, "chunk", 3),
        (game, "CHUNK", 4),
        (rollouts, "DRAWN", 4),
        (rollouts, "WRITTEN", 8),
    ):
        monkeypatch.setattr(module, name, size)


def make(plugin: str, **settings: Any) -> mmgan.Run:
    plugins = Plugins()
    return mmgan.new_run(check(plugins.task(plugin).Config, {"plugin": plugin} | TINY | settings), plugins)


def joined(chunks: list[mmgan.Samples]) -> Any:
    """What the chunks hold: all pictures, sounds, points or texts."""
    first = vars(chunks[0])
    name = next(name for name in ("images", "waveforms", "points", "texts") if name in first)
    parts = [vars(chunk)[name] for chunk in chunks]
    return [text for part in parts for text in part] if name == "texts" else torch.cat(parts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "settings", "chunks"),
    [
        ("dcgan", {"width": 4, "latent": 8}, 3),
        ("r3gan", {"widths": (8, 8, 8, 8), "group": 8}, 3),
        ("gan", {"data": "digits", "size": 8, "channels": 1, "width": 4}, 3),
        ("gan", {"data": "ring"}, 1),
        ("wavegan", {"data": "drums:20", "dim": 2}, 4),
        ("pix2pix", TRANSLATION, 3),
        ("pix2pix", TRANSLATION | {"batch_size": 1}, 3),
        ("cyclegan", TRANSLATION | {"blocks": 1}, 3),
        ("cyclegan", TRANSLATION | {"blocks": 1, "dropout": "always"}, 1),
        ("seqgan", TEXTS, 2),
        ("seqgan", TEXTS | {"generator": "transformer"}, 2),
    ],
)
@pytest.mark.parametrize("prompt", ["", "7 11"])
def test_chunks_are_the_samples(plugin: str, settings: dict[str, Any], chunks: int, prompt: str) -> None:
    if prompt and plugin != "seqgan":
        pytest.skip("takes no prompts")
    run = make(plugin, **settings)
    found, whole = list(run.sample_chunks(10, prompt=prompt)), run.sample(10, prompt=prompt)
    assert len(found) == chunks
    one, other = joined(found), joined([whole])
    assert len(other) == 10
    assert one == other if isinstance(one, list) else torch.equal(one, other)


@pytest.mark.slow
def test_the_picture_of_texts_is_there_where_the_data_is_open() -> None:
    run = make("seqgan", **TEXTS)
    assert [chunk.picture() is None for chunk in run.sample_chunks(10)] == [True, False]
    whole = run.sample(10)
    *_, last = run.sample_chunks(10)
    assert last.tradeoff == whole.tradeoff  # type: ignore[attr-defined]


@pytest.mark.slow
def test_written_in_parts_is_written_as_before() -> None:
    """Texts are drawn token by token over all rows, and so they were before there were parts."""
    task = make("seqgan", **TEXTS).task
    torch.manual_seed(5)
    whole = rollouts.generate(task.g, 30, 9)
    torch.manual_seed(5)
    parts = list(rollouts.generate_in_parts(task.g, 30, 9))
    assert [len(part) for part in parts] == [8, 8, 8, 6]
    assert torch.equal(torch.cat(parts), whole)


def test_many_points_are_compared_with_all_modes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = make("gan", data="grid").task.mixture()
    points = mixture.points[:5_000] * 1.01
    whole = mixture.scores(points)
    monkeypatch.setattr(type(mixture), "COMPARED", 7)
    assert mixture.scores(points) == whole
