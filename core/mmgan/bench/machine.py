"""The machine: processor, matrix rate, memory in use."""

from __future__ import annotations

import importlib
import math
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmgan import __version__
from mmgan.backend.device import Device
from mmgan.backend.processor import processor as processor
from mmgan.run import Run

#: Sides of the matrices; the larger are for GPUs.
SIZES = (512, 1024, 2048, 4096, 8192)
#: Seconds for each size; where one product takes longer, no larger one is tried.
_BUDGET = 0.2


def environment(run: Run) -> dict[str, Any]:
    """Return what a measurement depends on, apart from the task's settings."""
    plugins, name = run.plugins, run.config.plugin
    owner = plugins.tasks[name].plugin
    version = next((plugin.version for plugin in plugins.loaded if plugin.name == owner), "")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "mmgan": __version__,
        "plugin": {"name": owner, "version": version or None},
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        **processor(Path("/proc/cpuinfo")),
        "device": str(run.device.torch),
        "gpu": torch.cuda.get_device_name(run.device.torch) if run.device.type == "cuda" else None,
        "precision": run.precision.name,
        "memory_format": {key: memory_format(player.module) for key, player in run.players.items()},
        "compile": run.config.compile,
        "batch_size": run.batch_size,
    }


def memory_format(module: nn.Module) -> str:
    """Return how a network keeps its 4-D weights: ``channels_last`` or ``contiguous``."""
    last = any(
        parameter.is_contiguous(memory_format=torch.channels_last) and not parameter.is_contiguous()
        for parameter in module.parameters()
        if parameter.ndim == 4
    )
    return "channels_last" if last else "contiguous"


def ceiling(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Measure this machine's highest rate for a product of two square matrices.

    Args:
        device: Where.
        dtype: In which number format.

    Returns:
        ``flops_per_s``, the ``size`` of the matrices, and the ``dtype``.
    """
    best, side = 0.0, 0
    for size in SIZES:
        seconds = _product(device, dtype, size)
        if (rate := 2 * size**3 / seconds) > best:
            best, side = rate, size
        if seconds > _BUDGET:
            break
    return {"flops_per_s": best, "size": side, "dtype": str(dtype).removeprefix("torch.")}


def _product(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """Return the shortest time of a product, in seconds: other load only makes it slower."""
    waiting = Device(str(device))
    a, b, c = (torch.rand(size, size, device=device).to(dtype) for _ in range(3))
    torch.mm(a, b, out=c)
    least, spent, calls = math.inf, 0.0, 1
    while spent < _BUDGET:
        waiting.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            torch.mm(a, b, out=c)
        waiting.synchronize()
        seconds = time.perf_counter() - start
        least, spent = min(least, seconds / calls), spent + seconds
        # On a GPU one product is too short for the clock.
        calls = max(1, min(calls * 2, int(_BUDGET / 8 / least)))
    return least


class Memory:
    """The most memory that was in use since this was made."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._before = _peak_resident()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device.torch)

    def read(self) -> dict[str, Any]:
        """Return bytes: torch's peak on a GPU, and the peak resident memory of the whole process.

        A process's peak can't be reset, so ``growth`` is by how much it rose: 0 if more was in use before.
        """
        resident = _peak_resident()
        on_gpu = torch.cuda.max_memory_allocated(self.device.torch) if self.device.type == "cuda" else None
        return {
            "gpu_peak_bytes": on_gpu,
            "process_peak_bytes": resident,
            "process_peak_growth_bytes": None if resident is None else resident - (self._before or 0),
        }


def _peak_resident() -> int | None:
    """Return the most bytes of this process that were ever in memory; None where the system can't say."""
    if sys.platform == "win32":
        return None
    usage = importlib.import_module("resource")
    peak: int = usage.getrusage(usage.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
