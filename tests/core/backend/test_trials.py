"""What ``auto`` measures: the layers that it tries, what it makes of the figures, and how they are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from toys import Toy, assert_same, reload, toy_run

import mmgan
from mmgan.backend import choosing, remembered, trials
from mmgan.backend.device import Device
from mmgan.backend.precision import choose_precision
from mmgan.backend.ranks import Ranks
from mmgan.engine import train
from mmgan.plugins import Plugins

CPU = Device("cpu")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Begin with nothing measured."""
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(trials, "SECONDS", 0.01)
    return tmp_path / "cache"


def figures(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> list[set[str]]:
    """Pretend that ways take these seconds; return a list of what is tried."""
    tried: list[set[str]] = []

    def fastest(ways: dict[str, Any], limit: float = 0) -> dict[str, float]:
        tried.append(set(ways))
        for way in ways.values():
            way()
        return {name: seconds[name] for name in ways}

    monkeypatch.setattr(trials, "fastest", fastest)
    return tried


class Pictures(Toy):
    """A toy whose D is a convolution."""

    def build(self) -> dict[str, mmgan.Player]:
        players = super().build()
        self.d = nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.Conv2d(2, 8, 1), nn.Flatten(), nn.Linear(8, 1))
        return players | {"D": mmgan.Player(self.d, torch.optim.Adam(self.d.parameters(), 1e-2))}


@pytest.mark.parametrize(
    ("layers", "chosen"),
    [
        ([nn.Linear(500, 500), nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)], 2),
        ([nn.Conv1d(2, 4, 25), nn.ConvTranspose1d(8, 8, 25)], 1),
        ([nn.Conv3d(2, 2, 3), nn.BatchNorm3d(2)], 0),
        ([nn.Linear(4, 4), nn.LSTM(8, 16)], 1),
        ([nn.GRU(4, 4), nn.Linear(40, 40)], 1),
    ],
)
def test_the_heaviest_layer(layers: list[nn.Module], chosen: int) -> None:
    assert trials.heaviest(layers) is layers[chosen]


def test_networks_without_such_a_layer() -> None:
    assert trials.heaviest([nn.BatchNorm1d(3), nn.Embedding(3, 3)]) is None
    assert choose_precision(CPU, "auto", (nn.Embedding(3, 3),)).reason.endswith("for a matrix product")


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(2, 4, 300, stride=4),
        nn.Conv2d(3, 8, 4, stride=2, padding=1),
        nn.Conv3d(2, 2, 3),
        nn.ConvTranspose1d(2, 2, 25, stride=4),
        nn.ConvTranspose2d(4, 2, 4),
        nn.ConvTranspose3d(2, 2, 3),
        nn.Linear(5, 3),
        nn.LSTM(4, 6, batch_first=True),
        nn.GRU(4, 6),
        nn.RNN(4, 6),
    ],
)
def test_a_trial_leaves_a_layer_as_it_was(layer: nn.Module) -> None:
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    generator = torch.get_rng_state()
    found = trials.precisions(layer, 4)
    assert found.keys() == {"fp32", "bf16"}
    assert all(0 < seconds < 10 for seconds in found.values())
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert all(weight.grad is None for weight in layer.parameters())
    assert torch.equal(generator, torch.get_rng_state())


def test_a_large_layer_is_tried_with_fewer_examples() -> None:
    large, small = nn.Conv2d(512, 512, 4, stride=2), nn.Conv2d(3, 8, 3)
    assert len(trials.inputs_of(large, 64)) == 7  # 2e9 / (4.2e6 weights x 64 places)
    assert len(trials.inputs_of(small, 64)) == 64
    assert trials.inputs_of(small.to(memory_format=torch.channels_last), 2).is_contiguous(
        memory_format=torch.channels_last
    )


