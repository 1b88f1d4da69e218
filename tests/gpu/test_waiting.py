"""Between two logs nothing waits for the GPU: torch raises at the first thing that does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from on_gpu import WAYS, make, no_synchronisation, skip_without_graphs

from mmgan.engine import play, training


@pytest.mark.parametrize(("game", "precision", "graphs"), WAYS)
def test_nothing_waits_between_logs(game: str, precision: str, graphs: str, tmp_path: Path) -> None:
    """With the listeners of a run that keeps its results; SeqGAN in each of its stages."""
    skip_without_graphs(game, graphs)
    run = make(game, tmp_path / "run", precision=precision, graphs=graphs, log_every=10)
    with training(run):
        if game == "seqgan":
            # Its stages begin with steps 4 and 8, and cuDNN and cuBLAS make their handles in the first.
            play(run, 2)
            with no_synchronisation():
                play(run, 9)
        play(run, 10)
        with no_synchronisation():
            play(run, 19)
        play(run, 20)


def test_what_waits_is_found() -> None:
    value = torch.ones(1, device="cuda")
    with no_synchronisation(), pytest.raises(RuntimeError, match="synchronizing"):
        value.item()
    with no_synchronisation(), pytest.raises(RuntimeError, match="synchronizing"):
        torch.ones(1).to("cuda")
    with no_synchronisation():
        torch.ones(1).pin_memory().to("cuda", non_blocking=True)


def test_a_log_waits_once() -> None:
    """So the test above plays what it should: values are read at logs."""
    run = make("dcgan", log_every=5)
    with training(run):
        play(run, 9)
        with no_synchronisation(), pytest.raises(RuntimeError, match="synchronizing"):
            play(run, 10)
