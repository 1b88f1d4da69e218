"""``profile/``: which steps are recorded, under which names, and what becomes of a run that ends early."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from mmgan import MmganError, PluginError, hookimpl, train
from mmgan.listeners.profiler import Profiler


@pytest.fixture(autouse=True)
def _leaves_no_trace() -> Iterator[None]:
    yield
    assert not torch.autograd._profiler_enabled()


def profiled(kit: Any, *more: Any, **settings: Any) -> Any:
    run = kit.new(**settings)
    run.plugins.attach([Profiler(), *more])
    return run


def ranges(kit: Any) -> Counter[str]:
    events = json.loads((kit.folder / "profile/trace.json").read_text())["traceEvents"]
    return Counter(event["name"] for event in events if event.get("cat") == "user_annotation")


def summary(kit: Any) -> list[str]:
    lines: list[str] = (kit.folder / "profile/summary.txt").read_text().splitlines()
    return lines


def test_five_steps_with_a_range_for_each_part(kit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = profiled(kit)
    train(run)
    seen = ranges(kit)
    names = [
        "data",
        "forward",
        *(f"{part} {phase}" for phase in "DG" for part in ("phase", "loss", "backward")),
    ]
    assert {name: seen[name] for name in names} == dict.fromkeys(names, 5)
    assert seen["average G"] == 5
    assert summary(kit)[0] == "steps 13 to 17"
    assert any("aten::addmm" in line for line in summary(kit))
    assert "profile of steps 13 to 17: " in capsys.readouterr().err
    assert run.part("data", "") is run.part("loss", "D"), "nobody measures any more"


def test_the_run_is_the_same(kit: Any) -> None:
    run = profiled(kit)
    train(run)
    kit.folder = kit.folder.with_name("plain")
    plain = kit.new()
    train(plain)
    for name, weights in run.weights().items():
        for key, value in weights.items():
            assert torch.equal(value, plain.weights()[name][key])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "recorded"),
    [(1, "1 to 1"), (5, "1 to 5"), (6, "2 to 6"), (7, "3 to 7"), (12, "8 to 12"), (17, "13 to 17")],
)
def test_a_short_run_skips_less(kit: Any, steps: int, recorded: str) -> None:
    train(profiled(kit, steps=steps))
    assert summary(kit)[0] == f"steps {recorded}"
    assert ranges(kit)["phase D"] == min(steps, 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "recorded"), [(5, ""), (11, ""), (12, ""), (13, "13 to 13"), (15, "13 to 15"), (17, "13 to 17")]
)
def test_a_run_that_is_stopped(kit: Any, at: int, recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = profiled(kit)
    kit.stop(run, at)
    train(run)
    said = capsys.readouterr().err
    if recorded:
        assert summary(kit)[0] == f"steps {recorded}"
        assert said.startswith(f"profile of steps {recorded}: ")
    else:
        assert said == "no profile: the run ended before step 13\n"
        assert not (kit.folder / "profile").exists()


def test_a_resumed_run_is_profiled_from_where_it_goes_on(kit: Any) -> None:
    run = profiled(kit, steps=40)
    kit.stop(run, 20)
    train(run)
    resumed = kit.resume()
    resumed.plugins.attach([Profiler()])
    train(resumed)
    assert summary(kit)[0] == "steps 33 to 37"


@pytest.mark.parametrize("at", [3, 11, 14, 19])
def test_after_an_error_no_profiler_is_on(kit: Any, at: int) -> None:
    class Failing:
        @hookimpl
        def after_step(self, step: int) -> None:
            if step == at:
                raise ValueError("enough")

    with pytest.raises(PluginError, match="enough"):
        train(profiled(kit, Failing()))
    assert (kit.folder / "profile").exists() == (at > 17)


def test_a_disk_that_refuses_is_no_bug_of_ours(kit: Any) -> None:
    run = profiled(kit)
    (kit.folder / "profile").touch()
    with pytest.raises(MmganError, match=r"Can't write .*profile': File exists"):
        train(run)
