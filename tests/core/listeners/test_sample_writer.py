"""samples/: one whole file for each round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmgan import MmganError, train


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "samples").iterdir())


def test_a_file_for_each_round_and_one_at_the_end(kit: Any) -> None:
    train(kit.new(steps=24, sample_every=10))
    assert files(kit.folder) == ["step-000010.txt", "step-000020.txt", "step-000024.txt"]
    assert not list(kit.folder.glob(".partial*"))


def test_a_resumed_run_writes_the_same_files(kit: Any, tmp_path: Path) -> None:
    train(kit.new(sample_every=5))
    straight = {name: (kit.folder / "samples" / name).read_text() for name in files(kit.folder)}
    kit.folder = tmp_path / "second"
    run = kit.new(sample_every=5)
    kit.stop(run, 12)
    train(run)
    train(kit.resume())
    assert {name: (kit.folder / "samples" / name).read_text() for name in files(kit.folder)} == straight


def test_samples_that_can_t_be_looked_at_get_a_picture(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = kit.new(sample_every=10)
    sample = type(run.sample(1))
    monkeypatch.setattr(sample, "picture", lambda self: Image.new("L", (3, 2), len(self)))
    train(run)
    assert files(kit.folder) == [f"step-0000{step}.{end}" for step in (10, 20) for end in ("png", "txt")]
    with Image.open(kit.folder / "samples" / "step-000010.png") as picture:
        assert picture.size == (3, 2)


def test_a_write_that_fails_leaves_no_half_file(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = kit.new(sample_every=10)

    def full(path: Path) -> None:
        path.write_text("hal")
        raise OSError(28, "No space left on device")

    sample = type(run.sample(1))
    monkeypatch.setattr(sample, "save", lambda self, path: full(path))
    with pytest.raises(MmganError, match="No space left on device"):
        train(run)
    assert files(kit.folder) == []
    assert not list(kit.folder.glob(".partial*"))
