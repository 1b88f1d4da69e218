"""An error in a task's code names the task, the phase, the file and the line; a bug of mmgan's stays one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import Toy, toy_run

import mmgan
from mmgan import DataError, PluginError, Samples, train
from mmgan.backend.ranks import Ranks
from mmgan.plugins.blame import blaming, place, shown_place


class Broken(Toy):
    """A game that fails where it is told to."""

    where = ""

    def fail(self, where: str) -> None:
        if self.where == where:
            raise ZeroDivisionError("division by zero")

    def build(self) -> Any:
        self.fail("build")
        return super().build()

    def data(self) -> Any:
        self.fail("data")
        return super().data()

    def forward(self, batch: Any) -> Any:
        self.fail("forward")
        return super().forward(batch)

    def loss(self, phase: str, batch: Any, shared: Any) -> Any:
        if phase == "G":
            self.fail("loss")
        return super().loss(phase, batch, shared)

    def sample(self, n: int) -> Samples:
        self.fail("sample")
        return super().sample(n)


@pytest.mark.parametrize("where", ["build", "data", "forward", "loss", "sample"])
def test_the_place_is_named(where: str) -> None:
    task = type("Broken", (Broken,), {"where": where, "__module__": __name__})
    during = ", phase 'G'" if where == "loss" else ""
    with pytest.raises(
        PluginError, match=rf"The task 'toy' failed in fail{during} \(test_blame.py, line \d+\): Zero"
    ) as caught:
        train(toy_run(task=task, steps=1, sample_every=1))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "-v" in caught.value.hint


def test_what_torch_says_of_a_task_s_tensors_has_the_task_s_line() -> None:
    class Shapes(Broken):
        def forward(self, batch: Any) -> Any:
            return torch.zeros(3, 4) @ torch.zeros(3, 4)

    with pytest.raises(
        PluginError, match=r"failed in forward \(test_blame.py, line \d+\): RuntimeError: mat1"
    ):
        train(toy_run(task=Shapes, steps=1))


def test_bugs_of_mmgan_and_errors_of_its_own_kinds_stay_what_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("ours")

    run = toy_run(steps=1)
    monkeypatch.setattr(Ranks, "all_reduce_gradients", broken)
    # This function is in this file, and not in that of the toys.
    with pytest.raises(ZeroDivisionError, match="ours"):
        train(run)
    for error in (DataError("no more"), MemoryError("none left"), KeyboardInterrupt()):
        with pytest.raises(type(error)), blaming(Broken, "toy"):
            raise error


def test_a_package_s_files_are_its_task_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gamepackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "layers.py").write_text("def layer():\n    raise ValueError('too\\nflat')\n")
    (package / "task.py").write_text(
        "from gamepackage.layers import layer\n\n\nclass Game:\n    build = staticmethod(layer)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib

    game = importlib.import_module("gamepackage.task").Game
    with pytest.raises(PluginError) as caught, blaming(game, "flat"):
        game.build()
    assert caught.value.message == "The task 'flat' failed in layer (layers.py, line 2): ValueError: too flat"
    assert mmgan.errors.exit_code(caught.value) == 3


def test_what_a_class_inherits_is_its_author_s_but_not_what_is_mmgan_s_or_python_s() -> None:
    def raised(raise_it: Any) -> BaseException:
        with pytest.raises(ZeroDivisionError) as caught:
            raise_it()
        return caught.value

    # The toys are in a file of their own.
    theirs = Toy.__new__(Toy)
    theirs.g = lambda latents: 1 / 0
    theirs.latents = lambda n: None  # type: ignore[assignment, method-assign]
    error = raised(lambda: theirs.forward([]))
    inherited = type("Inherited", (Toy,), {"__module__": "elsewhere"})
    frame = place(error, inherited)
    assert frame is not None
    assert (frame.name, shown_place(frame).partition(",")[0]) == ("forward", "(toys.py")
    assert place(error, type("Other", (mmgan.Task,), {"__module__": "elsewhere"})) is None
    here = sys.modules[__name__]
    assert place(error, here).name == "<lambda>"  # type: ignore[union-attr]
