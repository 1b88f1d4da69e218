"""Between two logs nothing waits for the device: on a GPU each wait would cost the time of a step's launches.

Here the CPU pretends to be asynchronous, and a dispatch mode counts the operations that read a value back.
``tests/gpu`` does the same on a GPU, where torch itself raises.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

import mmgan
from mmgan.backend.device import Device
from mmgan.config import resolve
from mmgan.data.loader import Loader
from mmgan.engine import play, training
from mmgan.plugins import Plugins

#: Operations whose result the CPU must know before it goes on.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique_dim", "_unique2")

GAMES: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 4},
    "dcgan-r1": {"width": 4, "penalty": "r1", "conditional": True},
    "r3gan": {"widths": (8, 8, 8, 8), "group": 8, "conditional": True},
    "gan": {"data": "ring", "width": 8},
    "wavegan": {"data": "drums:20", "dim": 2, "critic_steps": 2},
    "pix2pix": {"width": 4, "d_width": 4, "derive": "denoise", "data": "digits"},
    "cyclegan": {"width": 4, "d_width": 4, "blocks": 1, "data": "digits"},
}


class Counting(TorchDispatchMode):
    """Counts operations that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in WAITING:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def waits(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> Counter[str]:
    """Count what waits in steps between two logs."""
    monkeypatch.setattr(Device, "asynchronous", True)
    plugins, plugin = Plugins(), name.partition("-")[0]
    rare = {"log_every": 100, "sample_every": 0, "checkpoint_every": 0, "tensorboard": False}
    flags = {"steps": 50, "batch_size": 4, "precision": "fp32", **rare, **GAMES[name], **changes}
    run = mmgan.new_run(resolve(plugins.config_class(plugin), plugin, flags=flags, environment={}), plugins)
    batches = Loader.__next__

    def prepared(loader: Loader) -> Any:
        # Batches are made on the CPU in any case.
        with _disable_current_modes():
            return batches(loader)

    monkeypatch.setattr(Loader, "__next__", prepared)
    with training(run):
        play(run, 4)
        with Counting() as counting:
            play(run, 10)
    return counting.found


@pytest.mark.parametrize("name", GAMES)
def test_nothing_waits_for_the_device_between_logs(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert not waits(monkeypatch, name)


def test_a_wait_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmgan_gan.task import GAN

    loss = GAN.loss

    def reading(self: Any, phase: str, *rest: Any) -> Any:
        losses = loss(self, phase, *rest)
        assert next(iter(losses.values())).item() > 0
        return losses

    monkeypatch.setattr(GAN, "loss", reading)
    assert waits(monkeypatch, "gan")["_local_scalar_dense"] == 12, "six steps of two phases"
