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
        if step == 17:
            run.stop_signal = 2
folder, stop = Path(sys.argv[1]), sys.argv[2] == "stop"
if (folder / "config.toml").exists():
    run = mmgan.load_run(folder)
else:
    settings = json.loads(sys.argv[3])
    config = mmgan.config.check(Plugins().task(settings["plugin"]).Config, settings)
    run = mmgan.new_run(config, Plugins(*([Stopper()] if stop else [])), folder)
print(train(run).step)
"""


GAMES: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 8, "flip": True},
    "gan": {"width": 8, "flip": True},
    "wavegan": {"data": "drums:20", "dim": 2, "critic_steps": 2},
}


@pytest.mark.parametrize(
    ("plugin", "precision", "workers"),
    [
        ("dcgan", "fp32", 0), ("dcgan", "fp32", 2), ("dcgan", "bf16", 0), ("dcgan", "bf16", 2),
        ("gan", "fp32", 0), ("gan", "bf16", 2),
        ("wavegan", "fp32", 0), ("wavegan", "fp32", 2), ("wavegan", "bf16", 2),
    ],
)  # fmt: skip
def test_resume_in_a_new_process_is_exact(tmp_path: Path, plugin: str, precision: str, workers: int) -> None:
    settings = {
        "plugin": plugin, "steps": 40, "batch_size": 8, "device": "cpu", "precision": precision,
        "workers": workers, "tensorboard": False, "sample_every": 20, "ema": 0.9,
    } | GAMES[plugin]  # fmt: skip

    def run(folder: str, stop: str) -> str:
        command = [sys.executable, "-c", TRAIN, str(tmp_path / folder), stop, json.dumps(settings)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]

    assert run("straight", "go on") == "40"
    assert run("stopped", "stop") == "17"
    assert run("stopped", "go on") == "40"
    assert digests(tmp_path / "straight") == digests(tmp_path / "stopped")


def digests(folder: Path) -> dict[str, str]:
    files = [*(folder / "checkpoints" / "step-000040").iterdir(), *(folder / "samples").iterdir()]
    assert {"G.safetensors", "state.json", "manifest.json"} < {file.name for file in files}
    assert {"step-000020.png", "step-000040.png"} < {file.name for file in files}
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
