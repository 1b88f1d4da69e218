"""Every plugin's run that is stopped, and resumed by another process, ends with the same bytes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRAIN = """
import sys, json
from pathlib import Path
import torch
from PIL import Image
import mmgan
from mmgan.engine import train
from mmgan.plugins import Plugins
torch.set_num_threads(2)
class Stopper:
    @mmgan.hookimpl
    def after_step(self, run, step):
        if step == stop:
            run.stop_signal = 2
folder, stop = Path(sys.argv[1]), int(sys.argv[2])
if (folder / "config.toml").exists():
    run = mmgan.load_run(folder)
else:
    settings = json.loads(sys.argv[3])
    config = mmgan.config.check(Plugins().task(settings["plugin"]).Config, settings)
    run = mmgan.new_run(config, Plugins(*([Stopper()] if stop else [])), folder)
print(train(run).step)
"""


GAMES: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 8, "flip": True, "ema": 0.9},
    "gan": {"width": 8, "flip": True, "ema": 0.9},
    "wavegan": {"data": "drums:20", "dim": 2, "critic_steps": 2, "ema": 0.9},
    # Six steps of likelihood, eight of D, then the game; a round of D's lasts four or two steps.
    "seqgan": {
        "vocabulary": 30, "length": 6, "hidden": 8, "embedding": 8, "rollouts": 2, "lag": 0.5,
        "mle_steps": 6, "negatives": 8, "pretrain_rounds": 2, "pretrain_epochs": 2, "rounds": 2, "epochs": 1,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("plugin", "precision", "workers", "stop"),
    [
        ("dcgan", "fp32", 0, 17), ("dcgan", "fp32", 2, 17),
        ("dcgan", "bf16", 0, 17), ("dcgan", "bf16", 2, 17),
        ("gan", "fp32", 0, 17), ("gan", "bf16", 2, 17),
        ("wavegan", "fp32", 0, 17), ("wavegan", "fp32", 2, 17), ("wavegan", "bf16", 2, 17),
        # In each of its stages; in the last one, with texts, below.
        ("seqgan", "fp32", 0, 3), ("seqgan", "fp32", 2, 9), ("seqgan", "bf16", 2, 25),
    ],
)  # fmt: skip
def test_resume_in_a_new_process_is_exact(
    tmp_path: Path, plugin: str, precision: str, workers: int, stop: int
) -> None:
    settings = {
        "plugin": plugin, "steps": 40, "batch_size": 8, "device": "cpu", "precision": precision,
        "workers": workers, "tensorboard": False, "sample_every": 20,
    } | GAMES[plugin]  # fmt: skip
    resume_is_exact(tmp_path, settings, stop)


def test_a_text_s_tokens_are_the_same_after_a_resume(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    lines = [
        f"{one} {two} {three}" for one in ("a", "the") for two in ("cat", "dog") for three in ("ran", "sat")
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    settings = {
        "plugin": "seqgan", "steps": 40, "batch_size": 8, "device": "cpu", "tensorboard": False,
        "sample_every": 20, "data": str(file), "generator": "transformer", "rescale": "rank",
    } | GAMES["seqgan"]  # fmt: skip
    resume_is_exact(tmp_path, settings, 17)


def resume_is_exact(tmp_path: Path, settings: dict[str, Any], stop: int) -> None:
    def run(folder: str, stop: int = 0) -> str:
        command = [sys.executable, "-c", TRAIN, str(tmp_path / folder), str(stop), json.dumps(settings)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]

    assert run("straight") == "40"
    assert run("stopped", stop) == str(stop)
    assert run("stopped") == "40"
    assert digests(tmp_path / "straight") == digests(tmp_path / "stopped")


def digests(folder: Path) -> dict[str, str]:
    files = [*(folder / "checkpoints" / "step-000040").iterdir(), *(folder / "samples").iterdir()]
    assert {"G.safetensors", "state.json", "manifest.json"} < {file.name for file in files}
    assert {"step-000020.png", "step-000040.png"} < {file.name for file in files}
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
