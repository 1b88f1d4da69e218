"""What deterministic=true promises on a GPU: a run repeats to the byte, and a resume is exact.

torch raises where it has no deterministic algorithm (``torch.use_deterministic_algorithms``). Of the built-in
games only one setting meets such an operation: see the last test.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from on_gpu import GAMES, PRECISIONS, assert_same, make, play_to, skip_without_graphs
from toys import Stopper

import mmgan

RESUME = """
import sys
from pathlib import Path
import mmgan
print(mmgan.train(mmgan.load_run(Path(sys.argv[1]))).step)
"""


@pytest.mark.parametrize("game", GAMES)
def test_a_run_repeats_to_the_byte(game: str) -> None:
    """With samples and an evaluation on the way, which must not need what torch refuses."""
    runs = []
    for _ in range(2):
        run = make(game, deterministic=True)
        play_to(run, 10)
        run.sample(4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # so few examples have not all scores
            run.evaluate(140)
        runs.append(run)
    assert_same(*runs)


@pytest.mark.parametrize("graphs", ["off", "on"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("game", GAMES)
def test_a_resume_is_exact(game: str, precision: str, graphs: str, tmp_path: Path) -> None:
    """As far as SeqGAN's last stage, and with graphs that were recorded before the stop and after it."""
    skip_without_graphs(game, graphs)
    settings = {"steps": 20, "precision": precision, "graphs": graphs, "deterministic": True}
    straight = make(game, **settings)
    play_to(straight, 20)
    assert mmgan.train(make(game, tmp_path / "run", Stopper(9), **settings)).step == 9
    resumed = mmgan.load_run(tmp_path / "run")
    assert resumed.step == 9
    play_to(resumed, 20)
    assert_same(straight, resumed)


@pytest.mark.process
def test_a_resume_in_another_process_is_exact(tmp_path: Path) -> None:
    settings = {"steps": 12, "precision": "bf16", "deterministic": True}
    mmgan.train(make("dcgan", tmp_path / "straight", **settings))
    mmgan.train(make("dcgan", tmp_path / "stopped", Stopper(5), **settings))
    command = [sys.executable, "-c", RESUME, str(tmp_path / "stopped")]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=240)
    assert ended.stdout.split()[-1] == "12"
    straight, stopped = (tmp_path / name / "checkpoints/step-000012" for name in ("straight", "stopped"))
    files = sorted(file.name for file in straight.iterdir())
    assert files == sorted(file.name for file in stopped.iterdir())
    assert [name for name in files if (straight / name).read_bytes() != (stopped / name).read_bytes()] == []


def test_what_torch_can_t_repeat_is_named() -> None:
    run = make("wavegan", deterministic=True, upsampling="linear")
    with pytest.raises(RuntimeError, match="upsample_linear1d_backward.* does not have a deterministic"):
        play_to(run, 1)
