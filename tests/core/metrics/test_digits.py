"""The judge of stacked digits: what counts as a mode, what a perfect sampler has, and what it has learned."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from stacking import write_mnist

from mmgan.data.image.dataset import ImageConfig, ImageData
from mmgan.data.image.stacked import StackedDigits, open_stacked
from mmgan.metrics import digits
from mmgan.metrics.digits import Classifier, DigitJudge, distort, mode_scores, read_stacks, train_classifier


def test_modes_and_divergence_in_closed_form() -> None:
    every = torch.arange(1000)
    assert mode_scores(every.repeat(26)) == {"modes": 1000, "mode_kl": pytest.approx(0, abs=1e-12)}
    assert mode_scores(torch.full((50,), 7)) == {"modes": 1, "mode_kl": pytest.approx(math.log(1000))}
    assert mode_scores(every[:500]) == {"modes": 500, "mode_kl": pytest.approx(math.log(2))}
    # Shares 3/4 and 1/4 of two modes.
    uneven = mode_scores(torch.tensor([0, 0, 0, 1]), count=2)["mode_kl"]
    assert uneven == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_the_floor_of_a_perfect_sampler() -> None:
    drawing = torch.Generator().manual_seed(0)
    drawn = [mode_scores(torch.randint(1000, (DigitJudge.samples,), generator=drawing)) for _ in range(50)]
    floor = 999 / (2 * DigitJudge.samples)
    assert round(floor, 4) == 0.0192
    assert sum(scores["mode_kl"] for scores in drawn) / 50 == pytest.approx(floor, rel=0.03)
    assert {scores["modes"] for scores in drawn} == {1000}


def test_a_mode_is_read_channel_by_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier().eval()
    # Reads brightness: -1 is 0, and 0.8 is 9.
    monkeypatch.setattr(classifier, "read", lambda grey: ((grey.mean((1, 2, 3)) + 1) * 5).round().long())
    values = torch.tensor([[1, 2, 3], [0, 0, 9], [9, 0, 4]])
    pictures = (values / 5 - 1)[:, :, None, None].expand(-1, -1, 8, 8)
    assert read_stacks(classifier, pictures).tolist() == [123, 9, 904]


def test_weights_go_through_one_vector() -> None:
    torch.manual_seed(0)
    first, second = Classifier().eval(), Classifier().eval()
    pictures = torch.rand(4, 1, 28, 28) * 2 - 1
    assert not torch.equal(first(pictures), second(pictures))
    second.unflatten(first.flatten())
    assert torch.equal(first(pictures), second(pictures))
    assert sum(parameter.numel() for parameter in first.parameters()) == 61_042


def test_distortions_are_small_and_of_each_picture() -> None:
    torch.manual_seed(0)
    spots = -torch.ones(200, 1, 28, 28)
    spots[:, :, 13:15, 13:15] = 1
    moved = distort(spots) + 1
    place = torch.arange(28) - 13.5
    across = (moved.sum((1, 2)) * place).sum(1) / moved.sum((1, 2, 3))
    assert 1.5 < across.abs().max() <= 2.6
    assert across.mean().abs() < 0.3
    assert len(across.unique()) == 200
    assert moved.min() >= 0


@pytest.mark.slow
def test_the_judge_learns_is_kept_and_counts_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path)
    monkeypatch.setattr(StackedDigits, "SIZE", 2000)
    monkeypatch.setattr(digits, "EPOCHS", 4)
    monkeypatch.setenv("MMGAN_CACHE_DIR", str(tmp_path / "cache"))
    seen: list[tuple[int, int]] = []
    settings = ImageConfig(plugin="gan", data="stacked-mnist", data_root=str(tmp_path), size=16)
    data = ImageData(open_stacked("", settings), settings)
    judge = data.judge
    assert judge
    real = [data.pictures(part) for part in torch.arange(2000).split(500)]
    state = torch.random.get_rng_state()
    with torch.no_grad():
        scores = judge.scores(real, torch.device("cpu"), lambda *at: seen.append(at))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert seen[0][0] == 0
    assert scores["judge_error"] < 0.08
    # What 2,000 pictures can show, but for what is read wrongly.
    modes = torch.tensor([int(data.classes[label]) for label in data.labels.tolist()])
    exact = mode_scores(modes)
    assert scores["modes"] == pytest.approx(exact["modes"], abs=30)
    assert scores["mode_kl"] == pytest.approx(exact["mode_kl"], abs=0.05)
    # The second time it comes from the cache.
    monkeypatch.setattr(digits, "train_classifier", None)
    assert judge.scores(real, torch.device("cpu"), None) == scores
    assert judge.scores([real[0][:1].expand(8, -1, -1, -1)], torch.device("cpu"), None)["modes"] == 1


def test_training_is_seeded() -> None:
    pictures = torch.randint(256, (64, 28, 28), dtype=torch.uint8)
    labels = torch.arange(64) % 10
    first, second = (train_classifier(pictures, labels, epochs=1).flatten() for _ in range(2))
    assert torch.equal(first, second)