@pytest.mark.parametrize(
    ("seconds", "name", "told"), [(0.5, "bf16", "50%"), (0.95, "fp32", "95%"), (2.0, "fp32", "200%")]
)
def test_auto_takes_what_was_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, seconds: float, name: str, told: str
) -> None:
    tried = figures(monkeypatch, fp32=1.0, bf16=seconds)
    found = choose_precision(CPU, "auto", (nn.Conv2d(3, 8, 4), nn.Linear(3, 3)), 4)
    assert found.name == name
    what = "Conv2d of 8x3x4x4 weights" if seconds < 1 else "matrix product"
    assert found.reason == f"bf16 takes {told} of fp32's time for a {what}"
    assert len(tried) == (2 if seconds < 1 else 1), "a slow product needs no trial of layers"


def test_measured_once_on_a_machine(monkeypatch: pytest.MonkeyPatch, empty_cache: Path) -> None:
    tried = figures(monkeypatch, fp32=1.0, bf16=0.5)
    networks = (nn.Conv2d(3, 8, 4),)
    for _ in range(3):
        choose_precision(CPU, "auto", networks, 4)
    assert len(tried) == 2
    choose_precision(CPU, "auto", (nn.Conv2d(3, 9, 4),), 4)
    choose_precision(CPU, "auto", networks, 5)
    assert len(tried) == 4, "another layer, and another batch size"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    choose_precision(CPU, "auto", networks, 4)
    assert len(tried) == 6, "other threads are another machine"
    assert len(list(empty_cache.glob("machine-*.json"))) == 2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[1]",
        '{"a": {"fp32": "x"}}',
        '{"a": {"fp32": -1}}',
        '{"a": {"fp32": 1e999}}',
        '{"a": {}}',
        "[" * 100_000,
        " " * 2**21,
    ],
)
def test_a_file_of_figures_that_is_torn_or_altered_is_replaced(empty_cache: Path, content: str) -> None:
    remembered.remembered("a", lambda: {"fp32": 1.0})
    (path,) = empty_cache.glob("machine-*.json")
    path.write_text(content)
    assert remembered.remembered("a", lambda: {"fp32": 2.0}) == {"fp32": 2.0}
    assert json.loads(path.read_text())["a"] == {"fp32": 2.0}


def test_a_link_in_the_cache_is_not_followed(empty_cache: Path, tmp_path: Path) -> None:
    remembered.remembered("a", lambda: {"fp32": 1.0})
    (path,) = empty_cache.glob("machine-*.json")
    other = tmp_path / "other.json"
    other.write_text('{"a": {"fp32": 3}}')
    path.unlink()
    path.symlink_to(other)
    assert remembered.remembered("a", lambda: {"fp32": 2.0}) == {"fp32": 2.0}
    assert json.loads(other.read_text()) == {"a": {"fp32": 3}}


def test_a_cache_that_can_not_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path / "file"))
    assert remembered.remembered("a", lambda: {"fp32": 2.0}) == {"fp32": 2.0}


