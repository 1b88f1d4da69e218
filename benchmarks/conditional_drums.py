"""A conditional WaveGAN on drum kits: does it play the instrument that is asked for?

    python benchmarks/conditional_drums.py --kits DATA/drums --minutes 20 --threads 2 --out runs/drums

sorts one-shots into folders by what their names tell (``drum_classes.py``), trains a judge on three quarters
of each class, trains wavegan on all of them for twenty minutes, asks for 200 sounds of each class, and lets
the judge tell what they are. ``chance`` is the agreement of a generator that ignores the label: 1 / classes,
since each is asked for equally often. ``majority`` is the share of the data's largest class: the best
constant guess. A run that was stopped is resumed, and one that is whole is only judged. Two JSON lines are
printed; time is that spent in steps.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from conditional import agreement, trained
from drum_classes import make_folders, train_judge
from torch import Tensor

import mmgan
from mmgan.data.audio.dataset import AudioConfig, AudioData, open_folder

#: What the synthesised drums have by default: a network that learns in minutes on a CPU.
SETTINGS: dict[str, Any] = {"plugin": "wavegan", "dim": 16, "batch_size": 32, "lr": 6e-4}
#: How many sounds of each class are judged.
EACH = 200


def played(run: mmgan.Run, label: str, seed: int) -> Tensor:
    """Return generated sounds of a class, float32 (n, channels, frames) in [-1, 1]."""
    return torch.cat([chunk.waveforms for chunk in run.sample_chunks(EACH, seed=seed, label=label)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--kits", type=Path, required=True, help="a folder of drum kits, one sound a file")
    add("--minutes", type=float, default=20.0, help="minutes of training (%(default)s)")
    add("--seed", type=int, default=0, help="seed (%(default)s)")
    add("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    add("--out", type=Path, required=True, help="the folder of the sounds by class and of the run")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    counts = make_folders(args.kits, args.out / "sounds")
    print(f"{counts.pop('')} sounds whose names tell no instrument are left out", file=sys.stderr)
    config = AudioConfig(plugin="wavegan")
    data = AudioData(open_folder(str(args.out / "sounds"), config), config)
    print(data.description, file=sys.stderr)
    judge, accuracy = train_judge(data.sounds(torch.arange(len(data))), data.labels, config.sample_rate)
    majority = torch.bincount(data.labels).max().item() / len(data)
    print(json.dumps({"sounds": counts, "judge_accuracy": accuracy}), flush=True)

    settings = SETTINGS | {"data": str(args.out / "sounds"), "seed": args.seed, "steps": 10**6}
    run = trained(settings | {"conditional": True}, args.out / "run", args.minutes)
    sounds = [played(run, label, 100 + number) for number, label in enumerate(data.classes)]
    asked = torch.arange(len(sounds)).repeat_interleave(EACH)
    line = {"steps": run.step, "seconds": round(run.seconds, 1)}
    line |= agreement(judge.read(torch.cat(sounds)), asked, data.classes)
    line |= {"chance": round(1 / len(sounds), 4), "majority": round(majority, 4)}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
