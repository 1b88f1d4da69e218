"""The rule of conditions: a task that takes labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from painting import Colours, classes
from torch import Tensor

import mmgan
from mmgan import ImageSamples
from mmgan.testing import ConformanceError, check_task


class Deaf(Colours):
    """It says that it takes labels, and does not."""

    def sample(self, n: int) -> ImageSamples:  # type: ignore[override]
        return super().sample(n, Tensor([0] * n).long())


class Short(Colours):
    def sample_chunks(  # type: ignore[override]
        self, n: int, prompt: str = "", label: Tensor | None = None
    ) -> Iterator[Any]:
        assert label is not None
        yield self.sample(n - 1, label[1:])


class Unknowing(Colours):
    """Its data set does not say which classes it has."""

    def build(self) -> Any:
        self.run.known = mmgan.DataInfo(examples=6, shape=(3, 8, 8), classes=("a", "b", "c"))
        return super().build()

    def data(self) -> Any:
        data = super().data()
        data.info = mmgan.DataInfo(examples=6)
        self.run.known = None
        return data


def broken(task: Any, data: Path, **options: Any) -> dict[str, str]:
    try:
        check_task(task, data=str(data), size=8, **options)
    except ConformanceError as error:
        return {failure.rule: failure.what for failure in error.failures}
    return {}


def test_a_task_that_takes_labels(tmp_path: Path) -> None:
    data = classes(tmp_path)
    assert broken(Colours, data) == {}
    assert broken(Colours, data, label="green") == {}
    assert "label = 'mauve' is not a class" in broken(Colours, data, label="mauve")["conditions"]


@pytest.mark.parametrize(
    ("task", "rule", "what"),
    [
        (Deaf, "conditions", "takes no label"),
        (Short, "conditions", "sample_chunks(3, label=…) gives 2 samples."),
        (Unknowing, "conditions", "its data has no classes"),
    ],
)
def test_broken(tmp_path: Path, task: Any, rule: str, what: str) -> None:
    found = broken(task, classes(tmp_path))
    assert what in found.get(rule, ""), found
