"""Several processes: two on one GPU over gloo, and two GPUs over NCCL where there are two."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from two_ranks import two_ranks

SETTINGS = [
    *("width=8", "batch_size=8", "device=cuda", "precision=bf16", "deterministic=true"),
    *("tensorboard=false", "sample_every=0"),
]


def train(folder: Path, name: str, steps: int) -> list[tuple[int, str]]:
    """Train a DCGAN on two ranks, or go on with it."""
    (folder / "plugins").mkdir(exist_ok=True)
    if (folder / name).exists():
        return two_ranks(folder, "resume", folder / name, "--steps", str(steps))
    words = ["run", "--plugin", "dcgan", "--steps", str(steps), "--out", folder / name]
    for setting in SETTINGS:
        words += ["--set", setting]
    return two_ranks(folder, *words)


def digests(folder: Path) -> dict[str, str]:
    """Return a digest of each file of the last checkpoint."""
    last = max((folder / "checkpoints").glob("step-*"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in last.iterdir()}


def resume_is_exact(folder: Path) -> None:
    """Compare eight steps to five and three more. (Ranks with other weights are refused at a checkpoint.)"""
    for name, steps in (("straight", 8), ("stopped", 5), ("stopped", 8)):
        ends = train(folder, name, steps)
        assert [code for code, _ in ends] == [0, 0], ends
    assert digests(folder / "straight") == digests(folder / "stopped")
    status = json.loads((folder / "straight/status.json").read_text())
    assert (status["state"], status["step"]) == ("finished", 8)


@pytest.mark.process
def test_two_ranks_share_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMGAN_RANKS_SHARE_GPU", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    resume_is_exact(tmp_path)


@pytest.mark.process
def test_two_ranks_on_one_gpu_are_refused_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMGAN_RANKS_SHARE_GPU", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    ends = train(tmp_path, "refused", 2)
    assert all(code for code, _ in ends)
    assert any("no GPU for local rank 1: it has 1" in err for _, err in ends)


@pytest.mark.process
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_over_nccl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMGAN_RANKS_SHARE_GPU", raising=False)
    resume_is_exact(tmp_path)
