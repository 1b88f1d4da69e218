"""When a task may ask for its data."""

from __future__ import annotations

from typing import Any

import pytest
from toys import Toy, toy_run

from mmgan import DataError, DataInfo, PluginError
from mmgan.data.opening import compared


class InBuild(Toy):
    def build(self) -> Any:
        assert not self.run.data_is_open
        self.size = len(self.run.dataset)
        return super().build()


class InNextBatch(Toy):
    def build(self) -> Any:
        self.run.next_batch()
        return super().build()


class InData(Toy):
    def data(self) -> Any:
        return self.run.dataset


class InfoInData(Toy):
    def data(self) -> Any:
        return self.run.data_info


@pytest.mark.parametrize(
    ("task", "asked", "where"),
    [
        (InBuild, "run.dataset", "build"),
        (InNextBatch, "run.dataset", "build"),
        (InData, "run.dataset", "data"),
        (InfoInData, "its data", "data"),
    ],
)
def test_data_that_is_not_there_yet_is_not_opened(task: Any, asked: str, where: str) -> None:
    with pytest.raises(PluginError, match=f"The task 'toy' asks for {asked} in `{where}`") as caught:
        toy_run(task=task)
    assert "self.run.open_data" in caught.value.hint
    assert "run.data_info, in `build`" in caught.value.hint


def test_data_that_can_not_be_opened_may_be_asked_for_again() -> None:
    class Once(Toy):
        tries = 0

        def data(self) -> Any:
            type(self).tries += 1
            if self.tries == 1:
                raise OSError(5, "the disk is busy")
            return super().data()

    run = toy_run()
    run.task, run._loader = Once(run.config), None
    with pytest.raises(OSError, match="busy"):
        _ = run.dataset
    assert len(run.dataset) == 100


def test_other_classes_are_named_without_their_escapes_and_of_many_a_few() -> None:
    names = tuple(f"\x1b[2J{number}" for number in range(50_000))
    before = DataInfo(examples=1, classes=names)
    now = DataInfo(examples=1, classes=("new", *names[::2]))
    with pytest.raises(DataError) as caught:
        compared("pictures", now, before, ("images", "label"))
    assert caught.value.message.endswith(
        r"'\x1b[2J1', '\x1b[2J3', '\x1b[2J5' and 24997 more gone and new new."
    )


def test_classes_that_nobody_knew_before_are_welcome() -> None:
    now = DataInfo(examples=1, classes=("a", "b"))
    assert compared("pictures", now, DataInfo(examples=1), ("images", "label")) == now