def test_a_choice_is_kept_with_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A resume on a machine that would choose otherwise goes on as it began, to the byte."""
    times = {"fp32": 1.0, "bf16": 0.5, "contiguous": 1.0, "channels_last": 0.5}
    figures(monkeypatch, **times)
    auto: dict[str, Any] = {"precision": "auto", "memory_format": "auto", "steps": 6, "task": Pictures}
    run = toy_run(folder=tmp_path / "run", **auto)
    assert (run.config.precision, run.config.memory_format) == ("bf16", "channels_last")
    assert run.task.config is run.config
    assert run.precision.name == "bf16"
    train(run)
    text = (tmp_path / "run" / "config.toml").read_text()
    assert 'precision = "bf16"' in text
    assert 'memory_format = "channels_last"' in text


def test_a_run_with_auto_equals_one_that_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    figures(monkeypatch, fp32=1.0, bf16=0.5, contiguous=1.0, channels_last=0.5)
    runs = [
        toy_run(task=Pictures, steps=6, precision=precision, memory_format=layout)
        for precision, layout in (("auto", "auto"), ("bf16", "channels_last"))
    ]
    for run in runs:
        train(run)
    assert_same(*runs)


@pytest.mark.parametrize(("layout", "last"), [("channels_last", True), ("contiguous", False)])
def test_a_memory_format_is_that_of_all_players(layout: str, last: bool) -> None:
    class Wide(Pictures):
        def build(self) -> dict[str, mmgan.Player]:
            players = super().build()
            self.d[1] = nn.Conv2d(2, 8, 3, padding=1)
            return players | {
                "D": mmgan.Player(
                    self.d, torch.optim.Adam(self.d.parameters(), 1e-2), channels_last=not last, ema=0.5
                )
            }

    run = toy_run(task=Wide, memory_format=layout)
    player = run.players["D"]
    assert player.channels_last is last
    for module in (player.module, player.average):
        assert module[1].weight.is_contiguous(memory_format=torch.channels_last) is last
        assert module[1].weight.is_contiguous() is not last


def test_formats_are_tried_for_2d_convolutions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = figures(monkeypatch, contiguous=1.0, channels_last=0.5)
    faster = choosing.channels_last_is_faster
    assert not faster(nn.Linear(3, 3), 4, torch.float32)
    assert not faster(nn.Conv1d(3, 3, 5), 4, torch.float32)
    assert not tried
    assert faster(nn.ConvTranspose2d(3, 3, 3), 4, torch.bfloat16)


@pytest.mark.slow
def test_compiling_is_tried(tmp_path: Path) -> None:
    found = trials.compiling(nn.Conv2d(2, 3, 3), 2, torch.float32)
    assert found.keys() == {"plain", "compiled"}


@pytest.mark.parametrize(("compiled", "expected"), [(0.5, True), (0.95, False)])
def test_compile_auto_takes_what_was_faster(
    monkeypatch: pytest.MonkeyPatch, compiled: float, expected: bool
) -> None:
    monkeypatch.setattr(trials, "compiling", lambda *_: {"plain": 1.0, "compiled": compiled})
    asked = []
    monkeypatch.setattr(choosing, "compile_network", lambda name, network: asked.append(name))
    run = toy_run(task=Pictures, compile="auto")
    assert run.config.compile is expected
    assert asked == (["G", "D"] if expected else [])


def test_compile_auto_from_the_command_line() -> None:
    config = mmgan.config.resolve(
        Plugins().config_class("gan"), "gan", flags={"compile": "auto"}, environment={}
    )
    assert config.compile == "auto"
    assert mmgan.config.parse_value(type(config), "compile", "true") in (True, "true")


def test_a_resume_does_not_measure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tried = figures(monkeypatch, fp32=1.0, bf16=2.0)
    train(toy_run(folder=tmp_path / "run", precision="auto", steps=2))
    assert len(tried) == 1
    tried.clear()
    assert reload(tmp_path / "run").precision.name == "fp32"
    assert not tried


def test_ranks_take_what_rank_0_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    figures(monkeypatch, fp32=1.0, bf16=2.0)
    told = {"precision": ("bf16", "as rank 0 measured"), "memory_format": True}
    answers = iter(told.values())
    monkeypatch.setattr(Ranks, "broadcast_object", lambda self, work: next(answers))
    run = toy_run(task=Pictures, precision="auto", memory_format="auto")
    assert (run.precision.name, run.precision.reason) == told["precision"]
    assert (run.config.precision, run.config.memory_format) == ("bf16", "channels_last")


def test_networks_without_a_layer_to_try_stay_as_they_are() -> None:
    class Bare(Toy):
        def build(self) -> dict[str, mmgan.Player]:
            players = super().build()
            self.d = nn.Sequential(nn.Flatten(), nn.LayerNorm(2))
            return players | {"D": mmgan.Player(self.d, torch.optim.Adam(self.d.parameters(), 1e-2))}

    class Nothing(Bare):
        def build(self) -> dict[str, mmgan.Player]:
            players = super().build()
            self.g = nn.LayerNorm(4)
            return players | {"G": mmgan.Player(self.g, torch.optim.Adam(self.g.parameters(), 1e-2))}

    run = toy_run(task=Nothing, precision="auto", memory_format="auto", compile="auto")
    assert (run.config.memory_format, run.config.compile) == ("contiguous", False)
