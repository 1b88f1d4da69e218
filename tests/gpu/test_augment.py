"""Augmentations on a GPU: as on a CPU, without a wait, and to the byte where that is asked for."""

from __future__ import annotations

import pytest
import torch
from on_gpu import assert_same, make, no_synchronisation, play_to

from mmgan.augment.base import where_made
from mmgan.augment.colour import recoloured
from mmgan.augment.matrices import product, rotation, scaling, translation
from mmgan.augment.resampling import moved, warped
from mmgan.engine import play, training

NAMES = ("ada", "diffaugment", "apa", "diffusion", "noise")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("penalty", ["none", "r1"])
def test_nothing_waits_between_logs(name: str, penalty: str) -> None:
    run = make("dcgan", augment=name, penalty=penalty, log_every=10)
    with training(run):
        play(run, 10)
        with no_synchronisation():
            play(run, 19)
        play(run, 20)


@pytest.mark.parametrize("name", NAMES)
def test_a_deterministic_run_repeats_to_the_byte(name: str) -> None:
    runs = []
    for _ in range(2):
        run = make("dcgan", augment=name, augment_images=1000.0, deterministic=True)
        play_to(run, 10)
        runs.append(run)
    assert_same(*runs)


def test_a_gpu_changes_pictures_as_a_cpu_does() -> None:
    torch.manual_seed(0)
    given = torch.randn(8, 3, 20, 27, dtype=torch.float64)
    angle, amount = torch.randn(8, dtype=torch.float64), torch.rand(8, dtype=torch.float64) + 0.5
    made = torch.arange(8) % 3 > 0
    turned = product(rotation(angle.cos(), angle.sin()), scaling(amount, 1 / amount))
    shifted = product(scaling(amount, amount), translation(3 * angle, -angle))
    for change, amounts in (
        (warped, (turned,)),
        (warped, (shifted,)),
        (moved, (translation(angle.round(), amount.round()),)),
        (recoloured, (angle, amount, made, angle, amount)),
    ):
        on_cpu = where_made(made, given, change, *amounts)
        on_gpu = where_made(made.cuda(), given.cuda(), change, *(a.cuda() for a in amounts))
        torch.testing.assert_close(on_gpu.cpu(), on_cpu)
