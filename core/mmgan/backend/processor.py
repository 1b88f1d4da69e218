"""The processor: its name, and the features that matter for speed."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

#: The features that matter for speed, by Linux's names.
_FEATURES = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "sve", "bf16")


def processor(cpuinfo: Path) -> dict[str, Any]:
    """Return the processor's name, those of its features that matter here, and the ones that torch uses.

    Args:
        cpuinfo: Linux's description of it; elsewhere Python's ``platform`` is used.
    """
    fields: dict[str, str] = {}
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "cpu_features": [name for name in _FEATURES if name in flags],
        "cpu_kernels": torch.backends.cpu.get_cpu_capability(),
    }


def native_bf16(cpuinfo: Path) -> str:
    """Return the processor's best bf16 instructions, or "" where bf16 is only emulated."""
    try:
        flags = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return ""
    features = (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16"), ("bf16", "Arm BF16"))
    return next((name for flag, name in features if flag in flags), "")
