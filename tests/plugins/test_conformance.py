"""Every game of ours keeps the rules that the conformance kit tries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

GAMES: dict[str, dict[str, Any]] = {
    "gan": {"width": 4, "flip": True, "ema": 0.9, "features": "pixels"},
    "dcgan": {"width": 4, "flip": True, "ema": 0.9},
    "r3gan": {"widths": (8, 8, 8, 8), "group": 8, "flip": True, "ema_half_life": 100.0},
    "wavegan": {"data": "drums:140", "dim": 1, "critic_steps": 2, "ema": 0.9},
    "seqgan": {
        "vocabulary": 30, "length": 4, "hidden": 4, "embedding": 4, "rollouts": 1, "lag": 0.5,
        "mle_steps": 6, "negatives": 8, "pretrain_rounds": 2, "pretrain_epochs": 2, "rounds": 2, "epochs": 1,
    },
    "pix2pix": {"width": 4, "d_width": 4, "d_layers": 1, "ema": 0.9},
    "cyclegan": {"width": 4, "d_width": 4, "d_layers": 1, "blocks": 1, "ema": 0.9},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", GAMES)
def test_conforms(mmgan_check: Callable[..., None], name: str) -> None:
    mmgan_check(name, **GAMES[name])


def test_a_gan_on_points_conforms(mmgan_check: Callable[..., None]) -> None:
    mmgan_check("gan", data="ring", width=8)
