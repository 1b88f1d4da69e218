"""The benchmarks of conditional GANs: folders from names, what judges say, and a tiny case of each."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import mmgan

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import conditional_drums
import conditional_mnist
import judge
from conditional import agreement, trained
from drum_classes import instrument, make_folders, split, train_judge


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("EE_Kick_Hard_1.flac", "kick"),
        ("bassdrum-4mics-br-stereo-soft2.flac", "kick"),
        ("PearlSnareRimshot-Hard.wav", "snare"),
        ("PearlSideStick-Soft.wav", "stick"),
        ("sd_08.flac", "snare"),
        ("hihat-semi-open-2.flac", "open-hat"),
        ("104227__minorr__hhat-paiste-302-14-open-p.wav", "open-hat"),
        ("VP Hat 3 Cl.flac", "closed-hat"),
        ("SabianHatPedal-Med.wav", "closed-hat"),
        ("PearlTomFloor-Med.wav", "tom"),
        ("crash16i__ride_cup4.flac", "cymbal"),
        ("HandClap.wav", "clap"),
        ("mc_cb.flac", "cowbell"),
        ("beats_01-10.flac", ""),
        ("EE_Hat_Ring_1.flac", ""),
    ],
)
def test_the_instrument_that_a_name_tells(name: str, label: str) -> None:
    assert instrument(name) == label


def test_folders_by_instrument(tmp_path: Path) -> None:
    for name in ("a/kick1.wav", "b/kick1.wav", "b/HandClap.FLAC", "b/beats.wav", "b/readme.txt"):
        (tmp_path / "kits" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "kits" / name).write_text(name)
    for _ in range(2):
        counts = make_folders(tmp_path / "kits", tmp_path / "out")
        assert {label: count for label, count in counts.items() if count} == {"kick": 2, "clap": 1, "": 1}
    made = {str(path.relative_to(tmp_path / "out")): path.read_text() for path in tmp_path.glob("out/*/*")}
    assert made == {
        "kick/a--kick1.wav": "a/kick1.wav",
        "kick/b--kick1.wav": "b/kick1.wav",
        "clap/b--HandClap.FLAC": "b/HandClap.FLAC",
    }


def test_agreement_is_the_mean_over_classes() -> None:
    read, asked = torch.tensor([0, 0, 1, 2, 1, 0]), torch.tensor([0, 0, 0, 0, 1, 2])
    said = agreement(read, asked, ["a", "b", "c", "never"])
    assert said == {"agreement": 0.5, "least": 0.0, "per_class": {"a": 0.5, "b": 1.0, "c": 0.0}}


def test_pictures_have_the_shares_of_the_data() -> None:
    labels = torch.tensor([0] * 50 + [3] * 30 + [9] * 20)
    assert conditional_mnist.shares(labels, 10) == [5, 0, 0, 3, 0, 0, 0, 0, 0, 2]
    for n in (7, 129, 10_000):
        assert sum(conditional_mnist.shares(labels, n)) == n


def test_a_judge_of_sounds_learns_to_tell_pitches() -> None:
    time = torch.arange(4096) / 16000
    pitches = torch.tensor([200.0, 1000.0, 4000.0]).repeat_interleave(12)
    phases = torch.rand(36, 1, generator=torch.Generator().manual_seed(0)) * 7
    sounds = torch.sin(2 * torch.pi * pitches[:, None] * time + phases)[:, None]
    labels = torch.arange(3).repeat_interleave(12)
    heard, accuracy = train_judge(sounds, labels, 16000, steps=20)
    assert accuracy == 1
    # Quiet sounds are read as loud ones are.
    assert torch.equal(heard.read(sounds / 100), labels)


def test_each_class_has_its_part_held_out() -> None:
    labels = torch.tensor([0] * 8 + [1] * 100 + [2] * 2)
    learned, held_out = split(labels)
    assert sorted([*learned.tolist(), *held_out.tolist()]) == list(range(110))
    assert torch.bincount(labels[held_out]).tolist() == [2, 25, 1]


RING = {"plugin": "gan", "data": "ring", "steps": 10**6, "tensorboard": False}


def test_a_run_is_trained_for_a_time_and_then_only_opened(tmp_path: Path) -> None:
    first = trained(RING, tmp_path / "run", minutes=0.005)
    assert 0 < first.step < 10**6
    assert first.seconds >= 0.3
    again = trained(RING, tmp_path / "run", minutes=0.005)
    assert again.step == first.step
    longer = trained(RING, tmp_path / "run", minutes=0.008)
    assert longer.step > first.step


def test_a_run_is_trained_for_a_number_of_steps(tmp_path: Path) -> None:
    assert trained(RING | {"steps": 3}, tmp_path / "run").step == 3


@pytest.mark.slow
def test_a_tiny_case_on_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("data", "digits"), ("width", 2), ("batch_size", 4)):
        monkeypatch.setitem(conditional_mnist.SETTINGS, name, value)
    monkeypatch.setattr(conditional_mnist, "EACH", 20)
    monkeypatch.setattr(conditional_mnist, "JUDGED", 129)  # as few as the distance of 128 features takes
    monkeypatch.setattr(conditional_mnist, "TAUGHT", 129)
    pictures = torch.rand(129, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for module in (judge, conditional_mnist):
        monkeypatch.setattr(module, "mnist", lambda root, train: (pictures, torch.arange(129) % 10))
    torch.manual_seed(0)
    torch.save(judge.Classifier().state_dict(), tmp_path / "judge.pt")
    folders = ["--out", str(tmp_path / "a"), "--unconditional-out", str(tmp_path / "b")]
    common = ["--root", str(tmp_path), "--judge", str(tmp_path / "judge.pt"), "--minutes", "0.01"]
    conditional_mnist.main([*common, *folders, "--threads", "1"])
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["steps"] == second["steps"] > 0
    assert set(first["per_class"]) == set("0123456789")
    # A judge that learned nothing reads one digit or two, whatever is asked for.
    assert 0 <= first["least"] <= first["agreement"] <= 1
    assert min(first["distance"], second["distance"]) > 0
    assert 0 <= first["accuracy_score"] < 0.6
    classes = mmgan.load_run(tmp_path / "a").data_info.classes
    assert classes == tuple("0123456789")


@pytest.mark.slow
def test_a_tiny_case_on_drum_kits(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny: dict[str, Any] = {"dim": 2, "batch_size": 4, "critic_steps": 1}
    for name, value in tiny.items():
        monkeypatch.setitem(conditional_drums.SETTINGS, name, value)
    monkeypatch.setattr(conditional_drums, "EACH", 3)
    monkeypatch.setattr(conditional_drums, "train_judge", partial(train_judge, steps=40))
    out = ["--out", str(tmp_path), "--minutes", "0.01", "--threads", "1"]
    conditional_drums.main(["--kits", str(shared_data / "drums"), *out])
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert sum(first["sounds"].values()) > 250
    assert min(first["sounds"].values()) >= 10
    assert first["judge_accuracy"] > 0.5
    assert second["steps"] > 0
    assert set(second["per_class"]) == set(first["sounds"])
    assert second["chance"] == pytest.approx(1 / 9, abs=1e-4)
    assert 0.2 < second["majority"] < 0.25
