"""Folders of drum sounds by instrument, made from the names of files, and a judge that tells them apart."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from mmgan.metrics.audio import LogMel

#: The first pattern that is found in a file's name, in small letters and without its suffix, decides.
INSTRUMENTS = {
    "stick": r"side_?stick|^stick|^rim_|^rs_",
    "kick": r"kick|^bd|bass_?drum|_bd_|_k_",
    "snare": r"snare|^sd_|_sn_",
    "open-hat": r"(hat|hh).*op|op.*(hat|hh)|^ho_|ohh",
    "closed-hat": r"(hat|hh).*(cl|ped|pd|_p$)|(cl|ped).*(hat|hh)|chh|^hh_|_hh_",
    "tom": r"tom|^t\d_|^ft_",
    "cymbal": r"crash|ride|^cra_|splash|^cc_|^rc_|paistebell",
    "clap": r"clap",
    "cowbell": r"cowbell|_cb$",
}
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff")
#: Of the sounds of each class, this part is held out from the judge's training.
HELD_OUT = 0.25


def instrument(name: str) -> str:
    """Return the instrument that a file's name tells, or ``""``."""
    # Freesound's names begin with a number and an author.
    stem = Path(name).stem.lower().split("__")[-1]
    return next((label for label, pattern in INSTRUMENTS.items() if re.search(pattern, stem)), "")


def make_folders(kits: Path, out: Path) -> dict[str, int]:
    """Link the sounds of all kits into a folder for each instrument.

    Args:
        kits: A folder of sounds, with subfolders.
        out: The folder of the folders; what is there stays.

    Returns:
        The number of sounds of each instrument, and as ``""`` of those whose names tell none, which are left
        out.
    """
    counts = dict.fromkeys([*INSTRUMENTS, ""], 0)
    for path in sorted(kits.rglob("*")):
        if path.suffix.lower() not in SUFFIXES:
            continue
        label = instrument(path.name)
        counts[label] += 1
        if label:
            link = out / label / "--".join(path.relative_to(kits).parts)
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(path.resolve())
    return counts


class Judge(nn.Module):
    """A small classifier of log-mel spectrograms.

    Args:
        rate: Samples in a second (Hz).
        classes: How many there are.
    """

    def __init__(self, rate: int, classes: int) -> None:
        super().__init__()
        self.log_mel = LogMel(rate)
        layers: list[nn.Module] = []
        for into, out in ((1, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(into, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        # The bands stay apart, since pitch tells a kick from a hat; of times the mean counts.
        pool = nn.AdaptiveAvgPool2d((8, 2))
        self.net = nn.Sequential(*layers, pool, nn.Flatten(), nn.Dropout(0.5), nn.Linear(64 * 16, classes))

    def spectrograms(self, sounds: Tensor) -> Tensor:
        """Map sounds (n, channels, frames) to (n, 1, bands, times), about -1 to 4, of each at full volume."""
        mono = sounds.mean(1)
        mono = mono / mono.abs().amax(1, keepdim=True).clamp(min=1e-6)
        return self.log_mel(mono)[:, None] / 10

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Map spectrograms (n, 1, bands, times) to logits (n, classes)."""
        return self.net(spectrograms)

    @torch.inference_mode()
    def read(self, sounds: Tensor) -> Tensor:
        """Return the class of each sound: (n, channels, frames) to int64 (n,)."""
        self.eval()
        parts = sounds.split(100)
        return torch.cat([self(self.spectrograms(part)).argmax(1) for part in parts])


def split(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices of what a judge learns from and of what is held out; each class has its part."""
    drawing = torch.Generator().manual_seed(0)
    learned, held_out = [], []
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=drawing)]
        count = max(1, round(HELD_OUT * len(members)))
        held_out.append(members[:count])
        learned.append(members[count:])
    return torch.cat(learned), torch.cat(held_out)


def train_judge(sounds: Tensor, labels: Tensor, rate: int, steps: int = 300) -> tuple[Judge, float]:
    """Train a judge; return it, and which part of the sounds that it never heard it tells right.

    Args:
        sounds: float32 (n, channels, frames) in [-1, 1].
        labels: int64 (n,), from 0.
        rate: Samples in a second (Hz).
        steps: Batches of 32 sounds, drawn evenly from the classes.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = Judge(rate, int(labels.max()) + 1)
        learned, held_out = split(labels)
        with torch.no_grad():
            spectrograms = torch.cat([judge.spectrograms(part) for part in sounds[learned].split(100)])
        weights = 1 / torch.bincount(labels[learned]).float()[labels[learned]]
        optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        judge.train()
        for _ in range(steps):
            chosen = torch.multinomial(weights, 32, replacement=True)
            batch = spectrograms[chosen]
            # A generator's sounds are a little noisy, and no judge shall go by that.
            noise = torch.randn_like(batch) * torch.rand(len(batch), 1, 1, 1) * 0.3
            loss = nn.functional.cross_entropy(judge(batch + noise), labels[learned[chosen]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    told = judge.read(sounds[held_out]) == labels[held_out]
    return judge, round(told.float().mean().item(), 4)
