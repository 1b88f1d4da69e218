"""What a batch holds beside its examples: labels, captions, numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from painting import classes, paint

from mmgan.data.audio.dataset import AudioConfig, AudioData
from mmgan.data.columns import read_columns
from mmgan.data.dataset import Draw
from mmgan.data.image.dataset import ImageConfig, ImageData, open_digits, open_folder
from mmgan.data.info import DataInfo, vocabulary
from mmgan.data.table import Table
from mmgan.errors import DataError, PluginError


def opened(folder: Path, *holds: str, **settings: Any) -> ImageData:
    config = ImageConfig(plugin="test", size=8, **settings)
    return ImageData(open_folder(str(folder), config), config, holds=holds)


def first(data: Any, count: int) -> Any:
    indices = torch.arange(count)
    return data.batch(indices, Draw(0, torch.zeros(count, dtype=torch.int64), indices))


def test_one_thing_is_a_tensor_as_ever(tmp_path: Path) -> None:
    for holds in ((), ("images",)):
        assert first(opened(classes(tmp_path), *holds), 2).shape == (2, 3, 8, 8)


def test_labels_lie_beside_the_pictures(tmp_path: Path) -> None:
    data = opened(classes(tmp_path), "images", "label")
    assert data.info == DataInfo(
        examples=6, shape=(3, 8, 8), classes=("blue", "green", "red"), counts=(2, 2, 2), columns=("label",)
    )
    batch = first(data, 6)
    assert list(batch) == ["images", "label"]
    assert batch["label"].dtype == torch.int64
    channel = {"red": 0, "green": 1, "blue": 2}
    for picture, label in zip(batch["images"], batch["label"].tolist(), strict=True):
        assert picture[channel[data.classes[label]]].min() == 1
        assert picture.mean() < 0


def test_a_class_without_a_readable_picture_is_left_out(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "cyan").mkdir()
    (tmp_path / "cyan" / "torn.png").write_bytes(b"no picture")
    (tmp_path / "green" / "0.png").write_bytes(b"no picture either")
    data = opened(tmp_path, "images", "label")
    assert data.info.classes == ("blue", "green", "red")
    assert data.info.counts == (2, 1, 2)
    assert data.labels.tolist() == [0, 0, 1, 2, 2]


def test_files_beside_the_folders_are_a_class_of_the_folder_itself(tmp_path: Path) -> None:
    paint(classes(tmp_path), "alone.png", "red")
    assert opened(tmp_path, "images", "label").info.classes == (".", "blue", "green", "red")


def test_digits_have_ten_classes_by_name() -> None:
    config = ImageConfig(plugin="test", size=8, channels=1)
    data = ImageData(open_digits("", config), config, holds=("images", "label"))
    assert data.info.classes == tuple("0123456789")
    assert sum(data.info.counts) == 1797


def test_no_classes(tmp_path: Path) -> None:
    for number in range(3):
        paint(tmp_path, f"{number}.png", "red")
    assert opened(tmp_path).info.classes == ()
    with pytest.raises(DataError, match="has no classes to learn") as caught:
        opened(tmp_path, "images", "label")
    assert "subfolders" in caught.value.hint
    assert "metadata.csv" in caught.value.hint


def test_what_is_not_there_and_what_must_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no 'labl': its columns are label. Did you mean 'label'"):
        opened(classes(tmp_path), "images", "labl")
    with pytest.raises(PluginError, match="must hold 'images' too"):
        opened(tmp_path, "label")


class Four:
    """A source of four examples with a table."""

    classes: tuple[str, ...] = ()

    def __init__(self, **columns: list[Any]) -> None:
        self.table = Table(columns)

    def __len__(self) -> int:
        return 4

    def __str__(self) -> str:
        return "the table"

    def name(self, index: int) -> str:
        return f"{index}.png"


def test_columns_of_every_type() -> None:
    table = Four(text=["a", "b", "a b", ""], n=[1, 2, 3, 4], x=[1, 2.5, 0, -1], b=[True, False, True, True])
    columns = read_columns("images", ("images", "text", "n", "x", "b"), table, [0] * 4, [])
    batch = columns.batch(torch.zeros(2, 3), torch.tensor([2, 0]))
    assert batch["text"] == ["a b", "a"]
    assert batch["n"].tolist() == [3, 1]
    assert batch["x"].tolist() == [0.0, 1.0]
    assert (batch["x"].dtype, batch["n"].dtype, batch["b"].dtype) == (torch.float32, torch.int64, torch.bool)
    info = columns.info((3,))
    assert info.columns == ("b", "n", "text", "x")
    assert info.vocabulary == ("a", "b")


def test_examples_without_a_value_are_left_out_and_named() -> None:
    table = Four(text=["one", None, "three", "four"], label=[7, 7, 10, 10])
    columns = read_columns("images", ("images", "text", "label"), table, [0] * 3, [("2.png", "torn")])
    assert columns.kept.tolist() == [0, 2]
    assert columns.values["text"] == ["one", "four"]
    assert columns.labels.tolist() == [0, 1]
    # Numbers are in their own order: 7 before 10.
    assert columns.classes == ("7", "10")
    assert columns.incomplete == [("1.png", "no text")]
    with pytest.raises(DataError, match="the table has 1 examples with text.*1.png"):
        read_columns("images", ("images", "text"), Four(text=["one", None, None, None]), [0] * 4, [])


def test_crops_of_a_recording_have_its_label(tmp_path: Path) -> None:
    for name, level, seconds in (("high", 0.5, 4), ("low", -0.5, 2)):
        (tmp_path / name).mkdir()
        noise = np.random.default_rng(0).uniform(0, 0.1, seconds * 16_000)
        soundfile.write(tmp_path / name / "long.wav", level + noise * np.sign(level), 16_000)
    config = AudioConfig(plugin="test", length=8_000, slice="crops", normalize="none")
    from mmgan.data.audio.dataset import open_folder as open_sounds

    data = AudioData(open_sounds(str(tmp_path), config), config, holds=("sounds", "label"))
    batch = first(data, len(data))
    assert data.info.counts == (8, 4)
    assert ((batch["sounds"].mean((1, 2)) > 0) == (batch["label"] == 0)).all()


def test_words_by_frequency() -> None:
    assert vocabulary(["A red cube.", "a blue cube", "a CUBE"]) == ("a", "cube", ".", "blue", "red")
    # A checkpoint must have room for 32,768 of them.
    assert vocabulary(["x" * 50 + " " + "y" * 51]) == ("x" * 50,)


def test_a_folder_with_metadata_and_captions(tmp_path: Path) -> None:
    for number, colour in enumerate(("red", "green", "blue", "red")):
        paint(tmp_path, f"{number}.png", colour)
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "0.png", "label": "warm", "age": 3}\n'
        '{"file_name": "1.png", "label": "cold", "age": 4}\n'
        '{"file_name": "2.png", "label": "cold", "age": 5}\n'
        '{"file_name": "9.png", "label": "cold"}\n'
    )
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(f"Picture {number}")
    data = opened(tmp_path, "images", "label", "text", "age")
    batch = first(data, 3)
    assert batch["label"].tolist() == [1, 0, 0]
    assert batch["text"] == ["Picture 0", "Picture 1", "Picture 2"]
    assert batch["age"].tolist() == [3, 4, 5]
    assert data.info.classes == ("cold", "warm")
    assert data.info.vocabulary == ("picture", "0", "1", "2")
    assert "1 left out: 3.png (no label and no age)" in data.description
    assert "1 ignored: metadata.jsonl:4 (names '9.png', which is not among the files)" in data.description
    assert "other file" not in data.description

    # Other labels are other data, though the pictures are the same; and nothing is decoded again for them.
    before = data.fingerprint
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "0.png", "label": "a"}\n{"file_name": "1.png", "label": "b"}'
    )
    again = opened(tmp_path, "images", "label")
    assert again.labels.tolist() == [0, 1]
    assert again.fingerprint != before
    assert len(opened(tmp_path)) == 4
