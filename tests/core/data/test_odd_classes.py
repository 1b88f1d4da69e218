"""Classes whose names or numbers are odd: of folders, tables, and strangers' sources."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from painting import classes, paint

from mmgan.data.columns import read_columns
from mmgan.data.image.dataset import ImageConfig, ImageData, open_folder
from mmgan.data.table import Table
from mmgan.errors import DataError


class Source:
    """A stranger's source of as many examples as it has labels."""

    def __init__(self, **columns: list[Any]) -> None:
        self.table = Table(columns)

    def __str__(self) -> str:
        return "the source"

    def name(self, index: int) -> str:
        return f"{index}.png"


def opened(folder: Path, *holds: str) -> ImageData:
    config = ImageConfig(plugin="test", size=8)
    return ImageData(open_folder(str(folder), config), config, holds=holds)


@pytest.mark.parametrize("holds", [(), ("images", "label")])
def test_a_folder_whose_name_is_not_text(tmp_path: Path, holds: tuple[str, ...]) -> None:
    os.rename(classes(tmp_path) / "red", os.fsencode(tmp_path) + b"/caf\xe9")
    info = opened(tmp_path, *holds).info
    assert info.classes == ("blue", "caf\\udce9", "green")
    assert info.counts == (2, 2, 2)


@pytest.mark.parametrize("labels", [[-1, 0, 1], [0, 1, 10**12], [0, 1, 2**62]])
def test_numbers_that_are_no_classes_matter_to_nobody_who_does_not_learn_them(labels: list[int]) -> None:
    columns = read_columns("images", (), Source(), labels, [])
    assert columns.classes == ()
    assert columns.info((3,)).counts == ()


@pytest.mark.parametrize("classes", [3, {"a": 0, "b": 1}, len])
def test_a_source_that_calls_something_else_its_classes(classes: Any) -> None:
    source: Any = Source()
    source.classes = classes
    assert read_columns("images", (), source, [0, 1, 2], []).classes == ("0", "1", "2")


def test_numbers_without_names_are_classes_of_their_own() -> None:
    columns = read_columns("images", ("images", "label"), Source(), [-1, 5, 10**12, 5], [])
    assert columns.classes == ("-1", "5", "1000000000000")
    assert columns.labels.tolist() == [0, 1, 2, 1]


def test_more_classes_than_can_be_learned_are_no_hindrance_where_none_are() -> None:
    source: Any = Source()
    source.classes = [str(number) for number in range(70_000)]
    columns = read_columns("images", (), source, list(range(70_000)), [])
    assert columns.info((3,)).classes == ()
    with pytest.raises(DataError, match="has 70,000 classes, and at most 65,536 can be learned"):
        read_columns("images", ("images", "label"), source, list(range(70_000)), [])


def test_a_label_as_long_as_a_caption(tmp_path: Path) -> None:
    for number in range(4):
        paint(tmp_path, f"{number}.png", "red")
    (tmp_path / "metadata.csv").write_text(
        "file_name,label\n" + "".join(f"{number}.png,{'very ' * 300}{number}\n" for number in range(4))
    )
    with pytest.raises(DataError, match="a label of 1,501 characters, and at most 1,000"):
        opened(tmp_path, "images", "label")
    assert opened(tmp_path).info.classes == ()


def test_as_many_columns_as_a_table_can_have_and_folders() -> None:
    source: Any = Source(**{f"c{number}": [1, 2] for number in range(1_000)})
    source.classes = ["a", "b"]
    assert len(read_columns("images", ("images", "label"), source, [0, 1], []).info((3,)).columns) == 1_001
