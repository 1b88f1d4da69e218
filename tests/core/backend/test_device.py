"""Devices and precisions: what is chosen and why, and that the fast forms compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn

from mmgan.backend.device import Device, choose_device
from mmgan.backend.precision import choose_precision
from mmgan.backend.processor import native_bf16
from mmgan.config import Config
from mmgan.errors import ConfigError
from mmgan.task import Player


def pretend(
    monkeypatch: pytest.MonkeyPatch,
    cuda: bool = False,
    mps: bool = False,
    capability: tuple[int, int] = (8, 0),
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *a: "a GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *a: capability)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_fastest(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str
) -> None:
    pretend(monkeypatch, cuda, mps)
    device = choose_device("auto")
    assert device.type == expected
    assert device.reason


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps", "meta"])
def test_a_device_that_is_not_here(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pretend(monkeypatch)
    with pytest.raises(ConfigError, match=f"device = '{name}': this machine has no such device") as caught:
        choose_device(name)
    assert "doctor" in caught.value.hint


def test_a_device_that_is_none() -> None:
    with pytest.raises(ConfigError, match="'gpu' is not known") as caught:
        choose_device("gpu")
    assert "cuda" in caught.value.hint


@pytest.mark.parametrize(
    ("capability", "expected"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((6, 1), "fp16")]
)
def test_auto_precision_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    pretend(monkeypatch, cuda=True, capability=capability)
    precision = choose_precision(Device("cuda"), "auto")
    assert precision.name == expected
    assert precision.scales == (expected == "fp16")
    assert "capability" in precision.reason


@pytest.mark.parametrize(
    ("flags", "feature"),
    [
        ("fpu avx512_bf16 amx_bf16 amx_tile", "AMX"),
        ("fpu avx512f avx512_bf16", "AVX512-BF16"),
        ("fp asimd bf16", "Arm BF16"),
        ("fpu avx2 avx512f", ""),
        ("avx512_bf16_not_quite", ""),
    ],
)
def test_bf16_only_where_the_processor_really_has_it(tmp_path: Path, flags: str, feature: str) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : {flags}\n")
    assert native_bf16(cpuinfo) == feature


def test_no_cpuinfo_is_no_bf16(tmp_path: Path) -> None:
    assert native_bf16(tmp_path / "none") == ""


def test_auto_precision_elsewhere() -> None:
    assert choose_precision(Device("mps"), "auto").name == "fp32"
    with pytest.raises(ConfigError, match="'fp64' is not known"):
        choose_precision(Device("cpu"), "fp64")


def test_autocast_computes_in_the_precision_and_losses_stay_float32() -> None:
    linear, x = nn.Linear(4, 4), torch.randn(2, 4)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        with choose_precision(Device("cpu"), name).autocast():
            assert linear(x).dtype == dtype


def test_batches_keep_their_form() -> None:
    a, b = torch.ones(2), torch.zeros(3)
    moved = Device("cpu").move({"pair": (a, [b]), "name": "x"})
    assert moved["name"] == "x"
    assert isinstance(moved["pair"], tuple)
    assert torch.equal(moved["pair"][1][0], b)


@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "RMSprop"])
def test_fused_optimizers_compute_the_same(optimizer: str) -> None:
    results = []
    for prepare in (True, False):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 1))
        player = Player(net, getattr(torch.optim, optimizer)(net.parameters(), lr=1e-3), channels_last=True)
        if prepare:
            Device("cpu").prepare(player)
            assert player.optimizer.param_groups[0].get("fused") in (True, None)
            assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
        for _ in range(5):
            player.optimizer.zero_grad()
            net(torch.randn(4, 3, 8, 8)).square().mean().backward()
            player.optimizer.step()
        results.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


def test_an_author_s_own_choice_of_kernels_is_left_alone() -> None:
    net = nn.Linear(2, 2)
    for choice in ({"foreach": True}, {"fused": False}):
        player = Player(net, torch.optim.Adam(net.parameters(), **choice))
        Device("cpu").prepare(player)
        assert not player.optimizer.param_groups[0]["fused"]


def test_the_settings_name_what_is_allowed() -> None:
    assert "cuda" in (Config.model_fields["device"].description or "")


def test_named_tuples_stay_named() -> None:
    class Pair(NamedTuple):
        a: torch.Tensor
        b: torch.Tensor

    moved = Device("cpu").move(Pair(torch.ones(1), torch.zeros(1)))
    assert isinstance(moved, Pair)
    assert float(moved.a) == 1
