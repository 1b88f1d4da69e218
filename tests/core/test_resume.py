"""A run that was stopped and resumed ends as one that never stopped, to the byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toys import GAMES, assert_same, reload, toy_run

import mmgan
from mmgan import CheckpointError, hookimpl
from mmgan.engine import train


@pytest.mark.slow
@pytest.mark.parametrize("plugin", GAMES)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_resume_is_exact(tmp_path: Path, plugin: str, precision: str) -> None:
    straight = toy_run(plugin, tmp_path / "straight", precision=precision)
    train(straight)
    # 17 is in the middle of the second stage of toy-stages, and before toy-cycle's pool is swapped for long.
    first = toy_run(plugin, tmp_path / "stopped", precision=precision, checkpoint_every=17)
    stop_at(first, 17)
    assert train(first).state == "interrupted"
    torch.manual_seed(99)
    second = reload(tmp_path / "stopped")
    assert second.step == 17
    train(second)
    assert_same(straight, second)
    one, two = straight.folder / "checkpoints", second.folder / "checkpoints"  # type: ignore[operator]
    for file in ("state.json", "state.safetensors", "G.safetensors", "manifest.json"):
        assert (one / "step-000040" / file).read_bytes() == (two / "step-000040" / file).read_bytes(), file


def stop_at(run: mmgan.Run, at: int) -> None:
    class Stopper:
        @hookimpl
        def after_step(self, run: mmgan.Run, step: int) -> None:
            if step == at:
                run.stop_signal = 2

    run.plugins.attach([Stopper()])


@pytest.mark.process
def test_two_workers_and_a_changed_learning_rate_schedule_resume_exactly(tmp_path: Path) -> None:
    straight = toy_run("toy-cycle", steps=20)
    train(straight)
    first = toy_run("toy-cycle", tmp_path / "run", steps=20, workers=2, checkpoint_every=7)
    stop_at(first, 7)
    train(first)
    second = reload(tmp_path / "run", workers=2)
    train(second)
    assert_same(straight, second)


def test_what_a_plugin_keeps_in_a_checkpoint_comes_back(tmp_path: Path) -> None:
    class Keeper:
        def __init__(self) -> None:
            self.seen: Any = None

        @hookimpl
        def before_save(self, run: mmgan.Run, state: dict[str, Any]) -> None:
            state["keeper"] = {"best": 0.25, "tensor": torch.ones(2)}

        @hookimpl
        def after_load(self, state: dict[str, Any]) -> None:
            self.seen = state["keeper"]

    run = toy_run("toy", tmp_path / "run", Keeper())
    run.save()
    keeper = Keeper()
    from toys import Games

    from mmgan.plugins import Plugins

    mmgan.load_run(tmp_path / "run", Plugins(Games(), keeper, installed=False))
    assert keeper.seen["best"] == 0.25
    assert torch.equal(keeper.seen["tensor"], torch.ones(2))


def test_a_run_goes_on_for_longer_than_it_was_meant_to(tmp_path: Path) -> None:
    train(toy_run(folder=tmp_path / "run", steps=10))
    longer = reload(tmp_path / "run", steps=25)
    assert train(longer).step == 25
    straight = toy_run(steps=25)
    train(straight)
    assert_same(straight, longer)


def test_a_finished_run_samples_the_same_after_loading(tmp_path: Path) -> None:
    run = toy_run(folder=tmp_path / "run", steps=10)
    train(run)
    again = reload(tmp_path / "run")
    assert torch.equal(run.sample(7).points, again.sample(7).points)
    assert again._loader is None, "sampling opens no data"


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(mmgan.UsageError, match="is not empty, and a run never overwrites another"):
        toy_run(folder=tmp_path)
    (tmp_path / "empty").mkdir()
    toy_run(folder=tmp_path / "empty")
    with pytest.raises(mmgan.UsageError) as caught:
        toy_run(folder=tmp_path / "empty")
    assert "mmgan resume" in caught.value.hint


def test_a_run_that_can_t_start_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(mmgan.ConfigError):
        toy_run(folder=tmp_path / "run", device="gpu")
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_folder_has_no_checkpoints() -> None:
    with pytest.raises(mmgan.UsageError, match="has no folder"):
        toy_run().save()


def test_a_config_that_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("= 3")
    with pytest.raises(CheckpointError, match="is not TOML"):
        reload(tmp_path)


def test_the_precision_that_auto_chose_is_kept(tmp_path: Path) -> None:
    run = toy_run(folder=tmp_path / "run", precision="auto")
    assert run.config.precision == run.precision.name
    assert f'precision = "{run.precision.name}"' in (tmp_path / "run" / "config.toml").read_text()


def test_best_without_any_evaluation_is_an_error(tmp_path: Path) -> None:
    train(toy_run(folder=tmp_path / "run", steps=3))
    with pytest.raises(CheckpointError, match="was never evaluated"):
        reload(tmp_path / "run", "best")
