"""Every plugin's run that is stopped, and resumed by another process, ends with the same bytes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toys import Stopper

import mmgan
from mmgan.config import check
from mmgan.plugins import Plugins

RESUME = """
import sys
from pathlib import Path
import torch
import mmgan
torch.set_num_threads(1)
print(mmgan.train(mmgan.load_run(Path(sys.argv[1]))).step)
"""


GAMES: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 8, "flip": True, "ema": 0.9},
    "gan": {"width": 8, "flip": True, "ema": 0.9},
    # All its schedules move, and the stop is between two of its lazy penalties.
    "r3gan": {"widths": (8, 8, 8, 8), "group": 8, "flip": True, "ema_half_life": 100.0, "decay_steps": 30},
    # Jitter, flips and noise; half-way down with the learning rate, and with pools that are full.
    "pix2pix": {"width": 4, "d_width": 4, "derive": "denoise", "load_size": 36, "flip": True, "ema": 0.9},
    "cyclegan": {"width": 4, "d_width": 4, "blocks": 1, "load_size": 36, "flip": True, "pool": 20},
    "wavegan": {"data": "drums:20", "dim": 2, "critic_steps": 2, "ema": 0.9, "batch_size": 4},
    # Six steps of likelihood, eight of D, then the game; a round of D's lasts four or two steps.
    "seqgan": {
        "vocabulary": 30, "length": 6, "hidden": 8, "embedding": 8, "rollouts": 2, "lag": 0.5,
        "mle_steps": 6, "negatives": 8, "pretrain_rounds": 2, "pretrain_epochs": 2, "rounds": 2, "epochs": 1,
    },
}  # fmt: skip


#: What moves: schedules in the middle, a lazy penalty between two of its steps, LeCam's averages, and the
#: vectors of spectral normalisation.
MOVING = {
    "loss": "rpgan", "penalty": "r1r2", "penalty_weight": 0.3, "penalty_weight_end": 0.03, "penalty_every": 4,
    "lecam": 0.3, "consistency": 1.0, "d_norm": "spectral", "minibatch_stddev": True, "d_lr": 4e-4,
    "lr_end": 1e-5, "beta2_end": 0.9, "ema_half_life": 100.0, "ema_growth": "cosine", "decay_steps": 30,
}  # fmt: skip
HELD = {
    "lecam": 0.3, "consistency": 1.0, "d_norm": "spectral", "d_lr": 4e-4, "penalty": "r1r2",
    "penalty_every": 3, "augment": "apa", "augment_images": 400.0,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "": {},
    "held": HELD,
    "labels": {"conditional": True},
    "moving": MOVING,
}
# With p on its way: it moves by 0.04 in four updates of D.
VARIANTS |= {name: {"augment": name, "augment_images": 800.0} for name in ("ada", "apa", "diffusion")}


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "precision", "workers", "stop"),
    [
        ("dcgan", "fp32", 0, 17), ("dcgan", "fp32", 2, 17),
        ("dcgan", "bf16", 0, 17), ("dcgan", "bf16", 2, 17),
        ("gan labels", "fp32", 0, 17), ("dcgan labels", "fp32", 2, 17), ("wavegan labels", "bf16", 0, 17),
        ("gan moving", "fp32", 0, 18), ("dcgan moving", "bf16", 2, 17),
        ("dcgan ada", "fp32", 0, 18), ("cyclegan held", "fp32", 0, 21),
        ("gan diffusion", "bf16", 0, 17), ("gan apa", "fp32", 0, 19),
        ("gan", "fp32", 0, 17), ("gan", "bf16", 2, 17),
        ("r3gan", "fp32", 0, 18), ("r3gan labels", "bf16", 2, 17),
        ("wavegan", "fp32", 0, 17), ("wavegan", "fp32", 2, 17), ("wavegan", "bf16", 2, 17),
        ("pix2pix", "fp32", 2, 25), ("pix2pix", "bf16", 0, 17),
        ("cyclegan", "fp32", 0, 25), ("cyclegan", "bf16", 2, 17),
        # In each of its stages; in the last one, with texts, below.
        ("seqgan", "fp32", 0, 3), ("seqgan", "fp32", 2, 9), ("seqgan", "bf16", 2, 25),
    ],
)  # fmt: skip
def test_resume_in_a_new_process_is_exact(
    tmp_path: Path, plugin: str, precision: str, workers: int, stop: int
) -> None:
    plugin, _, variant = plugin.partition(" ")
    settings = {
        "plugin": plugin, "steps": 40, "batch_size": 8, "device": "cpu", "precision": precision,
        "workers": workers, "tensorboard": False, "sample_every": 20,
    } | GAMES[plugin] | VARIANTS[variant]  # fmt: skip
    resume_is_exact(tmp_path, settings, stop)


@pytest.mark.process
@pytest.mark.slow
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
    def train(folder: str, *listeners: object) -> int:
        config = check(Plugins().task(settings["plugin"]).Config, settings)
        return mmgan.train(mmgan.new_run(config, Plugins(*listeners), tmp_path / folder)).step

    assert train("straight") == 40
    assert train("stopped", Stopper(stop)) == stop
    command = [sys.executable, "-c", RESUME, str(tmp_path / "stopped")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1] == "40"
    assert digests(tmp_path / "straight") == digests(tmp_path / "stopped")


def digests(folder: Path) -> dict[str, str]:
    files = [*(folder / "checkpoints" / "step-000040").iterdir(), *(folder / "samples").iterdir()]
    assert {"G.safetensors", "state.json", "manifest.json"} < {file.name for file in files}
    assert {"step-000020.png", "step-000040.png"} < {file.name for file in files}
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
